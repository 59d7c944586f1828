"""Workers read threads side by side; what they find waits in a bounded outbox."""

import queue
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass

from etl.domain.batch import Increment, PassFailure, TrackedThread
from etl.domain.errors import (
    DatabaseError,
    SourceUnavailableError,
    StoppedError,
    SyncError,
    ThreadMissingError,
)
from etl.domain.outcome import Failure
from etl.sync.pass_line import PassLine, tell_undiscovered, told
from etl.sync.ports import SyncedSource

MOST_PAGES_WAITING = 20
MOST_RUNS_IN_A_BATCH = 2_000
FIRST_WORKERS = 2

BUSY = 0.75
"""From this share of one processor on, more workers would only wait for each other."""

SHORTEST_LOOK_SECONDS = 0.05

GATHERING_SECONDS = 0.2
"""How long a batch may wait to be filled: few large transactions are quicker."""

PATIENCE_SECONDS = 0.1
"""How long a wait lasts before it looks whether somebody asked to stop."""


@dataclass(frozen=True, slots=True)
class WorkerEnded:
    """A worker found no more threads, or fell over `error`, which is a defect."""

    error: BaseException | None = None


@dataclass(frozen=True, slots=True)
class ThreadMissing:
    """The server does not know a thread."""

    failure: PassFailure


@dataclass(frozen=True, slots=True)
class ThreadsFound:
    """A discovery has tracked new threads."""

    number: int


Item = Increment | PassFailure | ThreadMissing | ThreadsFound | Failure | WorkerEnded
"""A `Failure` is one of a whole source."""


class Outbox:
    """The bounded queue between the workers and the loader."""

    def __init__(self, stop: threading.Event) -> None:
        self._items: queue.Queue[Item] = queue.Queue(MOST_PAGES_WAITING)
        self._stop = stop

    def put(self, item: Item) -> None:
        """Hand an item to the loader; raises StoppedError instead of waiting on."""
        while True:
            try:
                return self._items.put(item, timeout=PATIENCE_SECONDS)
            except queue.Full:
                self.check()

    def check(self) -> None:
        """Raise StoppedError once somebody asked to stop."""
        if self._stop.is_set():
            raise StoppedError("the sync was asked to stop")

    def take(self) -> list[Item]:
        """Wait for one item, then gather what comes, up to one batch or for a moment.

        What is no increment is told at once.
        """
        try:
            items = [self._items.get(timeout=PATIENCE_SECONDS)]
        except queue.Empty:
            return []
        weight = _weight(items[0])
        until = time.monotonic() + GATHERING_SECONDS
        while weight < MOST_RUNS_IN_A_BATCH and not self._stop.is_set():
            if not isinstance(items[-1], Increment):
                until = 0.0
            try:
                items.append(self._items.get(timeout=max(0.0, until - time.monotonic())))
            except queue.Empty:
                break
            weight += _weight(items[-1])
        return items


def _weight(item: Item) -> int:
    """The runs of a page; an empty page or a failure fills a batch too."""
    return max(1, len(item.payloads)) if isinstance(item, Increment) else 1


class Threads:
    """An iterator of threads that several workers may share; None means: not yet."""

    def __init__(
        self,
        threads: Iterator[TrackedThread | None],
        *,
        leave: Callable[[], None] | None = None,
    ) -> None:
        self._threads = threads
        self._leave = leave
        self._lock = threading.RLock()  # whoever prepares them may close them
        self._closed = False
        self._begun = False

    def begin(self, prepare: Callable[[], None]) -> None:
        """Prepare the threads; whoever comes second waits until the first has done so."""
        with self._lock:
            if not self._begun:
                self._begun = True
                prepare()

    def close(self) -> bool:
        """Give out no more, and leave the rest; answer whether this call closed it."""
        with self._lock:
            was_open, self._closed = not self._closed, True
            if was_open and self._leave is not None:
                self._leave()
        return was_open

    def __iter__(self) -> Iterator[TrackedThread | None]:
        while True:
            with self._lock:
                if self._closed:
                    return
                try:
                    thread = next(self._threads)
                except StopIteration:
                    return
            yield thread


class Crew:
    """The workers of one source: few at first, and more while they leave time unused.

    Workers that wait for a server cost nothing; workers that wait for the interpreter
    cost time, and keep the loader from its turn.
    """

    def __init__(
        self,
        synced: SyncedSource,
        threads: Threads,
        outbox: Outbox,
        stop: threading.Event,
        *,
        sync_id: int = 0,
    ) -> None:
        self._most = synced.workers
        self._name = synced.name
        self._arguments = synced, threads, outbox, stop, sync_id
        self.members: list[threading.Thread] = []

    def grow(self) -> int:
        """Start as many workers again; answer how many. Each ends with a WorkerEnded."""
        size = min(self._most, 2 * len(self.members) or FIRST_WORKERS)
        joining = [
            threading.Thread(
                target=_work,
                args=self._arguments,
                name=f"{self._name}-{number}",
                daemon=True,
            )
            for number in range(len(self.members), size)
        ]
        for worker in joining:
            worker.start()
        self.members += joining
        return len(joining)


class Idleness:
    """How busy the interpreter is: a second of its time is all that threads share."""

    def __init__(self) -> None:
        self._looked_at = time.monotonic()
        self._spent = time.process_time()

    def has_room(self) -> bool:
        """Whether much of the time since the last look, if that is long, was not used."""
        now, spent = time.monotonic(), time.process_time()
        elapsed, used = now - self._looked_at, spent - self._spent
        if elapsed < SHORTEST_LOOK_SECONDS:
            return False
        self._looked_at, self._spent = now, spent
        return used / elapsed < BUSY


def _work(
    synced: SyncedSource,
    threads: Threads,
    outbox: Outbox,
    stop: threading.Event,
    sync_id: int,
) -> None:
    ended = WorkerEnded()
    try:
        threads.begin(lambda: _discover(synced, threads, outbox, sync_id))
        for thread in threads:
            if stop.is_set():
                break
            if thread is None:
                stop.wait(PATIENCE_SECONDS)
                continue
            line = PassLine(thread, source=synced.name, sync_id=sync_id)
            _read(thread, synced, threads, outbox, line)
    except StoppedError:
        pass
    except BaseException as error:  # the loader raises it
        ended = WorkerEnded(error)
    with suppress(StoppedError):
        outbox.put(ended)


def _discover(synced: SyncedSource, threads: Threads, outbox: Outbox, sync_id: int) -> None:
    """Find new threads first; where that fails, those that are tracked are read.

    Unless it shows that nothing can be had from the source at all.
    """
    try:
        for number in synced.discover():
            outbox.put(ThreadsFound(number))
            outbox.check()
    except (StoppedError, DatabaseError):
        raise
    except SyncError as error:
        tell_undiscovered(error, source=synced.name, sync_id=sync_id)
        if isinstance(error, SourceUnavailableError):
            threads.close()
        outbox.put(Failure(source=synced.name, thread=None, message=told(error)))


def _read(
    thread: TrackedThread,
    synced: SyncedSource,
    threads: Threads,
    outbox: Outbox,
    line: PassLine,
) -> None:
    try:
        for increment in synced.read(thread, synced.source):
            line.count(increment)
            outbox.put(increment)
            outbox.check()
            if not synced.share.keeps(thread):
                return line.lost()
        line.ended()
        synced.share.passed(thread)
    except (StoppedError, DatabaseError):
        line.stopped()
        raise
    except SourceUnavailableError as error:
        if threads.close():
            line.source_failed(error)
            outbox.put(Failure(source=synced.name, thread=None, message=told(error)))
    except ThreadMissingError as error:
        line.failed(error)
        outbox.put(ThreadMissing(_failure(thread, error)))
    except SyncError as error:
        line.failed(error)
        outbox.put(_failure(thread, error))


def _failure(thread: TrackedThread, error: SyncError) -> PassFailure:
    return PassFailure(
        source_id=thread.source_id,
        thread_id=thread.thread_id,
        message=told(error),
        was_gone=thread.is_gone,
        lease=thread.lease,
    )
