"""Check many threads side by side; the results stream, memory does not grow."""

import queue
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from etl.domain.batch import TrackedThread
from etl.domain.errors import (
    ContractError,
    CursorLostError,
    RefusedError,
    RetryableError,
    StoppedError,
    ThreadMissingError,
)
from etl.sync.pass_line import told
from etl.sync.verifying import Difference
from etl.sync.workers import PATIENCE_SECONDS, Threads

Check = Callable[[TrackedThread], Sequence[Difference]]

OWN_ERRORS = (
    ContractError,
    CursorLostError,
    RefusedError,
    RetryableError,
    ThreadMissingError,
)
"""What concerns one thread only."""


@dataclass(frozen=True, slots=True)
class Checked:
    """A thread that was compared, or the reason why it could not be."""

    thread: TrackedThread
    differences: Sequence[Difference] = ()
    error: str | None = None


def check_threads(
    threads: Iterator[TrackedThread],
    check: Check,
    *,
    workers: int,
    stop: threading.Event,
) -> Iterator[Checked]:
    """Check threads as workers are free; answers each as it is ready.

    Raises StoppedError once `stop` is set, and any error that is not one thread's
    own. Workers that hang are left behind.
    """
    checking = _Checking(Threads(threads), check, workers)
    for number in range(workers):
        worker = threading.Thread(target=checking.work, name=f"check-{number}", daemon=True)
        worker.start()
    try:
        yield from checking.results(workers, stop)
    finally:
        checking.leave()


class _Checking:
    """What the workers share with whoever takes their results."""

    def __init__(self, threads: Threads, check: Check, workers: int) -> None:
        self._threads = threads
        self._check = check
        self._ready: queue.Queue[Checked | BaseException | None] = queue.Queue(workers)
        self._left = threading.Event()

    def work(self) -> None:
        """Check one thread after the other; None or an error is the last result."""
        last: BaseException | None = None
        try:
            for thread in self._threads:
                if thread is not None:
                    self._put(self._checked(thread))
        except BaseException as error:  # raised where the results are taken
            last = error
        self._put(last)

    def results(self, working: int, stop: threading.Event) -> Iterator[Checked]:
        """Take results until every worker has ended."""
        while working:
            if stop.is_set():
                raise StoppedError("the check was asked to stop")
            try:
                result = self._ready.get(timeout=PATIENCE_SECONDS)
            except queue.Empty:
                continue
            if isinstance(result, BaseException):
                raise result
            if result is None:
                working -= 1
            else:
                yield result

    def leave(self) -> None:
        """Take no more results; workers end with the thread they are at."""
        self._left.set()
        self._threads.close()

    def _checked(self, thread: TrackedThread) -> Checked:
        try:
            return Checked(thread, self._check(thread))
        except OWN_ERRORS as error:
            return Checked(thread, error=told(error))

    def _put(self, result: Checked | BaseException | None) -> None:
        while not self._left.is_set():
            try:
                self._ready.put(result, timeout=PATIENCE_SECONDS)
            except queue.Full:
                continue
            return
