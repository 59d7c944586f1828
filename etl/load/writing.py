"""What the store and an import have in common: staged rows, and refused runs found."""

from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

import psycopg
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from etl.domain.batch import Increment, SourceId
from etl.domain.run import Instant, Reject, RejectReason, Run, ThreadId
from etl.load.copying import copy_runs, create_staging
from etl.load.database import translated
from etl.load.dictionaries import Dictionaries
from etl.load.partitions import Partitions
from etl.load.statements import upsert_runs

Key = tuple[SourceId, ThreadId]

REFUSALS = (
    psycopg.errors.DataError,
    psycopg.errors.ProgramLimitExceeded,
    psycopg.errors.StatementTooComplex,  # jsonb nested too deep
    UnicodeEncodeError,
)
"""What the database or the driver says to a value that it cannot hold."""


def is_refusal(error: Exception) -> bool:
    """Whether an error says that a value cannot be held."""
    if isinstance(error, sa.exc.DBAPIError):
        return isinstance(error.orig, REFUSALS)
    return isinstance(error, REFUSALS)


class Writer:
    """Writes runs over one connection; what it commits is the caller's part."""

    def __init__(
        self,
        connection: Connection,
        *,
        sync_id: int,
        now: Instant,
        upsert: sa.Select[Any] | None = None,
    ) -> None:
        self.connection = connection
        self.dictionaries = Dictionaries()
        self._sync_id = sync_id
        self._now = now
        self._partitions = Partitions()
        self._upsert = upsert_runs() if upsert is None else upsert
        with translated(connection.engine.url), connection.begin():
            create_staging(connection)

    def prepare(self, runs: Iterable[Run]) -> None:
        """Make the partitions that runs need, in transactions of their own."""
        created = [run.created_at for run in runs]
        self._partitions.prepare(self.connection, created, now=self._now)

    def write(self, increments: Sequence[Increment]) -> dict[Key, tuple[int, int]]:
        """Upsert the runs; answer how many rows were created and updated by thread."""
        if not copy_runs(self.connection, increments):
            return {}
        rows = self.connection.execute(self._upsert, {"sync_id": self._sync_id})
        return {(row.source_id, row.thread_id): (row.created, row.updated) for row in rows}

    def without_refused(self, increment: Increment) -> Increment:
        """The same, the runs that the database refuses as rejects."""
        kept: list[Run] = []
        rejects = list(increment.rejects)
        for run in increment.runs:
            refusal = self.refusal(replace(increment, runs=(run,), rejects=()))
            if refusal is None:
                kept.append(run)
            else:
                rejects.append(_refused(run, increment, refusal))
        return replace(increment, runs=tuple(kept), rejects=tuple(rejects))

    def refusal(self, increment: Increment) -> str | None:
        """Try to write, and undo it; answer what the database says against it."""
        transaction = self.connection.begin()
        try:
            self.dictionaries.add(self.connection, increment.runs)
            self.write([increment])
        except (*REFUSALS, sa.exc.DBAPIError) as error:
            if not is_refusal(error):
                raise
            return str(getattr(error, "orig", error)).partition("\n")[0]
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
