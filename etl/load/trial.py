"""The store of a trial: what an import would do, told by comparing."""

from collections.abc import Sequence
from dataclasses import replace

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from etl.domain.batch import Increment, SourceId
from etl.domain.importing import FileProgress, ImportBatch, Imported
from etl.domain.run import Instant
from etl.load.copying import copy_runs
from etl.load.database import translated
from etl.load.import_parts import (
    forgotten_by,
    in_order,
    progress_of,
    without_forgotten,
)
from etl.load.import_statements import COMPARE
from etl.load.writing import REFUSALS, Writer, is_refusal


class TrialStore:
    """Tells what an import would do, and writes nothing at all."""

    def __init__(
        self, connection: Connection, source_id: SourceId | None, *, now: Instant
    ) -> None:
        self._connection = connection
        self._source_id = SourceId(-1) if source_id is None else source_id
        self._writer = Writer(connection, sync_id=0, now=now)
        self._forgotten = forgotten_by(connection, self._source_id)

    def progress_of(self, path: str) -> FileProgress | None:
        """How far a file was taken in by the last import that read it."""
        return progress_of(self._connection, self._source_id, path)

    def commit(self, batch: ImportBatch) -> Imported:
        """Compare a batch with the tables."""
        kept = without_forgotten(batch.readings, self._forgotten)
        increments = in_order(self._source_id, kept)
        with translated(self._connection.engine.url):
            try:
                done = self._compare(increments)
            except (*REFUSALS, sa.exc.DBAPIError) as error:
                if not is_refusal(error):
                    raise
                done = self._compare(list(map(self._writer.without_refused, increments)))
        return replace(done, kept_out=len(batch.readings) - len(kept))

    def _compare(self, increments: Sequence[Increment]) -> Imported:
        rejects = sum(len(each.rejects) for each in increments)
        with self._connection.begin() as transaction:
            staged = copy_runs(self._connection, increments)
            created, updated, left = self._connection.execute(COMPARE).one()
            transaction.rollback()
        runs = sum(len(each.runs) for each in increments)
        return Imported(
            created=created,
            updated=updated,
            left=left,
            unchanged=staged - created - updated - left + (runs - staged),
            rejects=rejects,
        )
