"""What is in the tables: runs, payloads in quarantine, drift."""

from datetime import datetime
from typing import NamedTuple

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from etl.domain.run import TERMINAL
from etl.load.tables import drift, rejects, runs, sources

MOST_DRIFT = 20
MOST_REASONS = 10


class RunsOverview(NamedTuple):
    """All runs together."""

    runs: int
    open_runs: int
    total_tokens: int
    oldest_at: datetime | None
    newest_at: datetime | None
    rejects: int


class RejectsOverview(NamedTuple):
    """Payloads that wait in quarantine, by reason."""

    source: str
    reason: str
    rejects: int
    last_seen_at: datetime


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


def runs_overview(connection: Connection) -> RunsOverview:
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
    return RunsOverview(*connection.execute(statement).one())


def rejects_overview(connection: Connection) -> list[RejectsOverview]:
    """What waits in quarantine, the most frequent reasons first."""
    reason = sa.func.split_part(rejects.c.reason, ":", 1)
    count = sa.func.count()
    statement = (
        sa.select(sources.c.name, reason, count, sa.func.max(rejects.c.last_seen_at))
        .join(sources, sources.c.source_id == rejects.c.source_id)
        .where(rejects.c.replayed_at.is_(None))
        .group_by(sources.c.name, reason)
        .order_by(count.desc(), sources.c.name, reason)
        .limit(MOST_REASONS)
    )
    return [RejectsOverview(*row) for row in connection.execute(statement)]


def drift_overview(connection: Connection) -> list[DriftOverview]:
    """What the schema does not know, the latest first."""
    columns = [drift.c[name] for name in DriftOverview._fields[1:]]
    statement = (
        sa.select(sources.c.name, *columns)
        .join(sources, sources.c.source_id == drift.c.source_id)
        .order_by(drift.c.first_seen_at.desc(), drift.c.path, drift.c.value)
        .limit(MOST_DRIFT)
    )
    return [DriftOverview(*row) for row in connection.execute(statement)]
