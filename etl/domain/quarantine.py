"""Rejects on their way out of quarantine."""

from dataclasses import dataclass

from etl.domain.batch import SourceId
from etl.domain.drift import Drift
from etl.domain.run import Instant, Run, RunId, ThreadId


@dataclass(frozen=True, slots=True, kw_only=True)
class WaitingReject:
    """A payload in quarantine, and when it was read last."""

    reject_id: int
    source_id: SourceId
    thread_id: ThreadId
    run_id: RunId | None
    payload: str
    last_seen_at: Instant


@dataclass(frozen=True, slots=True)
class Replay:
    """A reject that became a run after all."""

    reject: WaitingReject
    run: Run
    drift: tuple[Drift, ...] = ()


@dataclass(slots=True)
class ReplayReport:
    """What a replay did: rejects looked at, and those that left the quarantine.

    `rewritten` are those whose text privacy has cleaned before.
    """

    rewritten: int = 0
    looked_at: int = 0
    replayed: int = 0
    runs_created: int = 0
    runs_updated: int = 0

    @property
    def still_waiting(self) -> int:
        """Rejects that stay as they are."""
        return self.looked_at - self.replayed
