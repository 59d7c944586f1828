"""The store: one batch, one transaction; rows, rejects, bookmarks and counters."""

from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

import psycopg
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from etl.domain.batch import Batch, Committed, Increment, SourceId
from etl.domain.run import Instant, Reject, RejectReason, Run, ThreadId
from etl.load.copying import copy_runs, create_staging
from etl.load.database import translated
from etl.load.dictionaries import Dictionaries
from etl.load.ledger import count_up
from etl.load.partitions import Partitions
from etl.load.quarantine import add_rejects
from etl.load.statements import (
    LOCK_THREADS,
    MOVE_THREADS,
    NOTE_FAILURES,
    upsert_runs,
)

Key = tuple[SourceId, ThreadId]

REFUSALS = (
    psycopg.errors.DataError,
    psycopg.errors.ProgramLimitExceeded,
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

    def _commit(self, batch: Batch) -> Committed:
        connection = self._connection
        created = [run.created_at for part in batch.increments for run in part.runs]
        self._partitions.prepare(connection, created, now=self._now)
        with connection.begin():
            current, overtaken = self._lock(batch.increments)
            runs = [run for increment in current for run in increment.runs]
            new_entries = self._dictionaries.add(connection, runs)
            written = self._write(current)
            rejects = add_rejects(connection, current)
            _move_threads(connection, current, written)
            _note_failures(connection, batch)
            created_rows, updated_rows = map(sum, _columns(written.values(), 2))
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

    def _lock(
        self, increments: Sequence[Increment]
    ) -> tuple[list[Increment], frozenset[Key]]:
        """Lock the threads; answer the increments that still build on what is there."""
        keys = {(part.source_id, part.thread_id) for part in increments}
        rows = self._connection.execute(LOCK_THREADS, _arrays(keys))
        read_at: dict[Key, Instant | None] = {
            (row.source_id, row.thread_id): row.read_at for row in rows
        }
        current, overtaken = [], set()
        for part in increments:
            key = part.source_id, part.thread_id
            if key in read_at and read_at[key] == part.read_before:
                read_at[key] = part.read_at
                current.append(part)
            else:
                overtaken.add(key)
        return current, frozenset(overtaken)

    def _write(self, increments: Sequence[Increment]) -> dict[Key, tuple[int, int]]:
        """Upsert the runs; answer how many rows were created and updated by thread."""
        if not copy_runs(self._connection, increments):
            return {}
        rows = self._connection.execute(self._upsert, {"sync_id": self._sync_id})
        return {(row.source_id, row.thread_id): (row.created, row.updated) for row in rows}

    def _commit_apart(self, batch: Batch) -> Committed:
        """Commit one increment at a time, the refused runs as rejects."""
        parts = [replace(batch, increments=[], failures=batch.failures)]
        rest = replace(batch, increments=[], failures=[], requests=0, retries=0)
        parts += [
            replace(rest, increments=[self._without_refused(increment)])
            for increment in batch.increments
        ]
        return _sum(self._commit(part) for part in parts)

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


def _move_threads(
    connection: Connection,
    increments: Iterable[Increment],
    written: dict[Key, tuple[int, int]],
) -> None:
    """Move bookmarks and health; where a thread has several pages, the last one counts."""
    last = {(part.source_id, part.thread_id): part for part in increments}
    newest: dict[Key, Instant] = {}
    for part in increments:
        for run in part.runs:
            key = part.source_id, part.thread_id
            newest[key] = max(newest.get(key, run.created_at), run.created_at)
    if not last:
        return
    connection.execute(
        MOVE_THREADS,
        _arrays(last)
        | {
            "synced_through": [p.bookmark.synced_through for p in last.values()],
            "synced_through_at": [p.bookmark.synced_through_at for p in last.values()],
            "read_at": [p.read_at for p in last.values()],
            "completes": [p.completes for p in last.values()],
            "last_run_at": [newest.get(key) for key in last],
            "created": [written.get(key, (0, 0))[0] for key in last],
        },
    )


def _note_failures(connection: Connection, batch: Batch) -> None:
    if batch.failures:
        keys = [(failure.source_id, failure.thread_id) for failure in batch.failures]
        messages = [failure.message for failure in batch.failures]
        connection.execute(NOTE_FAILURES, _arrays(keys) | {"messages": messages})


def _arrays(keys: Iterable[Key]) -> dict[str, Any]:
    """Keys as two parallel arrays."""
    source_ids, thread_ids = _columns(keys, 2)
    return {"source_ids": list(source_ids), "thread_ids": list(thread_ids)}


def _columns(rows: Iterable[tuple[Any, ...]], width: int) -> list[tuple[Any, ...]]:
    """Rows turned into columns, also where there is no row."""
    return list(zip(*rows, strict=True)) or [()] * width


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
