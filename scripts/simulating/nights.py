"""The nights: who is asked, what is found, how late it is."""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from scripts.simulating.lateness import Counts, Lateness
from scripts.simulating.registry import Asked, Registry
from scripts.simulating.world import AFTERWARDS, NIGHTS, OUTAGE, WARM_NIGHTS, YEAR_NIGHTS

Choice = Callable[[Registry, int, int], Asked]
"""Whom to ask: of the first so many threads of a registry, in a night."""

OUTAGE_MONTH = slice(OUTAGE.start - WARM_NIGHTS, OUTAGE.stop - WARM_NIGHTS + AFTERWARDS)
SETTLED_NIGHTS = 60
"""After so many nights of the year the longest wait is looked at."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Year:
    """What a rule did in the year."""

    requests: int
    everybody: int
    """The requests of asking everybody each night."""
    lateness: Lateness
    factor: list[float]
    """By night: the least waited/wait that was asked; infinite if only who comes first."""
    longest_wait: int
    """The most nights between two asks of a thread, once the rule has settled."""
    month: Lateness
    """Of the nights of the outage and those afterwards, whether it happened or not."""
    found: int
    """Runs of all nights, warming up included."""

    @property
    def share(self) -> float:
        """Of the requests of asking everybody each night."""
        return self.requests / self.everybody


@dataclass(slots=True)
class _Diary:
    """What is written down of the nights."""

    requests: int = 0
    everybody: int = 0
    factor: list[float] = field(default_factory=list)
    longest_wait: int = 0

    def write(self, registry: Registry, asked: Asked, day: int, known: int) -> None:
        """One night of the year, before its threads are asked."""
        self.requests += len(asked)
        self.everybody += known
        self.factor.append(registry.least_rank(asked, day + WARM_NIGHTS))
        if day >= SETTLED_NIGHTS and len(asked):
            waited = day + WARM_NIGHTS - registry.asked[asked]
            known_before = registry.asked[asked] >= 0
            most = int(np.max(waited, where=known_before, initial=0))
            self.longest_wait = max(self.longest_wait, most)


def simulated(registry: Registry, choice: Choice) -> Year:
    """Every night in turn; the year is what counts, and in the end everybody is asked."""
    tally = np.zeros((NIGHTS, NIGHTS), np.int64)
    diary = _Diary()
    for night in range(NIGHTS):
        known = registry.world.known(night)
        asked = choice(registry, night, known) if night < NIGHTS - 1 else np.arange(known)
        if WARM_NIGHTS <= night < WARM_NIGHTS + YEAR_NIGHTS:
            diary.write(registry, asked, night - WARM_NIGHTS, known)
        tally[night] = np.bincount(registry.ask(asked, night), minlength=NIGHTS)
    by_night = _by_lateness(tally)
    return Year(
        requests=diary.requests,
        everybody=diary.everybody,
        lateness=Lateness(by_night.sum(axis=0)),
        factor=diary.factor,
        longest_wait=diary.longest_wait,
        month=Lateness(by_night[OUTAGE_MONTH].sum(axis=0)),
        found=int(tally.sum()),
    )


def _by_lateness(tally: Counts) -> Counts:
    """Runs by their first night and how late they were, for the nights of the year."""
    turned = np.zeros_like(tally[:YEAR_NIGHTS])
    for day in range(YEAR_NIGHTS):
        first = WARM_NIGHTS + day
        turned[day, : NIGHTS - first] = tally[first:, first]
    return turned
