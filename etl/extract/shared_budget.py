"""The request budget of one source that many processes share: this process's part."""

import threading
import time
from collections import deque
from collections.abc import Callable
from typing import NamedTuple, Protocol

from etl.domain.errors import DatabaseError
from etl.domain.reservation import USABLE_SECONDS, Reservation

MOST_SLOW_ANSWERS = 10

TOO_SLOW = (
    f"The database took more than {USABLE_SECONDS} seconds to answer,"
    f" {MOST_SLOW_ANSWERS} times in a row, so no request could be sent when it was due;"
    " sync closer to the database, or in one process, without --join."
)


class Timeline(Protocol):
    """Where all processes reserve when they send."""

    def reserve(self, wanted: int) -> Reservation:
        """Reserve what comes next, at least one request and at most so many."""
        ...

    def slow_down(self, pause: float) -> None:
        """Halve the pace of all; let nobody reserve anything for `pause` seconds."""
        ...


class _Slot(NamedTuple):
    """When a request may be sent, by this process's clock."""

    opens_at: float
    closes_at: float


class SharedBudget:
    """At most what was agreed in any minute, by all processes together.

    Workers share what their process has reserved. How much that is follows what they
    used of it: twice as much where nothing was left over. What was not sent in time is
    lost, not sent later: a process that was stopped and wakes up has nothing to send.
    """

    def __init__(
        self,
        timeline: Timeline,
        *,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._timeline = timeline
        self._sleep = sleep
        self._clock = clock
        self._lock = threading.Lock()
        self._slots: deque[_Slot] = deque()
        self._granted = 0
        self._lost = 0
        self._paused_until = clock()

    def spend(self) -> None:
        """Wait until one request may be sent, and count it; raises DatabaseError."""
        while True:
            with self._lock:
                slot = self._next()
            while (wait := slot.opens_at - self._clock()) > 0:
                self._sleep(wait)
            if self._is_open(slot):
                return

    def slow_down(self, pause: float | None = None) -> None:
        """Halve the pace; send nothing for `pause` seconds where the server says so.

        Other processes still send what they reserved for the moment.
        """
        with self._lock:
            until = self._clock() + (pause or 0.0)
            self._timeline.slow_down(pause or 0.0)
            self._slots.clear()
            self._paused_until = max(self._paused_until, until)

    def _is_open(self, slot: _Slot) -> bool:
        return slot.opens_at >= self._paused_until and self._clock() <= slot.closes_at

    def _next(self) -> _Slot:
        """A slot that is not over: one that is left, or of a new reservation."""
        slow_answers = 0
        while (slot := self._left()) is None:
            if slow_answers == MOST_SLOW_ANSWERS:
                raise DatabaseError(TOO_SLOW)
            self._reserve()
            slow_answers += 1
        return slot

    def _left(self) -> _Slot | None:
        while self._slots:
            slot = self._slots.popleft()
            if self._clock() <= slot.closes_at:
                return slot
            self._lost += 1
        return None

    def _reserve(self) -> None:
        """Reserve what was used of the last reservation; twice as much if all was.

        The reservation was made between the question and the answer. A slot opens as if
        that was at the latest moment and closes as if it was at the earliest one; so an
        answer that takes too long opens none.
        """
        used = self._granted - self._lost
        asked_at = self._clock()
        reserved = self._timeline.reserve(max(1, used if self._lost else 2 * used))
        answered_at = self._clock()
        self._granted, self._lost = reserved.count, 0
        if answered_at - asked_at > USABLE_SECONDS:
            return
        for number in range(reserved.count):
            after = reserved.first_in_seconds + number * reserved.spacing_seconds
            slot = _Slot(answered_at + after, asked_at + after + USABLE_SECONDS)
            self._slots.append(slot)
