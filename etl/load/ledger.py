"""The ledger: one row per sync, counted up by every batch it commits."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.engine import Connection, Engine

from etl.domain.batch import Batch, Committed, SourceId
from etl.domain.outcome import Outcome, SyncReport
from etl.domain.run import Instant
from etl.load import leases
from etl.load.database import connected
from etl.load.statements import microseconds
from etl.load.tables import sources, syncs

MOST_DAYS_UNFINISHED = 7


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
    leases.forget_ended(connection)
    sync_id, started_at = connection.execute(statement).one()
    return sync_id, Instant(started_at)


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
            error=sentence_of(report),
            failed_source_ids=ids_of([each.source for each in report.away]),
            database_bytes=sa.func.pg_database_size(sa.func.current_database()),
        )
    )
    with connected(engine) as connection, connection.begin():
        leases.leave(connection, report.sync_id, is_over=True)
        connection.execute(statement)
        leases.forget_ended(connection)


def ids_of(names: Sequence[str]) -> sa.ScalarSelect[Any]:
    """The short keys of sources, of those names that are sources'."""
    wanted = sources.c.name == sa.any_(sa.cast(list(names), ARRAY(sa.Text)))
    found = sa.func.array_agg(sources.c.source_id)
    return sa.select(found).where(wanted).scalar_subquery()


def sentence_of(report: SyncReport) -> str | None:
    """What the ledger says of errors: the first, and how many more there are."""
    if not report.errors:
        return None
    more = len(report.errors) - 1
    return report.errors[0].sentence + (f" (and {more} more)" if more else "")
