"""How often threads are asked in the long run, and so how late a run may be seen."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from math import ceil, inf, sqrt
from typing import NamedTuple

from etl.domain.census import (
    AWAKE_SECONDS,
    DAY,
    IDLE_DAYS,
    IDLE_EDGES,
    Census,
    Reason,
)

GONE_SECONDS = 28 * DAY
"""How often a tombstone is asked (etl/load/threads.py)."""

SMALLEST, LARGEST = 1e-7, 1e5
HALVINGS = 60

ALWAYS = {Reason.OPEN, Reason.FAILED, Reason.HINTED}
"""As many of these as there are now are taken to come in every sync."""


@dataclass(frozen=True, slots=True, kw_only=True)
class IdleClass:
    """Threads that were idle for so many days, and how often they are asked.

    `days` is where it begins and ends; None is open. `every` is the average, `latest`
    the longest of them.
    """

    days: tuple[int, int | None]
    threads: int
    every: timedelta
    latest: timedelta

    def due_of(self, idle: Mapping[int, int]) -> int:
        """How many of those threads are its own that are counted by steps of idle time."""
        return sum(n for step, n in idle.items() if _is_in(step, *self.days))


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How a source's threads are asked once things have settled.

    `factor` is how many times its idle time a thread waits; 0 asks everybody at every
    sync, None goes by hints, or is where none fits. `requests` are those of one sync;
    `requests_of_all` would ask everybody, and with fewer than `requests_of_checks` nobody
    can be asked as often as `max_interval` says: `stretch` is then how many times that
    everybody waits.
    """

    factor: float | None
    requests: int
    requests_of_all: int
    requests_of_checks: int
    stretch: float
    classes: Sequence[IdleClass]


class _Alike(NamedTuple):
    """Threads that are asked alike in the long run, and the requests of asking them."""

    reason: Reason
    idle_step: int
    threads: int
    requests: int


class _Asking:
    """Asking threads in the long run, one sync each `gap` seconds."""

    def __init__(self, census: Census, gap: float) -> None:
        self.alike = _alike(census)
        self._gap = gap
        self._has_hints = census.rule.hints
        self._longest = max(census.rule.max_interval.total_seconds(), gap)

    def load(self, factor: float) -> float:
        """The requests of one sync, on average."""
        return sum(
            each.requests * self._gap / self.interval(each, factor) for each in self.alike
        )

    def interval(self, alike: _Alike, factor: float, idle: float | None = None) -> float:
        """After how long such threads are asked again."""
        if alike.reason in ALWAYS:
            return self._gap
        if alike.reason is Reason.GONE:
            return max(self._gap, GONE_SECONDS)
        if self._has_hints:
            return self._longest
        if factor == 0:
            return self._gap
        idle = _middle(alike.idle_step) if idle is None else idle
        return min(max(factor * (idle + AWAKE_SECONDS), self._gap), self._longest)

    def in_syncs(self, seconds: float) -> float:
        """The same, to the sync that follows."""
        return ceil(seconds / self._gap - 1e-9) * self._gap


def pace(census: Census, capacity: int | None, gap: timedelta) -> Pace:
    """The smallest factor whose expected requests fit into every sync."""
    asking = _Asking(census, gap.total_seconds())
    has_hints = census.rule.hints
    factor = 0.0 if has_hints or capacity is None else _factor(asking, capacity)
    load = asking.load(factor)
    stretch = 1.0
    if capacity is not None and (factor == inf or load > capacity * 1.001):
        stretch = load / capacity if capacity else inf
    return Pace(
        factor=None if has_hints or factor == inf else factor,
        requests=ceil(load / stretch),
        requests_of_all=sum(each.requests for each in asking.alike),
        requests_of_checks=ceil(asking.load(inf)),
        stretch=stretch,
        classes=_classes(asking, factor, stretch),
    )


def _alike(census: Census) -> list[_Alike]:
    """The census, without what changes from sync to sync."""
    threads: Counter[tuple[Reason, int]] = Counter()
    requests: Counter[tuple[Reason, int]] = Counter()
    for group in census.groups:
        key = group.reason, group.idle_step
        threads[key] += group.threads
        requests[key] += group.threads * census.cost_later(group)
    return [_Alike(*key, threads[key], requests[key]) for key in threads]


def _factor(asking: _Asking, capacity: int) -> float:
    if asking.load(0) <= capacity:
        return 0.0
    if asking.load(inf) > capacity:
        return inf
    low, high = SMALLEST, LARGEST
    for _ in range(HALVINGS):
        middle = sqrt(low * high)
        if asking.load(middle) <= capacity:
            high = middle
        else:
            low = middle
    return high


def _classes(asking: _Asking, factor: float, stretch: float) -> list[IdleClass]:
    found = []
    for first, last in zip((0, *IDLE_DAYS), (*IDLE_DAYS, None), strict=True):
        mine = [each for each in asking.alike if _is_in(each.idle_step, first, last)]
        if mine:
            found.append(_class(asking, mine, (first, last), factor, stretch))
    return found


def _class(
    asking: _Asking,
    alike: Sequence[_Alike],
    days: tuple[int, int | None],
    factor: float,
    stretch: float,
) -> IdleClass:
    threads = sum(each.threads for each in alike)
    every = sum(
        each.threads * asking.in_syncs(asking.interval(each, factor)) for each in alike
    )
    latest = max(asking.in_syncs(_longest(asking, each, factor)) for each in alike)
    return IdleClass(
        days=days,
        threads=threads,
        every=_as_span(every / threads * stretch),
        latest=_as_span(latest * stretch),
    )


def _longest(asking: _Asking, alike: _Alike, factor: float) -> float:
    return asking.interval(alike, factor, idle=_edges(alike.idle_step)[1])


def _as_span(seconds: float) -> timedelta:
    return (
        timedelta(seconds=seconds) if seconds < timedelta.max.days * DAY else timedelta.max
    )


def _is_in(idle_step: int, first: int, last: int | None) -> bool:
    begin = _edges(idle_step)[0]
    return first * DAY <= begin and (last is None or begin < last * DAY)


def _edges(idle_step: int) -> tuple[float, float]:
    """Where a step of idle time begins and ends, in seconds."""
    edges = (0.0, *IDLE_EDGES, inf)
    return edges[idle_step], edges[idle_step + 1]


def _middle(idle_step: int) -> float:
    begin, end = _edges(idle_step)
    return begin * 1.2 if end == inf else (begin + end) / 2
