"""The store of an import: rows, rejects and how far files are, in one transaction."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from etl.domain.batch import Batch, Committed, Increment, SourceId
from etl.domain.importing import FileProgress, ImportBatch, Imported
from etl.domain.run import Instant, Run, ThreadId
from etl.load.database import translated
from etl.load.drift import add_drift
from etl.load.import_parts import (
    NOWHERE,
    forgotten_by,
    in_order,
    progress_of,
    without_forgotten,
)
from etl.load.import_statements import (
    COUNT_LEFT,
    NOTE_IMPORTED,
    PROGRESS,
    SETTLE_REJECTS,
)
from etl.load.ledger import count_up
from etl.load.moments import moment
from etl.load.quarantine import add_rejects, release_rejects
from etl.load.statements import upsert_runs_of_files
from etl.load.writing import REFUSALS, Writer, is_refusal

Track = Callable[[Collection[ThreadId]], int]
"""Tracks threads that a file names; answers how many were new."""


class ImportStore:
    """Commits the batches of one import over one connection, which holds the source."""

    def __init__(
        self,
        connection: Connection,
        source_id: SourceId,
        *,
        sync_id: int,
        now: Instant,
        track: Track,
    ) -> None:
        self._connection = connection
        self._source_id = source_id
        self._sync_id = sync_id
        self._now = now
        self._track = track
        self._writer = Writer(
            connection, sync_id=sync_id, now=now, upsert=upsert_runs_of_files()
        )
        self._forgotten = forgotten_by(connection, source_id)

    def progress_of(self, path: str) -> FileProgress | None:
        """How far a file was taken in by the last import that read it."""
        return progress_of(self._connection, self._source_id, path)

    def commit(self, batch: ImportBatch) -> Imported:
        """Write a batch in one transaction, or raise DatabaseError and write nothing.

        A run that the database refuses becomes a reject.
        """
        kept = without_forgotten(batch.readings, self._forgotten)
        kept_out = len(batch.readings) - len(kept)
        with translated(self._connection.engine.url):
            tracked = self._track({each.entry.thread_id for each in kept} - {""})
            increments = in_order(self._source_id, kept)
            try:
                done = self._commit(batch, increments)
            except (*REFUSALS, sa.exc.DBAPIError) as error:
                if not is_refusal(error):
                    raise
                apart = list(map(self._writer.without_refused, increments))
                done = self._commit(batch, apart)
        return replace(done, kept_out=kept_out, threads_tracked=tracked)

    def _commit(self, batch: ImportBatch, increments: Sequence[Increment]) -> Imported:
        connection = self._connection
        runs = [run for increment in increments for run in increment.runs]
        self._writer.prepare(runs)
        with connection.begin():
            new_entries = self._writer.dictionaries.add(connection, runs)
            written = self._writer.write(increments)
            created = sum(created for created, _ in written.values())
            updated = sum(updated for _, updated in written.values())
            same = len(runs) - created - updated
            left = (connection.scalar(COUNT_LEFT) or 0) if same else 0
            release_rejects(connection)
            rejects = self._add_rejects(increments)
            add_drift(connection, [_drift_of(batch, self._now)])
            self._note_threads(runs, written)
            self._note_progress(batch.progress)
            done = Imported(
                created=created,
                updated=updated,
                unchanged=same - left,
                left=left,
                rejects=rejects,
            )
            count_up(connection, self._sync_id, Batch(), _committed(done))
        self._writer.dictionaries.remember(new_entries)
        return done

    def _add_rejects(self, increments: Iterable[Increment]) -> int:
        """Quarantine what cannot be a run; it waits, unless a newer row speaks for it."""
        rejected = [each for each in increments if each.rejects]
        added = add_rejects(self._connection, rejected)
        if not added:
            return 0
        named = [each.run_id for part in rejected for each in part.rejects if each.run_id]
        facts = {"source_id": self._source_id, "run_ids": named}
        return added - self._connection.execute(SETTLE_REJECTS, facts).rowcount

    def _note_threads(
        self,
        runs: Iterable[Run],
        written: Mapping[tuple[SourceId, ThreadId], tuple[int, int]],
    ) -> None:
        """Let threads that are tracked know of their runs; no bookmark moves."""
        newest: dict[ThreadId, Instant] = {}
        for run in runs:
            newest[run.thread_id] = max(
                newest.get(run.thread_id, run.created_at), run.created_at
            )
        if newest:
            created = [written.get((self._source_id, each), (0, 0))[0] for each in newest]
            facts = {
                "source_id": self._source_id,
                "thread_ids": list(newest),
                "created": created,
                "last_run_at": list(map(moment, newest.values())),
            }
            self._connection.execute(NOTE_IMPORTED, facts)

    def _note_progress(self, progress: Sequence[FileProgress]) -> None:
        if progress:
            rows = [_progress_row(self._source_id, self._now, each) for each in progress]
            self._connection.execute(PROGRESS, rows)


def _drift_of(batch: ImportBatch, now: Instant) -> Increment:
    return Increment(
        source_id=batch.source_id,
        thread_id=ThreadId(""),
        read_before=None,
        read_at=now,
        runs=(),
        rejects=(),
        payloads=(),
        bookmark=NOWHERE,
        completes=False,
        walked=False,
        drift=tuple(batch.drift),
    )


def _progress_row(
    source_id: SourceId, now: Instant, progress: FileProgress
) -> dict[str, object]:
    return {
        "source_id": source_id,
        "path": progress.path,
        "bytes": progress.size,
        "modified_at": moment(progress.modified_at),
        "payloads": progress.taken,
        "began_at": moment(now),
        "finished_at": moment(now) if progress.is_finished else None,
    }


def _committed(done: Imported) -> Committed:
    """What the ledger counts; runs that were left are unchanged rows."""
    return Committed(
        created=done.created,
        updated=done.updated,
        unchanged=done.unchanged + done.left,
        rejects=done.rejects,
        pages=0,
        overtaken=frozenset(),
    )
