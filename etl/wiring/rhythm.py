"""How often a source is synced, as the schedule has it."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise, takewhile

from cronsim import CronSim

from etl.config import ScheduleConfig, Settings, SourceConfig

SOME_DAY = datetime(2026, 1, 1)  # noqa: DTZ001  # no zone, so that no clock is changed
FEWEST_TIMES = 40
SPELL = timedelta(days=15)
"""Holds two weekends, whatever the hours of the days between."""

NIGHTLY = timedelta(days=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rhythm:
    """The time between two syncs of a source: on average, and at most."""

    mean: timedelta = NIGHTLY
    longest: timedelta = NIGHTLY


def rhythm(settings: Settings, source: SourceConfig) -> Rhythm:
    """How often a source is synced; nightly where no schedule tells."""
    mine = [each for each in settings.schedule if each.source in {None, source.name}]
    gaps = [found for found in map(_gaps, mine) if found]
    if not gaps:
        return Rhythm()
    a_second = sum(len(each) / sum(each, timedelta()).total_seconds() for each in gaps)
    return Rhythm(
        mean=timedelta(seconds=1 / a_second), longest=min(max(each) for each in gaps)
    )


def _gaps(entry: ScheduleConfig) -> list[timedelta]:
    """The times between some syncs that follow each other."""
    counted = takewhile(
        lambda each: each[0] < FEWEST_TIMES or each[1] < SOME_DAY + SPELL,
        enumerate(CronSim(entry.cron, SOME_DAY)),
    )
    return [later - earlier for (_, earlier), (_, later) in pairwise(counted)]
