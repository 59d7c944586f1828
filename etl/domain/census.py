"""The census: a source's threads in groups, by why and for how long they wait."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import IntEnum
from functools import cached_property
from typing import NamedTuple

STEP = 1.01
"""Waits, and ratios of waits, are told apart in steps of one per cent."""

HOUR, DAY = 3_600.0, 86_400.0

AWAKE_SECONDS = 5 * DAY
"""Added to the time a thread was idle: what was active lately is not asked only for that
(docs/scale.md)."""

IDLE_DAYS = (1, 7, 30, 90, 365)
"""Where the classes of idle time begin that people are shown, behind the first."""

IDLE_EDGES = (
    *(HOUR, 6 * HOUR),
    *(days * DAY for days in (1, 1.5, 2, 3, 4, 5.5, 7, 9, 12, 16, 22, 30, 40, 50, 65)),
    *(days * DAY for days in (90, 120, 160, 210, 280, 365, 550, 800, 1_200, 1_800, 3_000)),
)
"""Where the steps of idle time begin, in seconds, behind the first, which begins at 0."""

MOST_WATCHED = 20
"""Watched runs that one pass retrieves."""


class Tier(IntEnum):
    """How urgent a thread is: the first two take turns, the third gets what is left."""

    FIRST = 1
    OVERDUE = 2
    REST = 3
    NEVER = 4


class Reason(IntEnum):
    """Why a thread is where it is among those that may be asked."""

    NEW = 1
    """It was never read."""
    OPEN = 2
    """Something behind its bookmark may still change, or a run of it is watched."""
    FAILED = 3
    """Its last pass failed, and not often before."""
    HINTED = 4
    """The discovery told that it was active since its last pass."""
    OVERDUE = 5
    """It has waited as long as any thread may."""
    GONE = 6
    """A tombstone whose day it is."""
    IDLE = 7
    """It is due by how long it has waited, beside how long it was idle."""
    QUIET = 8
    """The discovery told nothing new of it, so it may wait until it is overdue."""

    @property
    def tier(self) -> Tier:
        """How urgent it is for this reason."""
        return _TIERS[self]


_TIERS = {
    Reason.NEW: Tier.FIRST,
    Reason.OPEN: Tier.FIRST,
    Reason.FAILED: Tier.FIRST,
    Reason.HINTED: Tier.FIRST,
    Reason.OVERDUE: Tier.OVERDUE,
    Reason.GONE: Tier.OVERDUE,
    Reason.IDLE: Tier.REST,
    Reason.QUIET: Tier.NEVER,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """What decides over a source's threads, beside the requests that there are.

    No thread waits for longer than `max_interval`: who would before the next sync, which
    comes after `gap`, is asked now. With `hints`, only threads that are known to be active
    are asked before that; `full_walk` is how often each is read from its start.
    """

    max_interval: timedelta
    gap: timedelta = timedelta()
    hints: bool = False
    trusted: bool = True
    page_size: int = 100
    full_walk: timedelta | None = None

    @property
    def overdue_after(self) -> timedelta:
        """After how long a thread is asked whatever its rank."""
        return max(self.max_interval - self.gap, timedelta())


class Group(NamedTuple):
    """Threads that are alike to a plan, and how many they are.

    `step` is of the ratio for the rest, else of the wait itself; `whole` tells that
    they are read from their start; `runs` is how many all of them are known to have.
    """

    step: int
    idle_step: int
    reason: Reason
    whole: bool
    watched: int
    threads: int
    runs: int

    @property
    def place(self) -> tuple[int, bool, int, int, int]:
        """Where they stand in their tier; `chosen` has the same order in SQL."""
        return -self.step, self.whole, self.watched, self.idle_step, self.reason


@dataclass(frozen=True, kw_only=True)
class Census:
    """All threads of a source that may be asked, in groups, at one instant."""

    taken_at: datetime
    rule: Rule
    groups: Sequence[Group]

    @property
    def known(self) -> int:
        """How many threads there are, tombstones left out whose day it is not."""
        return sum(group.threads for group in self.groups)

    @cached_property
    def pages(self) -> int:
        """How many pages a thread has that is read whole, as far as others tell."""
        read = [group for group in self.groups if group.reason is not Reason.NEW]
        threads = sum(group.threads for group in read)
        runs = sum(group.runs for group in read)
        return 1 + (runs // threads // self.rule.page_size if threads else 0)

    @property
    def cost(self) -> "Cost":
        """What asking a thread of each group is expected to take."""
        return Cost(pages=self.pages, claims=1 if self.rule.trusted else 2)

    def cost_later(self, group: Group) -> int:
        """The requests of one thread of the group, once it was read whole."""
        return self.cost.of(group._replace(whole=False))

    def tier(self, tier: Tier) -> list[Group]:
        """The groups of one tier, the most urgent first."""
        mine = (group for group in self.groups if group.reason.tier is tier)
        return sorted(mine, key=lambda group: group.place)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """The requests that a pass should take: each page is asked for `claims` times."""

    pages: int
    claims: int

    def of(self, group: Group) -> int:
        """The requests of one thread of the group."""
        pages = self.pages if group.whole else 1
        return pages * self.claims + min(group.watched, MOST_WATCHED)
