"""A world: threads that are born all the time, and every activity they will have."""

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from scripts.simulating.gaps import Floats, Gaps, Ids

PAST_DAYS = 730
"""Threads were born for two years before the first sync."""

WARM_NIGHTS = 60
YEAR_NIGHTS = 365
LAST_NIGHTS = 31
"""After the year, so that what it left late is found; nothing of them is counted."""

OUTAGE = range(WARM_NIGHTS + 200, WARM_NIGHTS + 205)
"""Nights without a sync, in the years that are to show what an outage does."""

AFTERWARDS = 30
"""Nights after it that are looked at, too."""

NIGHTS = WARM_NIGHTS + YEAR_NIGHTS + LAST_NIGHTS
MOST_ACTIVITIES = 400
AFTER_ALL = np.iinfo(np.int16).max


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """Threads in the order of their births, their activities one thread after the other.

    Time is in days; the sync of night n is at the instant n, night 0 being the first.
    Behind the activities of each thread stands one that no night reaches.
    """

    births: Floats
    starts: NDArray[np.int64]
    times: NDArray[np.float32]
    nights: NDArray[np.int16]

    @classmethod
    def made(cls, gaps: Gaps, *, threads: int, seed: int) -> Self:
        """The same threads for the same seed, and others for another distribution."""
        dice = np.random.default_rng([seed, *gaps.name.encode()])
        births = np.sort(dice.uniform(-PAST_DAYS, NIGHTS - 1, threads))
        courses = list(_activities(dice, gaps, births))
        counts = np.zeros(threads, np.int64)
        for ids, _ in courses:
            counts[ids] += 1
        ends = np.cumsum(counts + 1)
        starts = ends - counts - 1
        times = np.full(ends[-1], np.inf, np.float32)
        for place, (ids, instants) in enumerate(courses):
            times[starts[ids] + place] = instants
        return cls(births=births, starts=starts, times=times, nights=_nights(times))

    @property
    def threads(self) -> int:
        return len(self.births)

    @property
    def runs(self) -> int:
        """Activities of all threads, within the nights of the simulation or before."""
        return len(self.times) - self.threads

    def known(self, night: int) -> int:
        """How many threads the registry knows: the first ones."""
        return int(np.searchsorted(self.births, night, side="right"))


def _activities(dice: Generator, gaps: Gaps, births: Floats) -> list[tuple[Ids, Floats]]:
    """For each place in a thread's course, the threads that come so far, and when."""
    following = gaps.draw(dice, len(births))
    ids, times = np.arange(len(births)), births
    courses: list[tuple[Ids, Floats]] = []
    while len(ids) and len(courses) < MOST_ACTIVITIES:
        courses.append((ids.astype(np.int32), times.astype(np.float32)))
        coming = following(ids, times, len(courses))
        is_seen = coming <= NIGHTS - 1
        ids, times = ids[is_seen], coming[is_seen]
    return courses


def _nights(times: NDArray[np.float32]) -> NDArray[np.int16]:
    """The first night at or after each instant; before the first sync, that one."""
    first = np.ceil(times, dtype=np.float32)
    np.clip(first, 0, AFTER_ALL, out=first)
    return first.astype(np.int16)
