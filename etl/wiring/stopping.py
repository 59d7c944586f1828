"""The event that ends one sync, and no more than that."""

import threading
import time

PATIENCE_SECONDS = 0.1
"""How long a wait lasts before it looks whether somebody asked to stop."""


class OwnStop(threading.Event):
    """Set as soon as `asked` is; to set it leaves `asked` alone.

    A sync that fails sets it to end its workers. Whoever asks may outlive the sync.
    """

    def __init__(self, asked: threading.Event) -> None:
        super().__init__()
        self._asked = asked

    def is_set(self) -> bool:
        """Whether this sync is to end, for whichever reason."""
        return super().is_set() or self._asked.is_set()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until it is set, or so many seconds; answer whether it is."""
        until = float("inf") if timeout is None else time.monotonic() + timeout
        while not self.is_set() and (left := until - time.monotonic()) > 0:
            super().wait(min(left, PATIENCE_SECONDS))
        return self.is_set()
