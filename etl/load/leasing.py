"""The leases that one process of a sync holds: taken, kept, and given back."""

import threading
import time
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field, replace
from enum import Enum, auto

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from etl.domain.batch import Batch, Lease, SourceId, TrackedThread
from etl.domain.run import ThreadId
from etl.load import leases, threads
from etl.load.database import committing_at_once, connected

SECONDS_BETWEEN_LOOKS = 0.5
"""How often a process looks whether others have given threads back."""


class _Stage(Enum):
    """How far a process is with a lease."""

    GIVING = auto()
    """Its threads are being given out."""
    GIVEN = auto()
    """All of them were."""
    UNSURE = auto()
    """It may have lapsed before."""
    LEFT = auto()
    """No more is read of its source."""


@dataclass(slots=True)
class _Held:
    """One lease of this process: which of its threads have not ended, in their order.

    Those that were `passed` and those whose end is `committed` lack the other one yet: a
    pass may still fail after it has reached its thread's end.

    The lease is surely ours until `sure_until`, by our own clock.
    """

    source_id: SourceId
    left: dict[ThreadId, None]
    sure_until: float
    passed: set[ThreadId] = field(default_factory=set)
    committed: set[ThreadId] = field(default_factory=set)
    stage: _Stage = _Stage.GIVING

    def end(
        self, thread_id: ThreadId, *, lacking: set[ThreadId], told: set[ThreadId]
    ) -> None:
        """Count one of two signs that a thread has ended; with the other, it has."""
        if thread_id in lacking:
            self.left.pop(thread_id, None)
        told.add(thread_id)

    @property
    def is_done(self) -> bool:
        return self.stage is _Stage.GIVEN and not self.left

    @property
    def is_given_up(self) -> bool:
        return self.stage in {_Stage.UNSURE, _Stage.LEFT}

    def is_old(self, lapses_before: float) -> bool:
        """Whether it is to be renewed."""
        is_kept = not (self.is_done or self.is_given_up)
        return is_kept and self.sure_until < lapses_before


class Leases:
    """The leases that one process of a sync holds: taken, kept, and given back.

    Workers ask for threads; the loader tells what has ended, and tends what is held.
    A lease lasts `lasting` seconds from when it was renewed last. Whoever does not come
    to that, because it is stopped or cut off, loses it to another process, and gives out
    no more of its threads once it could have lapsed. Nothing is given out after `until`.
    """

    def __init__(
        self,
        engine: Engine,
        *,
        sync_id: int,
        holder: str,
        lasting: float,
        shared: bool,
        until: float = float("inf"),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.shared = shared
        self._engine = engine
        self._sync_id = sync_id
        self._holder = holder
        self._lasting = lasting
        self._until = until
        self._clock = clock
        self._lock = threading.Lock()
        self._held: dict[Lease, _Held] = {}

    def threads(
        self, source_id: SourceId, *, from_start: sa.ColumnElement[bool]
    ) -> Iterator[TrackedThread | None]:
        """The threads of a source, lease by lease; None where others may give some back.

        Ends where none is left, or time is up. `from_start` chooses those that are read
        without their bookmark.
        """
        while self._clock() < self._until:
            if taken := self._take(source_id):
                yield from self._of(*taken, source_id, from_start)
            elif self._more_may_come(source_id):
                looked = self._clock()
                while self._clock() < looked + SECONDS_BETWEEN_LOOKS:
                    yield None
            else:
                return

    def is_sure(self, lease: Lease | None) -> bool:
        """Whether nobody else can have taken a lease yet."""
        if lease is None:
            return True
        with self._lock:
            held = self._held.get(lease)
            return held is not None and self._clock() < held.sure_until

    def leave(self, source_id: SourceId) -> None:
        """Let others have what is not done of a source that cannot be read from here.

        Two processes, each cut off from another source, would else wait for each other.
        """
        with self._lock:
            for held in self._held.values():
                if held.source_id == source_id and not held.is_done:
                    held.stage = _Stage.LEFT

    def passed(self, thread: TrackedThread) -> None:
        """Take note of a pass that went well to its end, committed or not."""
        with self._lock:
            if thread.lease is not None and (held := self._held.get(thread.lease)):
                held.end(thread.thread_id, lacking=held.committed, told=held.passed)

    def ended(self, batch: Batch) -> None:
        """Take note of the passes whose end stands in a committed batch."""
        with self._lock:
            for part in batch.increments:
                held = self._held.get(part.lease) if part.lease else None
                if held and part.completes:
                    held.end(part.thread_id, lacking=held.passed, told=held.committed)
            for failure in (*batch.failures, *batch.unknown):
                held = self._held.get(failure.lease) if failure.lease else None
                if held:
                    held.left.pop(failure.thread_id, None)

    def tend(self, connection: Connection) -> int:
        """End what is done, renew what may lapse; answer how many leases were lost.

        To be called some times a second.
        """
        now = self._clock()
        soon = now + self._lasting * 2 / 3
        with self._lock:
            done = [each for each, held in self._held.items() if held.is_done]
            back = [each for each, held in self._held.items() if held.is_given_up]
            old = [each for each, held in self._held.items() if held.is_old(soon)]
            unsure = sum(self._held[each].stage is _Stage.UNSURE for each in back)
        if not (done or back or old):
            return 0
        with connection.begin():
            leases.end(connection, done)
            leases.give_back(connection, self._left_of(back))
            kept = leases.renew(connection, old, lasting=self._lasting)
        with self._lock:
            for lease in {*done, *back, *old} - kept:
                self._held.pop(lease, None)
            for lease in kept:
                self._held[lease].sure_until = now + self._lasting
        return unsure + len(old) - len(kept)

    def close(self, connection: Connection) -> None:
        """Let others have what is not done; nobody, where time is up."""
        with connection.begin():
            done = [each for each, held in self._held.items() if held.is_done]
            leases.end(connection, done)
            leases.give_back(connection, self._left_of(self._held))
            if self._clock() >= self._until:
                leases.leave(connection, self._sync_id)
        with self._lock:
            self._held = {}

    def _of(
        self,
        lease: Lease,
        thread_ids: Collection[ThreadId],
        source_id: SourceId,
        from_start: sa.ColumnElement[bool],
    ) -> Iterator[TrackedThread]:
        """The threads of one lease that are still to be asked, as long as it is ours.

        In their order: where time is up before the end, those that are left are the least
        urgent, and not the same ones in every sync.
        """
        choice = [*threads.named(source_id, thread_ids)]
        place = {each: at for at, each in enumerate(thread_ids)}
        if lease.token > 1:  # another process may have asked some of them
            choice.append(threads.not_asked_in(self._sync_id, source_id))
        found = threads.read(self._engine, choice, from_start=from_start)
        found.sort(key=lambda thread: place[thread.thread_id])
        with self._lock:
            if lease in self._held:
                self._held[lease].left = dict.fromkeys(each.thread_id for each in found)
        for thread in found:
            if self._clock() >= self._until:
                return
            if not self.is_sure(lease):
                return self._end_giving(lease, _Stage.UNSURE)
            yield replace(thread, lease=lease)
        self._end_giving(lease, _Stage.GIVEN)

    def _end_giving(self, lease: Lease, stage: _Stage) -> None:
        with self._lock:
            held = self._held.get(lease)
            if held is not None and held.stage is _Stage.GIVING:
                held.stage = stage

    def _take(self, source_id: SourceId) -> tuple[Lease, Collection[ThreadId]] | None:
        """Take the first lease that is free."""
        asked = self._clock()
        with committing_at_once(self._engine) as connection:
            taken = leases.take(
                connection,
                self._sync_id,
                source_id,
                holder=self._holder,
                lasting=self._lasting,
            )
        if taken is not None:
            lease, thread_ids = taken
            held = _Held(source_id, dict.fromkeys(thread_ids), asked + self._lasting)
            with self._lock:
                self._held[lease] = held
        return taken

    def _more_may_come(self, source_id: SourceId) -> bool:
        """Whether threads may still be given back, by another process or by us."""
        with self._lock:  # what we may have lost is given back, and may be taken again
            mine = [
                lease
                for lease, held in self._held.items()
                if held.stage is not _Stage.UNSURE
            ]
        with connected(self._engine) as connection:
            return leases.others_have(connection, self._sync_id, source_id, mine)

    def _left_of(self, some: Collection[Lease]) -> dict[Lease, list[ThreadId]]:
        return {each: list(self._held[each].left) for each in some}
