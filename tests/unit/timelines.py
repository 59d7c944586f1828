"""A timeline of requests in memory, by the rules of the one in the database."""

import math
from collections.abc import Callable

from etl.domain.reservation import Reservation

AT_ONCE_SECONDS = 0.25
SECONDS_TO_RECOVER = 300.0
SECONDS_BETWEEN_CUTS = 1.0
LEAST_SHARE = 1 / 64


class TimelineInMemory:
    """One source's timeline; `clock` is its own, in seconds."""

    def __init__(self, spacing_seconds: float, *, clock: Callable[[], float]) -> None:
        self.clock = clock
        self.handed_out = 0
        self._spacing = spacing_seconds
        self._free_at = self._written_at = clock()
        self._share = 1.0
        self._cut_at: float | None = None

    @property
    def share(self) -> float:
        """The part of the budget that is used now."""
        grown = 0.0 if self._cut_at is None else self.clock() - self._cut_at
        return min(1.0, self._share + grown / SECONDS_TO_RECOVER)

    def reserve(self, wanted: int) -> Reservation:
        now = self._right()
        spacing = self._spacing / self.share
        count = min(wanted, max(1, math.floor(AT_ONCE_SECONDS / spacing)))
        first = self._free_at - now + spacing
        self._free_at += math.ceil(count * spacing * 1e6) / 1e6
        self.handed_out += count
        return Reservation(count=count, first_in_seconds=first, spacing_seconds=spacing)

    def slow_down(self, pause: float) -> None:
        now = self._right()
        self._free_at = max(self._free_at, now + pause)
        if self._cut_at is None or now - self._cut_at >= SECONDS_BETWEEN_CUTS:
            self._share = max(LEAST_SHARE, self.share / 2)
            self._cut_at = now

    def _right(self) -> float:
        """Go back where the clock did; answer the time."""
        now = self.clock()
        set_back = max(0.0, self._written_at - now)
        self._free_at = max(now, self._free_at - set_back)
        if self._cut_at is not None:
            self._cut_at = min(self._cut_at, now)
        self._written_at = now
        return now
