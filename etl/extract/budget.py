"""The request budget of one source: a token bucket paced by the clock."""

import threading
import time
from collections.abc import Callable

TENTHS_IN_A_MINUTE = 600  # tenths of a second


class Budget:
    """At most `requests_per_minute` requests in any minute, spread evenly.

    The bucket starts empty, so that a restart cannot double a minute's requests,
    and holds a tenth of a second's worth, so that a late wake-up is made good.
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
        self._per_second = (requests_per_minute - (self._capacity - 1)) / 60
        self._sleep = sleep
        self._clock = clock
        self._lock = threading.Lock()
        self._tokens = 0.0
        self._filled_at = clock()

    def spend(self) -> None:
        """Wait until one request may be sent, and count it."""
        with self._lock:
            wait = self._reserve()
        if wait > 0:
            self._sleep(wait)

    def _reserve(self) -> float:
        """Take a token, on credit if need be; answer the seconds until it is there."""
        now = self._clock()
        flown_in = (now - self._filled_at) * self._per_second
        self._tokens = min(self._capacity, self._tokens + flown_in) - 1
        self._filled_at = now
        return max(0.0, -self._tokens / self._per_second)
