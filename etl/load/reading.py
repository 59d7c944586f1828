"""Runs out of Postgres again, the dictionaries joined back."""

import datetime as dt
from collections.abc import Iterable, Iterator
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.engine import Connection

from etl.domain.batch import SourceId
from etl.domain.run import Instructions, Run, ThreadId, Tool, ToolSet
from etl.load.copying import OBSERVED
from etl.load.statements import microseconds
from etl.load.tables import instructions, runs, tools

AT_ONCE = 1_000
"""Runs that are held in memory together."""

TEXTS = [column.name for column in OBSERVED if isinstance(column.type, ARRAY)]


def read_runs(
    connection: Connection,
    source_id: SourceId,
    *,
    thread_id: ThreadId | None = None,
    month: str | None = None,
) -> Iterator[Run]:
    """Read the runs of a source, of one of its threads, or of a month, in order.

    They come by thread and creation; a month is told by its first day.

    Each equals the run that was stored; JSON texts are equal as values, for Postgres
    writes them in an order and with spaces of its own. The connection stays in its
    transaction until the last run was read, and memory does not grow with their number.
    """
    rows = connection.execute(_runs_of(source_id, thread_id, month))
    for part in rows.mappings().partitions():
        texts = _instructions(connection, {row["instructions"] for row in part})
        tool_sets = _tool_sets(connection, {row["tool_set"] for row in part})
        for row in part:
            yield _run(row, texts, tool_sets)


def _read(column: sa.Column[Any]) -> sa.ColumnElement[Any]:
    """A column as a `Run` holds it."""
    match column.type:
        case sa.DateTime():
            return microseconds(column)
        case JSONB():
            return sa.cast(column, sa.Text)
        case _:
            return column


READ = [
    _read(column).label(field)
    for field, column in zip(Run._fields, OBSERVED[1:], strict=True)
]
"""Under the names of `Run`: the dictionaries' keys stand where their entries will."""


def _runs_of(
    source_id: SourceId, thread_id: ThreadId | None, month: str | None
) -> sa.Select[Any]:
    statement = sa.select(*READ).where(runs.c.source_id == source_id)
    if month is not None:
        statement = statement.where(within_month(runs.c.created_at, month))
    if thread_id is not None:
        statement = statement.where(runs.c.thread_id == thread_id)
    return statement.order_by(
        runs.c.thread_id, runs.c.created_at, runs.c.run_id
    ).execution_options(yield_per=AT_ONCE)


def within_month(instant: sa.Column[Any], day: str) -> sa.ColumnElement[bool]:
    """Whether an instant is in the month (UTC) that begins with a day."""
    first: sa.ColumnElement[Any] = sa.literal_column(
        f"(date '{dt.date.fromisoformat(day)}')"
    )
    end = sa.func.timezone("UTC", first + sa.text("interval '1 month'"))
    return sa.and_(
        instant >= sa.func.timezone("UTC", sa.cast(first, sa.DateTime)), instant < end
    )


def _instructions(
    connection: Connection, keys: Iterable[UUID | None]
) -> dict[UUID, Instructions]:
    wanted = instructions.c.instructions_id.in_(filter(None, keys))
    rows = connection.execute(sa.select(instructions).where(wanted))
    return {row.instructions_id: Instructions(*row) for row in rows}


def _tool_sets(connection: Connection, keys: Iterable[UUID | None]) -> dict[UUID, ToolSet]:
    """Read tool lists by their keys; an empty list has no rows at all."""
    found: dict[UUID, list[Tool]] = {key: [] for key in keys if key is not None}
    columns = [_read(tools.c[field]).label(field) for field in Tool._fields]
    statement = sa.select(tools.c.tool_set_id, *columns).order_by(tools.c.position)
    for key, *values in connection.execute(statement.where(tools.c.tool_set_id.in_(found))):
        found[key].append(Tool(*values))
    return {key: ToolSet(key, tuple(entries)) for key, entries in found.items()}


def _run(
    row: sa.RowMapping,
    texts: dict[UUID, Instructions],
    tool_sets: dict[UUID, ToolSet],
) -> Run:
    values = dict(row)
    values["instructions"] = texts.get(values["instructions"])
    values["tool_set"] = tool_sets.get(values["tool_set"])
    for name in TEXTS:
        if values[name] is not None:
            values[name] = tuple(values[name])
    return Run(**values)
