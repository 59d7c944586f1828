"""The store: one batch, one transaction; rows, rejects, bookmarks and counters."""

from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import replace

import psycopg
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from etl.domain.batch import Batch, Committed, Increment, SourceId
from etl.domain.bookmark import Bookmark
from etl.domain.quarantine import Replay, WaitingReject
from etl.domain.run import Instant, Reject, RejectReason, Run, ThreadId
from etl.load import bookmarks
from etl.load.copying import copy_runs, create_staging
from etl.load.database import translated
from etl.load.dictionaries import Dictionaries
from etl.load.drift import add_drift
from etl.load.ledger import count_up
from etl.load.partitions import Partitions
from etl.load.quarantine import add_rejects, mark_replayed, release_rejects
from etl.load.statements import upsert_runs

Key = tuple[SourceId, ThreadId]

REFUSALS = (
    psycopg.errors.DataError,
    psycopg.errors.ProgramLimitExceeded,
    psycopg.errors.StatementTooComplex,  # jsonb nested too deep
    UnicodeEncodeError,
)
"""What the database or the driver says to a value that it cannot hold."""


class Store:
    """Commits the batches of one sync over one connection."""

    def __init__(self, connection: Connection, *, sync_id: int, now: Instant) -> None:
        self._connection = connection
        self._sync_id = sync_id
        self._now = now
        self._partitions = Partitions()
        self._dictionaries = Dictionaries()
        self._upsert = upsert_runs()
        with translated(connection.engine.url), connection.begin():
            create_staging(connection)

    def commit(self, batch: Batch) -> Committed:
        """Write a batch in one transaction, or raise DatabaseError and write nothing.

        A run that the database refuses becomes a reject: the batch is taken apart
        until that run stands alone.
        """
        with translated(self._connection.engine.url):
            try:
                return self._commit(batch)
            except REFUSALS:
                pass
            except sa.exc.DBAPIError as error:
                if not isinstance(error.orig, REFUSALS):
                    raise
            return self._commit_apart(batch)

    def replay(self, replay: Replay) -> tuple[int, int] | None:
        """Write a run out of quarantine and mark its reject, in one transaction.

        Answers rows created and updated; None, and nothing is written, where the
        database refuses the run still.
        """
        reject = replay.reject
        increment = Increment(
            source_id=reject.source_id,
            thread_id=reject.thread_id,
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
            if self._refusal(increment) is not None:
                return None
            created_at = replay.run.created_at
            self._partitions.prepare(self._connection, [created_at], now=self._now)
            with self._connection.begin():
                return self._commit_replay(increment, reject)

    def _commit_replay(
        self, increment: Increment, reject: WaitingReject
    ) -> tuple[int, int]:
        connection = self._connection
        key = increment.source_id, increment.thread_id
        bookmarks.lock(connection, [increment])  # first, as every sync does
        [run] = increment.runs
        self._dictionaries.add(connection, [run])
        written = self._write([increment])
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

    def _commit(self, batch: Batch) -> Committed:
        connection = self._connection
        created = [run.created_at for part in batch.increments for run in part.runs]
        self._partitions.prepare(connection, created, now=self._now)
        with connection.begin():
            current, overtaken = bookmarks.lock(connection, batch.increments)
            runs = [run for increment in current for run in increment.runs]
            new_entries = self._dictionaries.add(connection, runs)
            written = self._write(current)
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
            )
            count_up(connection, self._sync_id, batch, committed)
        self._dictionaries.remember(new_entries)
        return committed

    def _write(self, increments: Sequence[Increment]) -> dict[Key, tuple[int, int]]:
        """Upsert the runs; answer how many rows were created and updated by thread."""
        if not copy_runs(self._connection, increments):
            return {}
        rows = self._connection.execute(self._upsert, {"sync_id": self._sync_id})
        return {(row.source_id, row.thread_id): (row.created, row.updated) for row in rows}

    def _commit_apart(self, batch: Batch) -> Committed:
        """Commit one increment at a time, the refused runs as rejects."""
        parts = [
            Batch(increments=[self._without_refused(increment)])
            for increment in batch.increments
        ]
        return _sum(map(self._commit, [*parts, replace(batch, increments=())]))

    def _without_refused(self, increment: Increment) -> Increment:
        kept: list[Run] = []
        rejects = list(increment.rejects)
        for run in increment.runs:
            refusal = self._refusal(replace(increment, runs=(run,), rejects=()))
            if refusal is None:
                kept.append(run)
            else:
                rejects.append(_refused(run, increment, refusal))
        return replace(increment, runs=tuple(kept), rejects=tuple(rejects))

    def _refusal(self, increment: Increment) -> str | None:
        """Try to write, and undo it; answer what the database says against it."""
        transaction = self._connection.begin()
        try:
            self._dictionaries.add(self._connection, increment.runs)
            self._write([increment])
        except REFUSALS as error:
            return str(error).partition("\n")[0]
        except sa.exc.DBAPIError as error:
            if not isinstance(error.orig, REFUSALS):
                raise
            return str(error.orig).partition("\n")[0]
        finally:
            with suppress(sa.exc.InvalidRequestError):
                transaction.rollback()
        return None


def _refused(run: Run, increment: Increment, refusal: str) -> Reject:
    texts = {payload.run_id: payload.readable() for payload in increment.payloads}
    return Reject(
        increment.thread_id,
        run.run_id,
        texts.get(run.run_id, ""),
        RejectReason.REFUSED,
        refusal,
    )


def _sum(parts: Iterable[Committed]) -> Committed:
    total: Counter[str] = Counter()
    overtaken: set[Key] = set()
    for part in parts:
        total.update(
            created=part.created,
            updated=part.updated,
            unchanged=part.unchanged,
            rejects=part.rejects,
            pages=part.pages,
        )
        overtaken |= part.overtaken
    return Committed(**total, overtaken=frozenset(overtaken))
