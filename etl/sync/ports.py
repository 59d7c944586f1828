"""What a sync needs from the world, as it sees it."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

from etl.domain.batch import Batch, Committed, Increment, SourceId, TrackedThread
from etl.domain.bookmark import Bookmark
from etl.domain.outcome import SyncReport
from etl.domain.page import Page, Payload
from etl.domain.run import Instant, RunId, ThreadId


class Traffic(Protocol):
    """Counts of HTTP attempts, growing while the workers work."""

    requests: int
    retries: int


class Source(Protocol):
    """Where pages come from."""

    @property
    def traffic(self) -> Traffic: ...

    def pages(self, thread_id: ThreadId, *, bookmark: Bookmark) -> Iterator[Page]:
        """Page through what may have changed since `bookmark`.

        The first page follows `bookmark.overlap_from`; a page with no `after`
        begins the thread anew.
        """
        ...

    def retrieve(self, thread_id: ThreadId, run_id: RunId) -> tuple[Payload, Instant]:
        """Fetch one run, and the instant it was asked for; raises RunMissingError."""
        ...


class ThreadLister(Protocol):
    """A server's own list of its threads."""

    def thread_pages(self) -> Iterator[tuple[ThreadId, ...]]:
        """Page through all threads, newest first; whoever knows the rest may stop.

        A page may be empty, and another one follow. Raises the SyncError that says
        what to do.
        """
        ...


class Store(Protocol):
    """Where batches go."""

    def commit(self, batch: Batch) -> Committed:
        """Write a batch in one transaction, or raise and write nothing."""
        ...

    def tend(self) -> int:
        """Keep hold of what is read; answer how many parts of it others have taken.

        Called some times a second.
        """
        ...


class Watcher(Protocol):
    """Who is told how far the sync has come."""

    def progressed(self, report: SyncReport) -> None:
        """Look at the figures after a batch; called by one worker at a time."""
        ...


Reader = Callable[[TrackedThread, Source], Iterator[Increment]]
"""A pass over one thread of a source."""


Discover = Callable[[], Iterator[int]]
"""Finds threads that nobody has tracked yet; yields now and then how many were new."""


def nothing_to_discover() -> Iterator[int]:
    """Threads are tracked by people only."""
    return iter(())


@dataclass(frozen=True, slots=True)
class Answers:
    """How many threads of a source have answered, and how many it does not know."""

    answered: int = 0
    missing: int = 0


class Share(Protocol):
    """What this process reads of one source; other processes may read the rest."""

    def threads(self) -> Iterator[TrackedThread | None]:
        """The threads to be read, one worker at a time; None: one may come later."""
        ...

    def keeps(self, thread: TrackedThread) -> bool:
        """Whether a thread that is being read was not given to another process."""
        ...

    def passed(self, thread: TrackedThread) -> None:
        """Take note that a pass went well to its end, committed or not."""
        ...

    def leave(self) -> None:
        """Let others have what is not read: the source is unavailable from here."""
        ...

    def answers(self) -> Answers:
        """What the server has said to the other processes, as far as it is known here."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class SyncedSource:
    """One source with the threads that are to be read from it.

    Its share is not looked into before `discover` has ended, well or not.
    """

    source_id: SourceId
    name: str
    source: Source
    read: Reader
    share: Share
    workers: int
    discover: Discover = nothing_to_discover
