"""How things stand, and what of it needs a person."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy.engine import Connection

from etl.config import ScheduleConfig, Settings
from etl.config.sections import span
from etl.load.overview import (
    DatabaseOverview,
    DriftOverview,
    FailingThread,
    RejectsOverview,
    SourceOverview,
    SyncOverview,
    database_overview,
    drift_overview,
    failing_threads,
    last_syncs,
    rejects_overview,
    sources_overview,
)
from etl.operations.cron import last_due, next_due

TOLERANCE = timedelta(minutes=5)
"""How far this machine's clock may be from the database's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NextSync:
    """When an entry of the schedule is due next; no source is all of them."""

    at: datetime
    source: str | None
    cron: str
    timezone: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """What `status` shows, besides the runs themselves.

    `overdue` and `needs` are sentences for a person; `needs` holds the others too.
    """

    sources: list[SourceOverview]
    failing: list[FailingThread]
    syncs: list[SyncOverview]
    rejects: list[RejectsOverview]
    drift: list[DriftOverview]
    database: DatabaseOverview
    next: list[NextSync]
    overdue: list[str]
    needs: list[str]


def look(
    connection: Connection,
    settings: Settings,
    entries: Sequence[ScheduleConfig],
    *,
    now: datetime,
) -> Standing:
    """Read how things stand at `now`, by the clock of this machine.

    `entries` are what is promised: what is overdue is judged by them. A source that the
    settings do not name any more is shown, and needs nobody; an archive is never overdue.
    """
    sources = sources_overview(connection)
    names = {source.name for source in settings.config.sources}
    ours = [source for source in sources if source.source in names]
    asked = {source.name for source in settings.config.sources if source.is_asked}
    synced = [source for source in ours if source.source in asked]
    overdue = overdue_sources(entries, synced, now=now)
    return Standing(
        sources=sources,
        failing=failing_threads(connection),
        syncs=last_syncs(connection),
        rejects=rejects_overview(connection),
        drift=drift_overview(connection),
        database=database_overview(connection),
        next=next_syncs(entries, now=now),
        overdue=overdue,
        needs=[*overdue, *_failed(ours), *_failing(ours), *_waiting(ours)],
    )


def next_syncs(entries: Sequence[ScheduleConfig], *, now: datetime) -> list[NextSync]:
    """When each entry is due next, the soonest first."""
    due = [
        NextSync(
            at=next_due(entry, now),
            source=entry.source,
            cron=entry.cron,
            timezone=entry.timezone,
        )
        for entry in entries
    ]
    return sorted(due, key=lambda each: each.at)


def overdue_sources(
    entries: Sequence[ScheduleConfig], sources: Sequence[SourceOverview], *, now: datetime
) -> list[str]:
    """A sentence for each source with threads whose sync should have begun long ago."""
    return [
        f"No sync of {source.source} has gone well since {due:%Y-%m-%d %H:%M} UTC, when"
        " one was due; see that `runtide schedule` or cron runs, and what the last syncs"
        " said."
        for source in sources
        if (due := _missed(entries, source, now)) is not None
    ]


def _missed(
    entries: Sequence[ScheduleConfig], source: SourceOverview, now: datetime
) -> datetime | None:
    """The latest instant that a source's syncs should not have missed, but did."""
    mine = [entry for entry in entries if entry.source in {None, source.source}]
    if not mine or source.tracked_since is None:
        return None
    due = max(last_due(entry, now - _patience(entry)) for entry in mine)
    begun = source.at_work_since or source.last_good_at or source.tracked_since
    return due if begun < due - TOLERANCE else None


def _patience(entry: ScheduleConfig) -> timedelta:
    """How long after its time, jitter included, a sync is not overdue yet."""
    jitter = span(entry.jitter) if entry.jitter else timedelta()
    return jitter + span(entry.overdue_after)


def _failed(sources: Sequence[SourceOverview]) -> Iterator[str]:
    """Each source whose last sync failed; the same sync is told once."""
    told: dict[int, list[SourceOverview]] = {}
    for source in sources:
        if source.last_failed is not None:
            told.setdefault(source.last_failed, []).append(source)
    for sync_id, its in told.items():
        names = " and ".join(source.source for source in its)
        why = f": {its[0].last_error}" if its[0].last_error else "."
        yield f"The last sync of {names} ({sync_id}) failed{why}"


def _failing(sources: Sequence[SourceOverview]) -> Iterator[str]:
    for each in sources:
        if each.threads_failing:
            noun = "thread fails" if each.threads_failing == 1 else "threads fail"
            yield (
                f"{each.threads_failing:,} {noun} at {each.source}; `runtide threads`"
                " tells why."
            )


def _waiting(sources: Sequence[SourceOverview]) -> Iterator[str]:
    count = sum(each.rejects_waiting for each in sources)
    if count:
        noun = "payload waits" if count == 1 else "payloads wait"
        yield (
            f"{count:,} {noun} in quarantine (run_sync.rejects); look at the reasons, and"
            " run `runtide replay` after an upgrade."
        )
