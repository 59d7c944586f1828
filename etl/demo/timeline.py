"""When the runs of a thread take place: mostly in office hours, never at once."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import accumulate
from random import Random
from typing import Self

from etl.demo.cast import Plan

_HOUR = 3600
_FIRST_WEEKEND_DAY = 5
_OFFICE_HOURS = range(8, 18)


@dataclass(frozen=True, slots=True, kw_only=True)
class BusyHours:
    """The hours of some days, each with the activity of all hours until then."""

    starts: tuple[int, ...]
    activity: tuple[float, ...]

    @classmethod
    def before(cls, until: int, *, days: int) -> Self:
        """Take the whole hours of the `days` before an instant."""
        starts = tuple(range(until - days * 24 * _HOUR, until, _HOUR))
        return cls(starts=starts, activity=tuple(accumulate(map(_activity, starts))))

    def draw_starts(self, rng: Random, count: int) -> list[int]:
        """Draw instants for `count` runs, ascending, about five near each other."""
        hours = rng.choices(self.starts, cum_weights=self.activity, k=count // 5 + 1)
        visits = [hour + rng.randrange(_HOUR) for hour in hours]
        return sorted(rng.choices(visits, k=count))


def place(
    rng: Random, plans: Sequence[Plan], starts: Iterable[int], *, until: int
) -> list[int]:
    """Find when each plan's run is created: at its start or, if taken, later.

    The next run begins after the end of the one before, and in the very same
    second when that one was refused, for people retry at once. All have ended
    at `until`: what would not fit moves the whole row to an earlier time.
    """
    created: list[int] = []
    free_at, retries = 0, False
    for plan, start in zip(plans, starts, strict=True):
        created.append(free_at if retries else max(start, free_at))
        retries = plan.is_refused
        pause = 0 if retries else rng.randint(5, 90)
        free_at = created[-1] + plan.course.seconds + pause
    overrun = max(0, free_at - until)
    return [at - overrun for at in created]


def _activity(at: int) -> float:
    instant = datetime.fromtimestamp(at, UTC)
    is_office_hour = instant.hour in _OFFICE_HOURS
    is_weekend = instant.weekday() >= _FIRST_WEEKEND_DAY
    return (1.0 if is_office_hour else 0.15) * (0.25 if is_weekend else 1.0)
