"""Sources and their threads: how far they are complete, and which of them fail."""

from collections.abc import Iterator
from datetime import datetime
from typing import NamedTuple

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from etl.domain.outcome import Outcome
from etl.load.database import connected
from etl.load.holding import held_now
from etl.load.tables import rejects, sources, syncs, threads

MOST_FAILING = 10

WHOLE = ("sync", "schedule")
"""Triggers of syncs that read all that is due."""


class SourceOverview(NamedTuple):
    """One source: its threads by state, and how its last syncs went.

    Every thread that is not gone is complete up to `complete_through`; None where one
    was never read. Of those complete, `threads_waiting` were left for later by the last
    sync that went well. `last_good_at` is when the last sync began that read it and went
    well, `at_work_since` when the one began that holds it now. `last_failed` is the last
    sync of it, where that failed, and `last_error` what it said.
    """

    source: str
    kind: str
    base_url: str | None
    threads: int
    threads_complete: int
    threads_failing: int
    threads_never_read: int
    threads_missing: int
    threads_gone: int
    threads_waiting: int
    complete_through: datetime | None
    last_pass_at: datetime | None
    tracked_since: datetime | None
    rejects_waiting: int
    last_good_at: datetime | None
    at_work_since: datetime | None
    last_failed: int | None
    last_error: str | None


class FailingThread(NamedTuple):
    """One thread whose last passes failed, and since when it was not complete."""

    source: str
    thread_id: str
    consecutive_errors: int
    complete_until: datetime | None
    last_error: str | None


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


def sources_overview(connection: Connection) -> list[SourceOverview]:
    """One line per source that was ever used."""
    count = sa.func.count(threads.c.thread_id)
    alive = threads.c.gone_at.is_(None)
    failing = sa.and_(alive, threads.c.consecutive_errors > 0)
    unread = sa.and_(alive, threads.c.last_pass_at.is_(None))
    complete = sa.and_(alive, ~failing, ~unread)
    through = sa.case(
        (count.filter(unread) > 0, sa.null()),
        else_=sa.func.min(threads.c.last_pass_at).filter(alive),
    )
    mine = sources.c.source_id == sa.any_(syncs.c.source_ids)
    failed = sa.func.coalesce(
        sources.c.source_id == sa.any_(syncs.c.failed_source_ids), sa.false()
    )
    is_good = sa.and_(
        syncs.c.outcome.in_([Outcome.SUCCEEDED.value, Outcome.PARTIAL.value]), ~failed
    )
    reading = sa.select(sa.func.max(syncs.c.started_at).label("began_at")).where(
        syncs.c.trigger.in_(WHOLE), mine
    )
    asked_at = sa.func.coalesce(threads.c.asked_at, threads.c.last_pass_at)
    began = reading.where(is_good).correlate(sources).lateral()
    left = sa.and_(complete, asked_at < began.c.began_at)
    at_work = reading.where(syncs.c.finished_at.is_(None))
    waiting = sa.select(sa.func.count()).where(
        rejects.c.source_id == sources.c.source_id, rejects.c.replayed_at.is_(None)
    )
    last = (
        sa.select(syncs.c.sync_id, syncs.c.error, is_good.label("is_good"))
        .where(
            mine,
            syncs.c.trigger.in_(WHOLE),
            syncs.c.finished_at.is_not(None),
            syncs.c.outcome != Outcome.INTERRUPTED.value,
        )
        .order_by(syncs.c.sync_id.desc())
        .limit(1)
        .lateral()
    )
    held = sorted(held_now(connection))
    statement = (
        sa.select(
            sources.c.name,
            sources.c.kind,
            sources.c.base_url,
            count,
            count.filter(complete),
            count.filter(failing),
            count.filter(unread),
            count.filter(alive, threads.c.missing_since.is_not(None)),
            count.filter(~alive),
            count.filter(left),
            through,
            sa.func.max(threads.c.last_pass_at),
            sa.func.min(threads.c.tracked_at),
            waiting.scalar_subquery(),
            began.c.began_at,
            sa.case((sources.c.source_id.in_(held), at_work.scalar_subquery())),
            sa.case((~last.c.is_good, last.c.sync_id)),
            sa.case((~last.c.is_good, last.c.error)),
        )
        .outerjoin(threads, threads.c.source_id == sources.c.source_id)
        .outerjoin(last, sa.true())
        .join(began, sa.true())
        .group_by(
            *(sources.c.source_id, began.c.began_at),
            *(last.c.sync_id, last.c.error, last.c.is_good),
        )
        .order_by(sources.c.name)
    )
    return [SourceOverview(*row) for row in connection.execute(statement)]


def failing_threads(connection: Connection) -> list[FailingThread]:
    """Some of the threads whose last pass failed, the longest incomplete first."""
    statement = (
        sa.select(
            sources.c.name,
            threads.c.thread_id,
            threads.c.consecutive_errors,
            threads.c.last_pass_at,
            threads.c.last_error,
        )
        .join(sources, sources.c.source_id == threads.c.source_id)
        .where(threads.c.consecutive_errors > 0, threads.c.gone_at.is_(None))
        .order_by(sa.nulls_first(threads.c.last_pass_at), threads.c.thread_id)
        .limit(MOST_FAILING)
    )
    return [FailingThread(*row) for row in connection.execute(statement)]


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
