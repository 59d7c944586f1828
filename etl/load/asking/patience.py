"""Breaking off a question that takes too long, or that nobody waits for any more."""

import threading
import time
from collections.abc import Callable

LOOK_SECONDS = 0.1


class Patience:
    """Watches over a connection from a thread of its own, until it is told to rest."""

    def __init__(
        self, break_off: Callable[[], None], *, seconds: float, stop: threading.Event
    ) -> None:
        self._break_off = break_off
        self._stop = stop
        self._until = time.monotonic() + seconds
        self._rests = threading.Event()
        self.is_over = False
        self._watcher = threading.Thread(target=self._watch, daemon=True)
        self._watcher.start()

    @property
    def left_seconds(self) -> float:
        """How long the answer may still take."""
        return self._until - time.monotonic()

    def rest(self) -> None:
        """Watch no more; when this returns, nothing is broken off any more."""
        self._rests.set()
        self._watcher.join()

    def _watch(self) -> None:
        while not self._rests.wait(LOOK_SECONDS):
            if self._stop.is_set() or self.left_seconds <= 0:
                self.is_over = not self._stop.is_set()
                self._break_off()
                return
