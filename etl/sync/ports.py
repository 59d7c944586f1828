"""What a sync needs from the world, as it sees it."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from etl.domain.batch import Batch, Committed, SourceId, TrackedThread
from etl.domain.outcome import SyncReport
from etl.domain.page import Page
from etl.domain.run import RunId, ThreadId


class Traffic(Protocol):
    """Counts of HTTP attempts, growing while the workers work."""

    requests: int
    retries: int


class Source(Protocol):
    """Where pages come from."""

    @property
    def traffic(self) -> Traffic: ...

    def pages(self, thread_id: ThreadId, *, after: RunId | None) -> Iterator[Page]:
        """Page through the runs of a thread that follow `after`, oldest first."""
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


@dataclass(frozen=True, slots=True, kw_only=True)
class SyncedSource:
    """One source with the threads that are to be read from it."""

    source_id: SourceId
    name: str
    source: Source
    threads: Iterator[TrackedThread]
    workers: int
