"""The ledger's row of a sync that many processes share: found, judged, and ended."""

from collections.abc import Sequence
from datetime import timedelta
from typing import NamedTuple

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.engine import Connection, Engine

from etl.domain.batch import SourceId
from etl.domain.outcome import SyncReport
from etl.load import leases
from etl.load.database import connected
from etl.load.ledger import ids_of, sentence_of
from etl.load.statements import microseconds
from etl.load.tables import syncs


class SharedSync(NamedTuple):
    """A sync that processes may join; `started_at` in microseconds since 1970."""

    sync_id: int
    started_at: int
    source_ids: list[SourceId]


def shared_sync(
    connection: Connection, source_ids: Sequence[SourceId], *, within: timedelta | None
) -> SharedSync | None:
    """The shared sync of one of the sources that did not end, if it began `within`."""
    began = syncs.c.started_at
    ours = sa.cast(list(source_ids), ARRAY(sa.SmallInteger))
    statement = (
        sa.select(syncs.c.sync_id, microseconds(syncs.c.started_at), syncs.c.source_ids)
        .where(
            syncs.c.shared,
            syncs.c.finished_at.is_(None),
            sa.true() if within is None else began > sa.func.clock_timestamp() - within,
            syncs.c.source_ids.overlap(ours),
        )
        .order_by(syncs.c.sync_id.desc())
        .limit(1)
    )
    row = connection.execute(statement).one_or_none()
    return None if row is None else SharedSync(*row)


IS_STUCK = sa.text(
    """
    SELECT s.started_at < clock_timestamp() - CAST(:within AS interval)
        AND cardinality(s.source_ids) =
            (SELECT count(*) FROM run_sync.plans p WHERE p.sync_id = s.sync_id)
        AND NOT EXISTS (SELECT FROM run_sync.leases l WHERE l.sync_id = s.sync_id)
    FROM run_sync.syncs s WHERE s.sync_id = :sync_id
    """
)


def is_stuck(connection: Connection, sync_id: int, *, within: timedelta) -> bool:
    """Whether a shared sync has been at work for longer, and has nothing before it."""
    facts = {"sync_id": sync_id, "within": within}
    return bool(connection.scalar(IS_STUCK, facts))


def note_share(engine: Engine, report: SyncReport) -> None:
    """Note what went wrong in one process of a shared sync; its figures stand there."""
    told = [each.source for each in report.away]
    failed = sa.func.coalesce(
        syncs.c.failed_source_ids, sa.cast([], ARRAY(sa.SmallInteger))
    )
    statement = (
        sa.update(syncs)
        .where(syncs.c.sync_id == report.sync_id)
        .values(
            error=sa.func.coalesce(syncs.c.error, sentence_of(report)),
            failed_source_ids=failed.op("||")(sa.func.coalesce(ids_of(told), failed[1:0])),
        )
    )
    with connected(engine) as connection, connection.begin():
        connection.execute(statement)


END_SHARED = sa.text(
    """
    UPDATE run_sync.syncs s
    SET finished_at = clock_timestamp(),
        database_bytes = pg_database_size(current_database()),
        outcome = CASE
            WHEN s.error IS NULL AND (
                (SELECT count(*) FROM run_sync.plans p WHERE p.sync_id = s.sync_id)
                    < cardinality(s.source_ids)
                OR EXISTS (SELECT FROM run_sync.leases l WHERE l.sync_id = s.sync_id))
            THEN 'interrupted'
            WHEN s.error IS NULL AND s.threads_failed = 0 THEN 'succeeded'
            WHEN s.threads > s.threads_failed THEN 'partial'
            ELSE 'failed' END
    WHERE s.shared AND s.finished_at IS NULL
        AND s.source_ids && CAST(:source_ids AS smallint[])
    RETURNING s.sync_id
    """
)


def end_shared(connection: Connection, source_ids: Sequence[SourceId]) -> None:
    """End the shared sync of some sources, as what stands in its row tells.

    Threads may have failed in a process that died before it could say how.
    """
    for sync_id in connection.scalars(END_SHARED, {"source_ids": list(source_ids)}).all():
        leases.leave(connection, sync_id, is_over=True)
    leases.forget_ended(connection)
