"""The quarantine: payloads that could not become runs, kept as they came."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from etl.domain.batch import Increment, SourceId
from etl.domain.digest import digest
from etl.domain.quarantine import WaitingReject
from etl.domain.run import Reject
from etl.load.database import connected
from etl.load.moments import moment
from etl.load.statements import ADD_REJECTS, RELEASE_REJECTS, microseconds
from etl.load.tables import rejects


def add_rejects(connection: Connection, increments: Iterable[Increment]) -> int:
    """Write the rejects of some increments; answer how many there are."""
    rows = {
        (row["source_id"], row["thread_id"], row["payload_id"]): row
        for increment in increments
        for row in (_row(increment, reject) for reject in increment.rejects)
    }
    if rows:
        connection.execute(ADD_REJECTS, list(rows.values()))
    return len(rows)


def release_rejects(connection: Connection) -> None:
    """Let go of older rejects of the staged runs: what they held was read again."""
    connection.execute(RELEASE_REJECTS)


def waiting_rejects(engine: Engine, ids: Sequence[SourceId]) -> Iterator[WaitingReject]:
    """Read the rejects that no replay has turned into a run yet, one at a time."""
    last = 0
    while True:
        statement = (
            sa.select(
                rejects.c.reject_id,
                rejects.c.source_id,
                rejects.c.thread_id,
                rejects.c.run_id,
                rejects.c.payload,
                microseconds(rejects.c.last_seen_at).label("last_seen_at"),
            )
            .where(
                rejects.c.replayed_at.is_(None),
                rejects.c.source_id.in_(ids),
                rejects.c.reject_id > last,
            )
            .order_by(rejects.c.reject_id)
            .limit(1)
        )
        with connected(engine) as connection:
            row = connection.execute(statement).mappings().one_or_none()
        if row is None:
            return
        yield WaitingReject(**row)
        last = row["reject_id"]


def mark_replayed(connection: Connection, reject_id: int) -> None:
    """Note that a reject became a run."""
    connection.execute(
        sa.update(rejects)
        .where(rejects.c.reject_id == reject_id)
        .values(replayed_at=sa.func.clock_timestamp())
    )


def _row(increment: Increment, reject: Reject) -> dict[str, Any]:
    seen_at = moment(increment.read_at)
    detail = f": {reject.detail}" if reject.detail else ""
    return {
        "source_id": increment.source_id,
        "thread_id": increment.thread_id,
        "run_id": reject.run_id,
        "payload": reject.payload,
        "payload_id": digest(reject.payload.encode()),
        "reason": f"{reject.reason.value}{detail}",
        "first_seen_at": seen_at,
        "last_seen_at": seen_at,
    }
