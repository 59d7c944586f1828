"""How a sync ended, and the figures it reports."""

from dataclasses import dataclass, field
from enum import Enum


class Outcome(Enum):
    """How a sync ended; the value stands in the ledger."""

    SUCCEEDED = "succeeded"
    PARTIAL = "partial"
    FAILED = "failed"
    INTERRUPTED = "interrupted"


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """One thread that failed, or a whole source where `thread` is None."""

    source: str
    thread: str | None
    message: str

    @property
    def sentence(self) -> str:
        """Where it failed, and what was said."""
        place = f"{self.source}, thread {self.thread}" if self.thread else self.source
        return f"{place}: {self.message}"


@dataclass(slots=True, kw_only=True)
class SyncReport:
    """The figures of one sync, counted while it works.

    `threads_due` are those it has before it, together with the processes that share it;
    None while it is not planned. `threads_left` are left for a later sync,
    `threads_refused` were taken over by another process. `threads_found` were not
    tracked before it. `held` are the sources it left alone,
    because another sync is at work there.
    """

    sync_id: int
    outcome: Outcome = Outcome.SUCCEEDED
    threads_due: int | None = None
    threads_left: int = 0
    threads: int = 0
    threads_refused: int = 0
    threads_failed: int = 0
    threads_found: int = 0
    pages: int = 0
    requests: int = 0
    retries: int = 0
    runs_read: int = 0
    runs_created: int = 0
    runs_updated: int = 0
    runs_unchanged: int = 0
    rejects: int = 0
    seconds: float = 0.0
    errors: list[Failure] = field(default_factory=list)
    held: list[Failure] = field(default_factory=list)

    @property
    def away(self) -> list[Failure]:
        """What kept whole sources, or the whole sync, from being read."""
        return [error for error in self.errors if error.thread is None]

    @property
    def outage(self) -> Failure | None:
        """Why a whole source, or the whole sync, could not be read; None if they were."""
        first = self.away or (self.errors if self.outcome is Outcome.FAILED else [])
        return next(iter(first), None)
