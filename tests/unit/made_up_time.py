"""Workers on a made-up clock: real threads, of which one at a time is awake."""

import heapq
import threading
from collections.abc import Callable
from itertools import count

PATIENCE = 60.0  # never decides a test, ends one that hangs


class MadeUpTime:
    """A clock that moves when all workers sleep, to the moment when the next one wakes."""

    def __init__(self) -> None:
        self.now = 1_000.0
        self._order = count()
        self._asleep: list[tuple[float, int, threading.Semaphore]] = []
        self._back = threading.Semaphore(0)
        self._errors: list[BaseException] = []

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        """Sleep, and let the others work meanwhile."""
        woken = threading.Semaphore(0)
        heapq.heappush(self._asleep, (self.now + seconds, next(self._order), woken))
        self._back.release()
        assert woken.acquire(timeout=PATIENCE)

    def run(self, *workers: Callable[[], None]) -> None:
        """Let workers work until all have ended; raises what one of them raised."""
        threads = [
            threading.Thread(target=self._work, args=(each,), daemon=True)
            for each in workers
        ]
        for thread in threads:
            thread.start()
            assert self._back.acquire(timeout=PATIENCE)
        while self._asleep:
            at, _, woken = heapq.heappop(self._asleep)
            self.now = max(self.now, at)
            woken.release()
            assert self._back.acquire(timeout=PATIENCE)
        if self._errors:
            raise self._errors[0]

    def _work(self, worker: Callable[[], None]) -> None:
        try:
            self.sleep(0.0)
            worker()
        except BaseException as error:
            self._errors.append(error)
        finally:
            self._back.release()
