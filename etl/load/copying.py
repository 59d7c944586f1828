"""COPY of a batch's runs into the staging table of this connection."""

from collections.abc import Iterable
from typing import Any

import psycopg
import sqlalchemy as sa
from psycopg.copy import LibpqWriter
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.engine import Connection
from sqlalchemy.schema import CreateTable

from etl.domain.batch import Increment
from etl.domain.run import Run
from etl.load.tables import runs

BOOKKEEPING = {"first_seen_at", "changed_at", "sync_id", "change_xid"}
OBSERVED = [column for column in runs.c if column.name not in BOOKKEEPING]
"""The columns of `runs` that come from a payload, and the source it came from."""


def _staged(column: sa.Column[Any]) -> sa.Column[Any]:
    is_instant = isinstance(column.type, sa.DateTime)
    return sa.Column(column.name, sa.BigInteger() if is_instant else column.type)


staging = sa.Table(
    "runtide_staged_runs",
    sa.MetaData(),
    *map(_staged, OBSERVED),
    sa.Column("read_at", sa.BigInteger),
    prefixes=["TEMPORARY"],
    postgresql_on_commit="DELETE ROWS",
)
"""Instants travel as microseconds; the upsert turns them into timestamptz."""

COPY = f"COPY {staging.name} ({', '.join(staging.c.keys())}) FROM STDIN"

INSTRUCTIONS = 1 + Run._fields.index("instructions")
TOOL_SET = 1 + Run._fields.index("tool_set")
ARRAYS = [
    1 + Run._fields.index(column.name)
    for column in OBSERVED
    if isinstance(column.type, ARRAY)
]


def create_staging(connection: Connection) -> None:
    """Make the staging table; it lives as long as the connection."""
    connection.execute(CreateTable(staging, if_not_exists=True))


def copy_runs(connection: Connection, increments: Iterable[Increment]) -> int:
    """Stage the runs of some increments; answer how many rows there are.

    Where a batch holds a run twice, the later reading is staged: one statement
    cannot upsert a row twice.
    """
    rows = {
        (increment.source_id, run.run_id, run.created_at): (increment, run)
        for increment in increments
        for run in increment.runs
    }
    driver: Any = connection.connection.driver_connection
    with driver.cursor() as cursor, cursor.copy(COPY, writer=_AtOnce(cursor)) as copy:
        for increment, run in rows.values():
            copy.write_row(_row(increment, run))
    return len(rows)


class _AtOnce(LibpqWriter):
    """Sends a batch in one piece: each piece waits for its turn among the workers."""

    def __init__(self, cursor: psycopg.Cursor[Any]) -> None:
        super().__init__(cursor)
        self._parts: list[Any] = []

    def write(self, data: Any) -> None:
        """Keep some rows."""
        self._parts.append(bytes(data))

    def finish(self, exc: BaseException | None = None) -> None:
        """Send what was kept, and end the COPY."""
        if exc is None and self._parts:
            super().write(b"".join(self._parts))
        super().finish(exc)


def _row(increment: Increment, run: Run) -> list[Any]:
    """One staged row, in the order of the staging table's columns."""
    row: list[Any] = [increment.source_id, *run, increment.read_at]
    if run.instructions is not None:
        row[INSTRUCTIONS] = run.instructions.instructions_id.hex
    if run.tool_set is not None:
        row[TOOL_SET] = run.tool_set.tool_set_id.hex
    for place in ARRAYS:
        if row[place] is not None:
            row[place] = list(row[place])
    return row
