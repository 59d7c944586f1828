"""The request budget of one source: a token bucket paced by the clock."""

import threading
import time
from collections.abc import Callable

TENTHS_IN_A_MINUTE = 600  # tenths of a second


SECONDS_TO_RECOVER = 300.0
"""How long the pace takes to grow from nothing to the whole budget."""

SECONDS_BETWEEN_CUTS = 1.0
"""Refusals that come together are one: workers had asked at the same pace."""

LEAST_SHARE = 1 / 64


class Budget:
    """At most `requests_per_minute` requests in any minute, spread evenly.

    The bucket starts empty, so that a restart cannot double a minute's requests,
    and holds a tenth of a second's worth, so that a late wake-up is made good.
    Where the server refuses for their rate, the pace is halved for all workers and
    grows back steadily (additive increase, multiplicative decrease).
    """

    def __init__(
        self,
        requests_per_minute: int,
        *,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.requests_per_minute = requests_per_minute
        self._capacity = max(1.0, requests_per_minute / TENTHS_IN_A_MINUTE)
        # A window of a minute can hold the bucket and what flows in meanwhile.
        self._most_per_second = (requests_per_minute - (self._capacity - 1)) / 60
        self._per_second = self._most_per_second
        self._sleep = sleep
        self._clock = clock
        self._lock = threading.Lock()
        self._tokens = 0.0
        self._filled_at = clock()
        self._cut_at = self._filled_at - SECONDS_BETWEEN_CUTS
        self._pause_until = self._filled_at

    def spend(self) -> None:
        """Wait until one request may be sent, and count it."""
        with self._lock:
            wait = self._reserve()
        if wait > 0:
            self._sleep(wait)

    def slow_down(self, pause: float | None = None) -> None:
        """Halve the pace; send nothing for `pause` seconds where the server says so."""
        with self._lock:
            now = self._fill()
            if now - self._cut_at >= SECONDS_BETWEEN_CUTS:
                least = self._most_per_second * LEAST_SHARE
                self._per_second = max(least, self._per_second / 2)
                self._cut_at = now
            self._pause_until = max(self._pause_until, now + (pause or 0.0))

    def _reserve(self) -> float:
        """Take a token, on credit if need be; answer the seconds until it is there."""
        now = self._fill()
        self._tokens -= 1
        return max(0.0, -self._tokens / self._per_second, self._pause_until - now)

    def _fill(self) -> float:
        """Let flow in what the time since has brought; answer the time."""
        now = self._clock()
        elapsed = now - self._filled_at
        self._tokens = min(self._capacity, self._tokens + elapsed * self._per_second)
        grown = self._per_second + self._most_per_second * elapsed / SECONDS_TO_RECOVER
        self._per_second = min(self._most_per_second, grown)
        self._filled_at = now
        return now
