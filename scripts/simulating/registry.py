"""The registry: what is kept of each thread from one night to the next."""

import numpy as np
from numpy.typing import NDArray

from scripts.simulating.gaps import MINUTE
from scripts.simulating.rules import LEAST_IDLE, Known, Rule, Values
from scripts.simulating.world import World

Asked = NDArray[np.int64]

MAX_INTERVAL = 30
OPEN_DAYS = 10 * MINUTE
"""A run that is younger is still open: its thread comes first in the next night."""

OVERDUE = np.float32(1e6)
"""Ranks above it come before everything that is only due."""

LIKE = 0.02
"""Gaps that differ by less make a period."""

FIRST = np.float32(np.inf)
SHORTEST_PERIOD = 2
GOLDEN = 2654435761
NO_RUNS = np.zeros(0, np.int16)


class Registry:
    """All threads of a world under one rule.

    `has_precedence` says whether a thread that was not asked for `MAX_INTERVAL` comes
    before those that are only due; `is_staggered` whether its first such day is its own.
    """

    def __init__(
        self,
        world: World,
        rule: Rule,
        *,
        has_precedence: bool = True,
        is_staggered: bool = True,
    ) -> None:
        self.world = world
        self._rule = rule
        self._has_precedence = has_precedence
        self.asked = np.full(world.threads, -1, np.float32)
        self._weight = np.full(world.threads, FIRST, np.float32)
        self._deadline = np.zeros(world.threads, np.float32)
        self._first_deadline = _staggered(world) if is_staggered else self._deadline.copy()
        self._empty = np.zeros(world.threads, np.float32)
        self._place = world.starts.copy()
        self.coming = world.nights[self._place]
        """The first night that can find the first run that was not found yet."""

    def ranks(self, night: int, known: int) -> Values:
        """Who comes first (infinite), who is overdue, and what the others waited."""
        waited = np.float32(night) - self.asked[:known]
        ranks = waited * self._weight[:known]
        if self._has_precedence:
            overdue = self._deadline[:known] <= night
            np.maximum(ranks, waited + OVERDUE, out=ranks, where=overdue)
        return ranks

    def least_rank(self, asked: Asked, night: int) -> float:
        """The f of a night: what the last of those who were only due had waited."""
        ranks = (np.float32(night) - self.asked[asked]) * self._weight[asked]
        due = ranks[(self._deadline[asked] > night) | (not self._has_precedence)]
        return float(due.min()) if len(due) else np.inf

    def ask(self, threads: Asked, night: int) -> NDArray[np.int16]:
        """Ask them; the first nights of the runs that this finds."""
        finding = threads[self.coming[threads] <= night]
        self._empty[threads] += 1
        self._empty[finding] = 0
        found = self._read(finding, night)
        self.asked[threads] = night
        self._plan(threads, night)
        return found

    def _read(self, finding: Asked, night: int) -> NDArray[np.int16]:
        found = [NO_RUNS]
        left = finding
        while len(left):
            found.append(self.coming[left])
            self._place[left] += 1
            self.coming[left] = self.world.nights[self._place[left]]
            left = left[self.coming[left] <= night]
        return np.concatenate(found)

    def _plan(self, threads: Asked, night: int) -> None:
        known = self._known(threads, night)
        is_open = known.idle < OPEN_DAYS
        self._weight[threads] = np.where(is_open, FIRST, 1 / self._rule.wait(known))
        first, later = self._first_deadline[threads], np.float32(night + MAX_INTERVAL)
        deadline = np.where(first > night, first, later)
        if self._rule.foresees:
            deadline = np.minimum(deadline, _foreseen(known, night))
        self._deadline[threads] = deadline

    def _known(self, threads: Asked, night: int) -> Known:
        times, place = self.world.times, self._place[threads]
        start = self.world.starts[threads]
        last, before = times[place - 1], times[np.maximum(place - 2, start)]
        earlier = times[np.maximum(place - 3, start)]
        return Known(
            idle=np.maximum(np.float32(night) - last, np.float32(LEAST_IDLE / 2)),
            life=np.float32(night) - times[start],
            seen=(place - start).astype(np.float32),
            empty=self._empty[threads],
            last_gap=last - before,
            gap_before=before - earlier,
        )


def _staggered(world: World) -> Values:
    """When each thread is overdue for the first time: within an interval, by its id."""
    spread = np.arange(world.threads) * GOLDEN % 4096 / 4096
    tracked = np.maximum(world.births, 0)
    return np.ceil(tracked + MAX_INTERVAL * spread).astype(np.float32)


def _foreseen(known: Known, night: int) -> Values:
    """The night after the next activity of a periodic thread; never for others."""
    gap = known.last_gap
    is_like = np.abs(gap - known.gap_before) < LIKE * gap
    turns = np.maximum(np.ceil(known.idle / np.maximum(gap, SHORTEST_PERIOD)), 1)
    coming = np.ceil(night - known.idle + gap * turns)
    is_periodic = is_like & (gap > SHORTEST_PERIOD)
    foreseen = np.where(is_periodic, np.maximum(coming, night + 1), np.inf)
    return foreseen.astype(np.float32)
