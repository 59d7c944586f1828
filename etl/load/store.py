"""The store: one batch, one transaction; rows, rejects, bookmarks and counters."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import replace

import psycopg
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from etl.domain.batch import Batch, Committed, Increment, PassFailure
from etl.domain.bookmark import Bookmark
from etl.domain.quarantine import Replay, WaitingReject
from etl.domain.run import Instant
from etl.load import bookmarks, plans
from etl.load.database import translated
from etl.load.drift import add_drift
from etl.load.leases import still_held
from etl.load.leasing import Leases
from etl.load.ledger import count_up
from etl.load.quarantine import add_rejects, mark_replayed, release_rejects
from etl.load.writing import REFUSALS, Key, Writer, is_refusal

MOST_DEADLOCKS = 3


class Store:
    """Commits the batches of one sync over one connection."""

    def __init__(
        self,
        connection: Connection,
        *,
        sync_id: int,
        now: Instant,
        leases: Leases | None = None,
    ) -> None:
        self._connection = connection
        self._sync_id = sync_id
        self._leases = leases
        self._writer = Writer(connection, sync_id=sync_id, now=now)

    def commit(self, batch: Batch) -> Committed:
        """Write a batch in one transaction, or raise DatabaseError and write nothing.

        A run that the database refuses becomes a reject: the batch is taken apart
        until that run stands alone.
        """
        with translated(self._connection.engine.url):
            try:
                committed = self._untangled(batch)
            except (*REFUSALS, sa.exc.DBAPIError) as error:
                if not is_refusal(error):
                    raise
                committed = self._commit_apart(batch)
        if self._leases is not None:
            self._leases.ended(batch)
        return committed

    def tend(self) -> int:
        """Keep what is leased, let go of what is done; answer how many leases were lost."""
        if self._leases is None:
            return 0
        with translated(self._connection.engine.url):
            return self._leases.tend(self._connection)

    def replay(self, replay: Replay) -> tuple[int, int] | None:
        """Write a run out of quarantine and mark its reject, in one transaction.

        Answers rows created and updated; None, and nothing is written, where the
        database refuses the run still.
        """
        reject = replay.reject
        increment = Increment(
            source_id=reject.source_id,
            thread_id=reject.thread_id or replay.run.thread_id,
            read_before=None,
            read_at=reject.last_seen_at,
            runs=(replay.run,),
            rejects=(),
            payloads=(),
            bookmark=Bookmark(),
            completes=False,
            walked=False,
            drift=replay.drift,
        )
        with translated(self._connection.engine.url):
            if self._writer.refusal(increment) is not None:
                return None
            self._writer.prepare([replay.run])
            with self._connection.begin():
                return self._commit_replay(increment, reject)

    def _commit_replay(
        self, increment: Increment, reject: WaitingReject
    ) -> tuple[int, int]:
        connection = self._connection
        key = increment.source_id, increment.thread_id
        bookmarks.lock(connection, [increment])  # first, as every sync does
        [run] = increment.runs
        self._writer.dictionaries.add(connection, [run])
        written = self._writer.write([increment])
        created, updated = next(iter(written.values()), (0, 0))
        add_drift(connection, [increment])
        mark_replayed(connection, reject.reject_id)
        bookmarks.note_replayed(connection, key, created=created, created_at=run.created_at)
        committed = Committed(
            created=created,
            updated=updated,
            unchanged=1 - created - updated,
            rejects=0,
            pages=0,
            overtaken=frozenset(),
        )
        count_up(connection, self._sync_id, Batch(), committed)
        return created, updated

    def _untangled(self, batch: Batch) -> Committed:
        """Commit; again where another process and this one had waited for each other."""
        for _ in range(MOST_DEADLOCKS):
            try:
                return self._commit(batch)
            except sa.exc.OperationalError as error:
                if not isinstance(error.orig, psycopg.errors.DeadlockDetected):
                    raise
        return self._commit(batch)

    def _commit(self, batch: Batch) -> Committed:
        connection = self._connection
        self._writer.prepare(run for part in batch.increments for run in part.runs)
        with connection.begin():
            batch, refused = _ours(connection, batch)
            current, overtaken = bookmarks.lock(connection, batch.increments)
            runs = [run for increment in current for run in increment.runs]
            new_entries = self._writer.dictionaries.add(connection, runs)
            written = self._writer.write(current)
            release_rejects(connection)
            rejects = add_rejects(connection, current)
            add_drift(connection, current)
            bookmarks.move(connection, current, written)
            bookmarks.note_failures(connection, batch.failures)
            bookmarks.mark_missing(connection, batch.missing)
            created_rows = sum(created for created, _ in written.values())
            updated_rows = sum(updated for _, updated in written.values())
            committed = Committed(
                created=created_rows,
                updated=updated_rows,
                unchanged=len(runs) - created_rows - updated_rows,
                rejects=rejects,
                pages=len(current),
                overtaken=overtaken,
                refused=refused,
            )
            count_up(connection, self._sync_id, batch, committed)
            if self._leases is not None and self._leases.shared:
                plans.count_up(connection, self._sync_id, batch)
        self._writer.dictionaries.remember(new_entries)
        return committed

    def _commit_apart(self, batch: Batch) -> Committed:
        """Commit one increment at a time, the refused runs as rejects."""
        parts = [
            Batch(increments=[self._writer.without_refused(increment)])
            for increment in batch.increments
        ]
        return _sum(map(self._commit, [*parts, replace(batch, increments=())]))


def _ours(connection: Connection, batch: Batch) -> tuple[Batch, frozenset[Key]]:
    """What of a batch may be written: that whose lease nobody else has taken.

    Answers the other threads too. Until the transaction ends, no lease changes hands.
    """
    parts: list[Increment | PassFailure]
    parts = [*batch.increments, *batch.failures, *batch.unknown]
    claimed = {part.lease for part in parts if part.lease is not None}
    lost = claimed - still_held(connection, claimed)
    if not lost:
        return batch, frozenset()
    ours = replace(
        batch,
        increments=[part for part in batch.increments if part.lease not in lost],
        failures=[part for part in batch.failures if part.lease not in lost],
        unknown=[part for part in batch.unknown if part.lease not in lost],
    )
    refused = {(part.source_id, part.thread_id) for part in parts if part.lease in lost}
    return ours, frozenset(refused)


def _sum(parts: Iterable[Committed]) -> Committed:
    total: Counter[str] = Counter()
    overtaken: set[Key] = set()
    refused: set[Key] = set()
    for part in parts:
        total.update(
            created=part.created,
            updated=part.updated,
            unchanged=part.unchanged,
            rejects=part.rejects,
            pages=part.pages,
        )
        overtaken |= part.overtaken
        refused |= part.refused
    return Committed(**total, overtaken=frozenset(overtaken), refused=frozenset(refused))
