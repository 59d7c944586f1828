"""The last rows of the ledger, and how large the database has become."""

from datetime import datetime, timedelta
from typing import NamedTuple

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import aggregate_order_by
from sqlalchemy.engine import Connection

from etl.domain.batch import SourceId
from etl.load.holding import held_now, processes_at
from etl.load.tables import sources, syncs

LAST_SYNCS = 5
DAY = 86_400  # seconds


class SyncOverview(NamedTuple):
    """One row of the ledger, with the names of its sources; None in rows of old.

    `is_running` tells of a row that did not end whether its process still holds them.
    """

    sync_id: int
    trigger: str
    sources: list[str] | None
    started_at: datetime
    finished_at: datetime | None
    outcome: str | None
    threads_due: int | None
    threads: int
    threads_failed: int
    requests: int
    retries: int
    runs_read: int
    runs_created: int
    runs_updated: int
    runs_unchanged: int
    rejects: int
    error: str | None
    holder: str | None
    is_running: bool


class DatabaseOverview(NamedTuple):
    """The size of the whole database, and its growth over the last week."""

    bytes: int
    bytes_per_day: int | None


def last_syncs(connection: Connection) -> list[SyncOverview]:
    """The last few rows of the ledger, newest first."""
    held = held_now(connection)
    names = (
        sa.select(sa.func.array_agg(aggregate_order_by(sources.c.name, sources.c.name)))
        .select_from(sources)
        .where(sources.c.source_id == sa.any_(syncs.c.source_ids))
        .scalar_subquery()
    )
    columns = [
        names.label("sources") if field == "sources" else syncs.c[field]
        for field in SyncOverview._fields[:-1]
    ]
    statement = (
        sa.select(syncs.c.source_ids, syncs.c.shared, *columns)
        .order_by(syncs.c.sync_id.desc())
        .limit(LAST_SYNCS)
    )
    rows = connection.execute(statement).mappings().all()
    return [_sync(connection, row, held) for row in rows]


def _sync(connection: Connection, row: sa.RowMapping, held: set[SourceId]) -> SyncOverview:
    facts = dict(row)
    its_sources = facts.pop("source_ids") or ()
    is_running = row["finished_at"] is None and not held.isdisjoint(its_sources)
    if facts.pop("shared") and is_running:
        number = processes_at(connection, its_sources)
        facts["holder"] = "1 process" if number == 1 else f"{number} processes"
    return SyncOverview(**facts, is_running=is_running)


def database_overview(connection: Connection) -> DatabaseOverview:
    """How large the database is, and how it grew since a sync about a week ago."""
    size = sa.func.pg_database_size(sa.func.current_database())
    week_ago = sa.func.now() - timedelta(days=7)
    then = (
        sa.select(syncs.c.database_bytes, syncs.c.finished_at)
        .where(syncs.c.database_bytes.is_not(None), syncs.c.finished_at > week_ago)
        .order_by(syncs.c.sync_id)
        .limit(1)
        .subquery()
    )
    days = sa.func.extract("epoch", sa.func.now() - then.c.finished_at) / DAY
    growth = sa.case((days >= 1, (size - then.c.database_bytes) / days))
    [row] = connection.execute(sa.select(size, sa.select(growth).scalar_subquery()))
    return DatabaseOverview(row[0], None if row[1] is None else round(row[1]))
