"""What a sync has before it, handed out in parts to the processes that share it."""

import threading
import time
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import aggregate_order_by
from sqlalchemy.engine import Connection, Engine

from etl.domain.batch import Batch, Lease, SourceId, TrackedThread
from etl.domain.run import ThreadId
from etl.load import ledger, threads
from etl.load.database import connected
from etl.load.tables import leases

MOST_TOGETHER = 1_000
"""Threads of one lease: as many as the registry is asked for at once."""

FEWEST_PARTS = 50
"""A shared sync is cut into so many leases, if it has so many threads."""

SECONDS_BETWEEN_LOOKS = 0.5
"""How often a process looks whether others have given threads back."""

TAKE = sa.text(
    """
    UPDATE run_sync.leases
    SET token = token + 1, holder = :holder,
        lapses_at = clock_timestamp() + make_interval(secs => :lasting)
    WHERE lease_id = (
        SELECT lease_id FROM run_sync.leases
        WHERE sync_id = :sync_id AND source_id = :source_id
            AND (lapses_at IS NULL OR lapses_at <= clock_timestamp())
        ORDER BY lease_id LIMIT 1 FOR UPDATE SKIP LOCKED
    )
    RETURNING lease_id, token, thread_ids
    """
)
"""One that another process is about to take, or commits under, is passed by."""

MINE = (
    "unnest(CAST(:lease_ids AS bigint[]), CAST(:tokens AS bigint[])) AS mine"
    " (lease_id, token) WHERE (l.lease_id, l.token) = (mine.lease_id, mine.token)"
)
STILL_HELD = f"SELECT l.lease_id, l.token FROM run_sync.leases l, {MINE} FOR SHARE OF l"  # noqa: S608
RENEW = (
    "UPDATE run_sync.leases l SET"  # noqa: S608
    " lapses_at = clock_timestamp() + make_interval(secs => :lasting)"
    f" FROM {MINE} RETURNING l.lease_id, l.token"
)
GIVE_BACK = sa.text(
    "UPDATE run_sync.leases SET lapses_at = NULL, thread_ids = :left"
    " WHERE lease_id = :lease_id AND token = :token"
)
END = f"DELETE FROM run_sync.leases l USING {MINE}"  # noqa: S608

NOT_MINE = sa.text(
    "SELECT EXISTS (SELECT FROM run_sync.leases WHERE sync_id = :sync_id"
    " AND source_id = :source_id AND lease_id <> ALL(CAST(:lease_ids AS bigint[])))"
)


def write(
    connection: Connection,
    sync_id: int,
    source_id: SourceId,
    chosen: sa.Select[Any],
    *,
    together: int,
) -> None:
    """Write the chosen `thread_id`s, in their order, as leases of so many threads."""
    ordered = chosen.subquery()
    place = sa.func.row_number().over().label("place")
    numbered = sa.select(ordered.c.thread_id, place).subquery()
    part = (numbered.c.place - 1) // sa.literal_column(str(together), sa.BigInteger)
    rows = sa.select(
        sa.literal(sync_id, sa.BigInteger),
        sa.literal(source_id, sa.SmallInteger),
        sa.func.array_agg(aggregate_order_by(numbered.c.thread_id, numbered.c.place)),
    )
    parts = rows.group_by(part).order_by(part)
    columns = ["sync_id", "source_id", "thread_ids"]
    connection.execute(sa.insert(leases).from_select(columns, parts))


def together(due: int, *, shared: bool) -> int:
    """How many threads a lease of so many holds."""
    return max(1, min(MOST_TOGETHER, due // FEWEST_PARTS)) if shared else MOST_TOGETHER


def still_held(connection: Connection, claimed: Collection[Lease]) -> set[Lease]:
    """Those that nobody has taken since; until the transaction ends, nobody can."""
    if not claimed:
        return set()
    rows = connection.execute(sa.text(STILL_HELD), _arrays(claimed))
    return {Lease(row.lease_id, row.token) for row in rows}


@dataclass(slots=True)
class _Held:
    """One lease of this process: which of its threads have not ended, in their order.

    Those that were `passed` and those whose end is `committed` lack the other one yet: a
    pass may still fail after it has reached its thread's end.

    The lease is surely ours until `sure_until`, by our own clock. `is_given` once all were
    given out, `is_unsure` once it may have lapsed before that, `is_left` once we read no
    more of its source.
    """

    source_id: SourceId
    left: dict[ThreadId, None]
    sure_until: float
    passed: set[ThreadId] = field(default_factory=set)
    committed: set[ThreadId] = field(default_factory=set)
    is_given: bool = False
    is_unsure: bool = False
    is_left: bool = False

    def end(
        self, thread_id: ThreadId, *, lacking: set[ThreadId], told: set[ThreadId]
    ) -> None:
        """Count one of two signs that a thread has ended; with the other, it has."""
        if thread_id in lacking:
            self.left.pop(thread_id, None)
        told.add(thread_id)

    @property
    def is_done(self) -> bool:
        return self.is_given and not self.left


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
            lease, thread_ids = self._take(source_id)
            if lease is not None:
                yield from self._of(lease, source_id, thread_ids, from_start)
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
                held.is_left = held.is_left or held.source_id == source_id

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
        with self._lock:
            done = [each for each, held in self._held.items() if held.is_done]
            unsure = [each for each, held in self._held.items() if held.is_unsure]
            left = [each for each, held in self._held.items() if held.is_left]
            old = [
                each
                for each, held in self._held.items()
                if held.sure_until - now < self._lasting * 2 / 3
            ]
        unsure = [each for each in unsure if each not in left]
        left = [each for each in left if each not in done]
        old = [each for each in old if each not in {*done, *unsure, *left}]
        if not (done or unsure or left or old):
            return 0
        with connection.begin():
            self._end(connection, done)
            self._give_back(connection, [*unsure, *left])
            kept = self._renewed(connection, old)
        with self._lock:
            for lease in {*done, *unsure, *left, *old} - kept:
                self._held.pop(lease, None)
            for lease in kept:
                self._held[lease].sure_until = now + self._lasting
        return len(unsure) + len(old) - len(kept)

    def close(self, connection: Connection) -> None:
        """Let others have what is not done; nobody, where time is up."""
        with connection.begin():
            self._end(
                connection, [each for each, held in self._held.items() if held.is_done]
            )
            self._give_back(connection, list(self._held))
            if self._clock() >= self._until:
                ledger.leave_rest(connection, self._sync_id)
        with self._lock:
            self._held = {}

    def _of(
        self,
        lease: Lease,
        source_id: SourceId,
        thread_ids: Collection[ThreadId],
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
                return self._mark(lease, is_unsure=True)
            yield replace(thread, lease=lease)
        self._mark(lease, is_given=True)

    def _mark(self, lease: Lease, **marks: bool) -> None:
        with self._lock:
            if held := self._held.get(lease):
                for name, is_so in marks.items():
                    setattr(held, name, is_so)

    def _take(self, source_id: SourceId) -> tuple[Lease | None, Collection[ThreadId]]:
        """Take the first lease that is free."""
        asked = self._clock()
        facts = {
            "sync_id": self._sync_id,
            "source_id": source_id,
            "holder": self._holder,
            "lasting": self._lasting,
        }
        with connected(self._engine) as connection, connection.begin():
            row = connection.execute(TAKE, facts).one_or_none()
        if row is None:
            return None, ()
        lease = Lease(row.lease_id, row.token)
        with self._lock:
            left = dict.fromkeys(row.thread_ids)
            self._held[lease] = _Held(source_id, left, asked + self._lasting)
        return lease, row.thread_ids

    def _more_may_come(self, source_id: SourceId) -> bool:
        """Whether threads may still be given back, by another process or by us."""
        with self._lock:
            mine = [
                lease.lease_id for lease, held in self._held.items() if not held.is_unsure
            ]  # what we may have lost is given back, and may be taken again
        facts = {"sync_id": self._sync_id, "source_id": source_id, "lease_ids": mine}
        with connected(self._engine) as connection:
            return bool(connection.scalar(NOT_MINE, facts))

    def _end(self, connection: Connection, done: Collection[Lease]) -> None:
        if done:
            connection.execute(sa.text(END), _arrays(done))

    def _give_back(self, connection: Connection, rest: Collection[Lease]) -> None:
        """Free leases for whoever comes, with those threads only that have not ended."""
        given = [each._asdict() | {"left": list(self._held[each].left)} for each in rest]
        if given:
            connection.execute(GIVE_BACK, given)

    def _renewed(self, connection: Connection, old: Collection[Lease]) -> set[Lease]:
        if not old:
            return set()
        rows = connection.execute(sa.text(RENEW), _arrays(old) | {"lasting": self._lasting})
        return {Lease(row.lease_id, row.token) for row in rows}


def _arrays(claimed: Collection[Lease]) -> dict[str, Any]:
    """Leases as two parallel arrays."""
    pairs = list(claimed)
    return {
        "lease_ids": [lease.lease_id for lease in pairs],
        "tokens": [lease.token for lease in pairs],
    }
