"""What the tables say about themselves: for `runtide status` and `runtide threads`."""

from collections.abc import Iterator
from datetime import datetime
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from etl.domain.run import TERMINAL
from etl.load.database import connected
from etl.load.tables import drift, rejects, runs, sources, syncs, threads

LAST_SYNCS = 5
MOST_DRIFT = 20


class SourceOverview(NamedTuple):
    """One source: its threads, and how its last passes went."""

    source: str
    kind: str
    base_url: str
    threads: int
    threads_failing: int
    threads_never_read: int
    threads_gone: int
    last_pass_at: datetime | None


class SyncOverview(NamedTuple):
    """One row of the ledger."""

    sync_id: int
    started_at: datetime
    finished_at: datetime | None
    outcome: str | None
    threads: int
    threads_failed: int
    requests: int
    runs_created: int
    runs_updated: int
    rejects: int
    error: str | None


class RunsOverview(NamedTuple):
    """All runs together."""

    runs: int
    open_runs: int
    total_tokens: int
    oldest_at: datetime | None
    newest_at: datetime | None
    rejects: int


class DriftOverview(NamedTuple):
    """One unknown field, value or type."""

    source: str
    path: str
    kind: str
    value: str
    times_seen: int
    first_seen_at: datetime
    last_seen_at: datetime
    example_run_id: str | None


class ThreadOverview(NamedTuple):
    """One tracked thread."""

    source: str
    thread_id: str
    runs_seen: int
    last_run_at: datetime | None
    last_pass_at: datetime | None
    synced_through: str | None
    consecutive_errors: int
    last_error: str | None
    missing_since: datetime | None
    gone_at: datetime | None


def sources_overview(engine: Engine) -> list[SourceOverview]:
    """One line per source that was ever used."""
    count = sa.func.count(threads.c.thread_id)
    failing = count.filter(threads.c.consecutive_errors > 0)
    unread = count.filter(threads.c.last_pass_at.is_(None))
    gone = count.filter(threads.c.gone_at.is_not(None))
    statement = (
        sa.select(
            sources.c.name,
            sources.c.kind,
            sources.c.base_url,
            count,
            failing,
            unread,
            gone,
            sa.func.max(threads.c.last_pass_at),
        )
        .outerjoin(threads, threads.c.source_id == sources.c.source_id)
        .group_by(sources.c.source_id)
        .order_by(sources.c.name)
    )
    with connected(engine) as connection:
        return [SourceOverview(*row) for row in connection.execute(statement)]


def last_syncs(engine: Engine) -> list[SyncOverview]:
    """The last few rows of the ledger, newest first."""
    columns = [syncs.c[name] for name in SyncOverview._fields]
    statement = sa.select(*columns).order_by(syncs.c.sync_id.desc()).limit(LAST_SYNCS)
    with connected(engine) as connection:
        return [SyncOverview(*row) for row in connection.execute(statement)]


def runs_overview(engine: Engine) -> RunsOverview:
    """Counts over all runs and the quarantine."""
    is_open = runs.c.status.not_in(sorted(TERMINAL))
    waiting = sa.select(sa.func.count()).where(rejects.c.replayed_at.is_(None))
    statement = sa.select(
        sa.func.count(),
        sa.func.count().filter(is_open),
        sa.cast(sa.func.coalesce(sa.func.sum(runs.c.total_tokens), 0), sa.BigInteger),
        sa.func.min(runs.c.created_at),
        sa.func.max(runs.c.created_at),
        waiting.scalar_subquery(),
    ).select_from(runs)
    with connected(engine) as connection:
        return RunsOverview(*connection.execute(statement).one())


def drift_overview(engine: Engine) -> list[DriftOverview]:
    """What the schema does not know, the latest first."""
    columns = [drift.c[name] for name in DriftOverview._fields[1:]]
    statement = (
        sa.select(sources.c.name, *columns)
        .join(sources, sources.c.source_id == drift.c.source_id)
        .order_by(drift.c.first_seen_at.desc(), drift.c.path, drift.c.value)
        .limit(MOST_DRIFT)
    )
    with connected(engine) as connection:
        return [DriftOverview(*row) for row in connection.execute(statement)]


def threads_overview(engine: Engine, source: str | None) -> Iterator[ThreadOverview]:
    """Every tracked thread, by source and id."""
    columns = [threads.c[name] for name in ThreadOverview._fields[1:]]
    statement = (
        sa.select(sources.c.name, *columns)
        .join(sources, sources.c.source_id == threads.c.source_id)
        .order_by(sources.c.name, threads.c.thread_id)
    )
    if source is not None:
        statement = statement.where(sources.c.name == source)
    with connected(engine) as connection:
        rows = connection.execution_options(yield_per=1_000).execute(statement)
        for row in rows:
            yield ThreadOverview(*row)


def rows_of(connection: Connection, query: str) -> tuple[list[str], list[tuple[Any, ...]]]:
    """Run a query for people; answer its headings and its rows."""
    result = connection.execute(sa.text(query))
    return list(result.keys()), [tuple(row) for row in result]
