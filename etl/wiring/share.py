"""What one process reads of a source, by the leases that it holds."""

from collections.abc import Iterator
from dataclasses import dataclass

from etl.domain.batch import TrackedThread
from etl.load import plans
from etl.load.leasing import Leases
from etl.sync.ports import Answers
from etl.wiring.preparing import Preparation


@dataclass(frozen=True, slots=True)
class LeasedShare:
    """The part of one source's threads that this process has leased."""

    leases: Leases
    preparation: Preparation

    def threads(self) -> Iterator[TrackedThread | None]:
        """The threads, lease by lease; None where others may give some back."""
        prepared = self.preparation
        return self.leases.threads(prepared.source_id, from_start=prepared.scope.from_start)

    def keeps(self, thread: TrackedThread) -> bool:
        """Whether a thread's lease has surely not lapsed."""
        return self.leases.is_sure(thread.lease)

    def passed(self, thread: TrackedThread) -> None:
        """Take note that a pass went well to its end."""
        self.leases.passed(thread)

    def leave(self) -> None:
        """Give back what is not read."""
        self.leases.leave(self.preparation.source_id)

    def answers(self) -> Answers:
        """What the server has said to all processes of a shared sync."""
        prepared = self.preparation
        if not prepared.hold.is_shared:
            return Answers()
        told = plans.answers(prepared.engine, prepared.hold.sync_id, prepared.source_id)
        return Answers(*told)
