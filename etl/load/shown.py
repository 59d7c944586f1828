"""What a server has shown to the processes of a sync, so that none asks for it again."""

from dataclasses import asdict

import sqlalchemy as sa
from sqlalchemy.engine import Engine

from etl.domain.batch import SourceId
from etl.domain.shown import NOTHING, Shown
from etl.load.database import committing_at_once

FACTS = "last_pages, cut_at, cursors_go_by_creation"
MINE = "WHERE sync_id = :sync_id AND source_id = :source_id"

LOOK = sa.text(f"SELECT {FACTS} FROM run_sync.plans {MINE}")  # noqa: S608  # our own
ADD = sa.text(
    "UPDATE run_sync.plans SET"  # noqa: S608  # our own
    " last_pages = last_pages || CAST(:last_pages AS integer[]),"
    " cut_at = least(cut_at, :cut_at),"
    " cursors_go_by_creation = cursors_go_by_creation OR :cursors_go_by_creation"
    f" {MINE} RETURNING {FACTS}"
)


def pooled(engine: Engine, sync_id: int, source_id: SourceId, more: Shown) -> Shown:
    """Add what this process was shown, perhaps nothing; answer what all of them were.

    The sync must have been planned. Raises DatabaseError.
    """
    key = {"sync_id": sync_id, "source_id": source_id}
    with committing_at_once(engine) as connection:
        if more == NOTHING:
            row = connection.execute(LOOK, key).one()
        else:
            facts = asdict(more) | {"last_pages": list(more.last_pages)}
            row = connection.execute(ADD, key | facts).one()
    return Shown(
        last_pages=tuple(row.last_pages),
        cut_at=row.cut_at,
        cursors_go_by_creation=row.cursors_go_by_creation,
    )
