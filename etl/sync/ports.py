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


@dataclass(frozen=True, slots=True, kw_only=True)
class SyncedSource:
    """One source with the threads that are to be read from it.

    `threads` is not looked into before `discover` has ended, well or not.
    """

    source_id: SourceId
    name: str
    source: Source
    read: Reader
    threads: Iterator[TrackedThread]
    workers: int
    discover: Discover = nothing_to_discover
