"""The plan of a source's sync, from the settings and the registry."""

from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy.engine import Connection

from etl.config import Settings, SourceConfig
from etl.domain.batch import SourceId
from etl.domain.census import Rule
from etl.domain.lateness import Pace, pace
from etl.domain.planning import Plan, capacity, plan
from etl.load import threads
from etl.load.database import connected
from etl.load.discoveries import are_hints_fresh
from etl.load.planning import census
from etl.wiring.parts import ready_database
from etl.wiring.rhythm import rhythm

HINTS_HOLD = timedelta(days=1)
"""How much older than the last sync hints may be: whoever discovers no more is not
believed for ever."""

UNKNOWN = SourceId(0)
"""The key of a source that was never used; none has it."""


def plan_source(
    connection: Connection,
    settings: Settings,
    source: SourceConfig,
    source_id: SourceId,
    *,
    left_seconds: float | None = None,
) -> Plan:
    """Which threads a sync of a source asks now, by the settings; nothing is written.

    `left_seconds` is what the sync has left of its window, all of it unless told.
    """
    rule = rule_of(connection, settings, source, source_id)
    window = settings.config.sync.time_allowed
    seconds = None if window is None else window.total_seconds()
    if seconds is not None and left_seconds is not None:
        seconds = min(seconds, left_seconds)
    requests = capacity(source.requests_per_minute, seconds)
    return plan(census(connection, source_id, rule), requests)


def rule_of(
    connection: Connection, settings: Settings, source: SourceConfig, source_id: SourceId
) -> Rule:
    """What decides over a source's threads: the settings, and whether hints hold."""
    told = settings.config.sync
    gap = rhythm(settings, source).longest
    hints = source.discovery is not None and are_hints_fresh(
        connection, source_id, within=gap + HINTS_HOLD
    )
    return Rule(
        max_interval=told.longest_wait,
        gap=gap,
        hints=hints,
        trusted=source.trusted,
        page_size=told.page_size,
        full_walk=told.full_walk,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What other settings would lead to: some requests in a sync, and how they come."""

    window_seconds: float
    requests_per_minute: int
    plan: Plan
    pace: Pace


@dataclass(frozen=True, slots=True, kw_only=True)
class Outlook:
    """What the next sync of a source asks, and what that means in the long run."""

    source: str
    window: str | None
    requests_per_minute: int
    max_interval: str
    gap: timedelta
    plan: Plan
    pace: Pace
    doubled: Change | None


def outlooks(settings: Settings, *, source: str | None) -> list[Outlook]:
    """The plans of all sources with a server, or of one; nothing is asked or written.

    A source that no sync knows yet has no threads. Raises as `ready_database` does.
    """
    chosen = settings.asked_sources(source)
    with ready_database(settings) as engine:
        known = threads.known_sources(engine)
        with connected(engine) as connection:
            return [
                _outlook(connection, settings, each, known.get(each.name, UNKNOWN))
                for each in chosen
            ]


def _outlook(
    connection: Connection, settings: Settings, source: SourceConfig, source_id: SourceId
) -> Outlook:
    rule = rule_of(connection, settings, source, source_id)
    counted = census(connection, source_id, rule)
    window = settings.config.sync.time_allowed
    seconds = None if window is None else window.total_seconds()
    fits = capacity(source.requests_per_minute, seconds)
    gap = rhythm(settings, source).mean
    planned = plan(counted, fits)
    doubled = None
    if seconds is not None and fits is not None and planned.left:
        doubled = Change(
            window_seconds=2 * seconds,
            requests_per_minute=2 * source.requests_per_minute,
            plan=plan(counted, 2 * fits),
            pace=pace(counted, 2 * fits, gap),
        )
    return Outlook(
        source=source.name,
        window=settings.config.sync.window,
        requests_per_minute=source.requests_per_minute,
        max_interval=settings.config.sync.max_interval,
        gap=gap,
        plan=planned,
        pace=pace(counted, fits, gap),
        doubled=doubled,
    )
