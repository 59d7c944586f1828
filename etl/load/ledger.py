"""The ledger: one row per sync, counted up by every batch it commits."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.engine import Connection, Engine

from etl.domain.batch import Batch, Committed, SourceId
from etl.domain.outcome import Outcome, SyncReport
from etl.domain.run import Instant
from etl.load.database import connected
from etl.load.statements import microseconds
from etl.load.tables import sources, syncs

MOST_DAYS_UNFINISHED = 7

FORGET_LEASES = sa.text(
    "DELETE FROM run_sync.leases l USING run_sync.syncs s"
    " WHERE s.sync_id = l.sync_id AND s.finished_at IS NOT NULL"
)

LEAVE = sa.text(
    """
    WITH rest AS (
        DELETE FROM run_sync.leases WHERE lease_id IN (
            SELECT lease_id FROM run_sync.leases
            WHERE sync_id = :sync_id AND (
                :is_over OR lapses_at IS NULL OR lapses_at <= clock_timestamp())
            FOR UPDATE SKIP LOCKED)
        RETURNING source_id, thread_ids, token
    ), unread AS (
        SELECT CASE WHEN token = 0 THEN cardinality(thread_ids) ELSE (
            SELECT count(*) FROM run_sync.threads t
            WHERE t.source_id = rest.source_id AND t.thread_id = ANY (rest.thread_ids)
                AND (t.asked_at >= p.planned_at) IS NOT TRUE) END AS threads
        FROM rest LEFT JOIN run_sync.plans p
            ON p.sync_id = :sync_id AND p.source_id = rest.source_id
    ), total AS (SELECT sum(threads) AS threads FROM unread)
    UPDATE run_sync.syncs SET threads_left = coalesce(threads_left, 0) + total.threads
    FROM total WHERE sync_id = :sync_id AND total.threads > 0
    """
)
"""What waits to be leased, or was given back, is left for later; in the end, all is.

One that another process commits under is that one's to leave. Of one that was taken by
somebody who died, some threads may have been asked.
"""


class SharedSync(NamedTuple):
    """A sync that processes may join; `started_at` in microseconds since 1970."""

    sync_id: int
    started_at: int
    source_ids: list[SourceId]


def open_sync(
    connection: Connection,
    *,
    trigger: str,
    source_ids: Sequence[SourceId],
    holder: str,
    shared: bool = False,
) -> tuple[int, Instant]:
    """Begin a row of the ledger; answer its id and the instant, by the database's clock.

    Whoever calls it holds the sources. So a row of theirs that never ended belongs to a
    process that died, and is ended here as interrupted.
    """
    statement = (
        sa.insert(syncs)
        .values(
            trigger=trigger,
            started_at=sa.func.clock_timestamp(),
            source_ids=list(source_ids),
            holder=holder,
            shared=shared,
        )
        .returning(syncs.c.sync_id, microseconds(syncs.c.started_at))
    )
    connection.execute(_bury(source_ids))
    connection.execute(FORGET_LEASES)
    sync_id, started_at = connection.execute(statement).one()
    return sync_id, Instant(started_at)


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


def note_planned(connection: Connection, sync_id: int, *, due: int, left: int) -> None:
    """Note threads that are before a sync, and those left for a later one."""
    moved = {
        name: sa.func.coalesce(syncs.c[name], 0) + more
        for name, more in {"threads_due": due, "threads_left": left}.items()
    }
    statement = sa.update(syncs).where(syncs.c.sync_id == sync_id)
    connection.execute(statement.values(moved))


def look(engine: Engine, report: SyncReport) -> None:
    """Bring into a report how many threads its sync has before it, and leaves."""
    columns = syncs.c.threads_due, syncs.c.threads_left
    statement = sa.select(*columns).where(syncs.c.sync_id == report.sync_id)
    with connected(engine) as connection:
        row = connection.execute(statement).one()
    report.threads_due, report.threads_left = row.threads_due, row.threads_left or 0


def _bury(source_ids: Sequence[SourceId]) -> sa.Update:
    """End the rows of dead syncs; those without sources are older than the locks."""
    ours = sa.cast(list(source_ids), ARRAY(sa.SmallInteger))
    ended = sa.func.concat(
        "its process ended without a word (",
        sa.func.coalesce(syncs.c.holder, "unknown"),
        "); what it committed stands",
    )
    return (
        sa.update(syncs)
        .where(
            syncs.c.finished_at.is_(None),
            sa.or_(syncs.c.source_ids.is_(None), syncs.c.source_ids.overlap(ours)),
        )
        .values(
            finished_at=sa.func.clock_timestamp(),
            outcome=Outcome.INTERRUPTED.value,
            error=sa.func.coalesce(syncs.c.error, ended),
        )
    )


def forget_old(engine: Engine, *, keep: timedelta) -> int:
    """Delete rows that ended before `keep` ago, at least a week; answer how many.

    A backfill that was interrupted within a week looks for its own row.
    """
    kept = max(keep, timedelta(days=MOST_DAYS_UNFINISHED))
    old = syncs.c.finished_at < sa.func.clock_timestamp() - kept
    with connected(engine) as connection, connection.begin():
        return connection.execute(sa.delete(syncs).where(old)).rowcount


def now(engine: Engine) -> Instant:
    """The database's clock."""
    statement = sa.select(microseconds(sa.func.clock_timestamp()))
    with connected(engine) as connection:
        return Instant(connection.execute(statement).scalar_one())


def unfinished_since(engine: Engine, *, trigger: str) -> datetime:
    """When the first of the syncs began that were to do this and did not end.

    Now, where the last one with this trigger ended and left nothing for want of time, or
    there was none within a week:
    what was read before that is not news any more.
    """
    week_ago = sa.func.now() - timedelta(days=MOST_DAYS_UNFINISHED)
    mine = sa.and_(syncs.c.trigger == trigger, syncs.c.started_at > week_ago)
    ended = syncs.c.outcome.in_([Outcome.SUCCEEDED.value, Outcome.PARTIAL.value])
    is_whole = sa.func.coalesce(syncs.c.threads_left, 0) == 0
    last_ended = sa.select(sa.func.max(syncs.c.sync_id)).where(mine, ended, is_whole)
    began = sa.select(sa.func.min(syncs.c.started_at)).where(
        mine, syncs.c.sync_id > sa.func.coalesce(last_ended.scalar_subquery(), 0)
    )
    statement = sa.select(
        sa.func.coalesce(began.scalar_subquery(), sa.func.clock_timestamp())
    )
    with connected(engine) as connection:
        found: datetime = connection.execute(statement).scalar_one()
    return found


def count_up(
    connection: Connection, sync_id: int, batch: Batch, committed: Committed
) -> None:
    """Add one batch to the sync's figures, in the batch's own transaction."""
    broken = (*batch.failures, *batch.missing)
    failed = sum(not part.was_gone for part in broken)
    gone = sum(part.was_gone for part in batch.unknown)
    ended = sum(part.completes for part in batch.increments) + len(broken) + gone
    read = committed.created + committed.updated + committed.unchanged
    figures = {
        syncs.c.threads: ended,
        syncs.c.threads_failed: failed,
        syncs.c.pages: committed.pages,
        syncs.c.requests: batch.requests,
        syncs.c.retries: batch.retries,
        syncs.c.runs_read: read,
        syncs.c.runs_created: committed.created,
        syncs.c.runs_updated: committed.updated,
        syncs.c.runs_unchanged: committed.unchanged,
        syncs.c.rejects: committed.rejects,
    }
    moved = {column: column + added for column, added in figures.items() if added}
    if moved:
        statement = sa.update(syncs).where(syncs.c.sync_id == sync_id)
        connection.execute(statement.values(moved))


def close_sync(engine: Engine, report: SyncReport) -> None:
    """End the row of the ledger with the figures of the report.

    The row of a shared sync is ended by whoever leaves it last; the others add to it.
    """
    statement = (
        sa.update(syncs)
        .where(syncs.c.sync_id == report.sync_id)
        .values(
            finished_at=sa.func.clock_timestamp(),
            outcome=report.outcome.value,
            threads=report.threads,
            threads_failed=report.threads_failed,
            requests=report.requests,
            retries=report.retries,
            error=_sentence(report),
            failed_source_ids=_ids_of([each.source for each in report.away]),
            database_bytes=sa.func.pg_database_size(sa.func.current_database()),
        )
    )
    with connected(engine) as connection, connection.begin():
        leave_rest(connection, report.sync_id, is_over=True)
        connection.execute(statement)
        connection.execute(FORGET_LEASES)


def leave_rest(connection: Connection, sync_id: int, *, is_over: bool = False) -> None:
    """Leave the threads that nobody holds for a later sync.

    Where it `is_over`, those too that somebody held who died.
    """
    connection.execute(LEAVE, {"sync_id": sync_id, "is_over": is_over})


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
            error=sa.func.coalesce(syncs.c.error, _sentence(report)),
            failed_source_ids=failed.op("||")(sa.func.coalesce(_ids_of(told), failed[1:0])),
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
        leave_rest(connection, sync_id, is_over=True)
    connection.execute(FORGET_LEASES)


def _ids_of(names: Sequence[str]) -> sa.ScalarSelect[Any]:
    """The short keys of sources, of those names that are sources'."""
    wanted = sources.c.name == sa.any_(sa.cast(list(names), ARRAY(sa.Text)))
    found = sa.func.array_agg(sources.c.source_id)
    return sa.select(found).where(wanted).scalar_subquery()


def _sentence(report: SyncReport) -> str | None:
    if not report.errors:
        return None
    more = len(report.errors) - 1
    return report.errors[0].sentence + (f" (and {more} more)" if more else "")
