"""Rows out of Postgres as Arrow, in C and in bounded batches."""

from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any

from sqlalchemy.engine import URL

from etl.domain.errors import DatabaseError
from etl.load.database import for_libpq, shown
from etl.load.trust import refusal
from etl.warehouse.ahead import Ahead, reading_ahead
from etl.warehouse.columns import Column, Kind, Table, arrow_schema
from etl.warehouse.position import PATIENT, Month

if TYPE_CHECKING:
    import pyarrow as pa

BATCH_BYTES = 8 << 20
"""How much of COPY's output becomes one batch."""


class ArrowReader:
    """Reads months in the snapshot of another transaction."""

    def __init__(self, url: URL, connection: Any, ahead: Ahead) -> None:
        self._url = url
        self._connection = connection
        self._ahead = ahead

    @classmethod
    @contextmanager
    def opened(cls, url: URL, snapshot_name: str) -> "Iterator[ArrowReader]":
        """Open a connection that sees what pg_export_snapshot gave its name to."""
        from adbc_driver_postgresql import dbapi  # noqa: PLC0415  # an extra

        with told(url), closing(dbapi.connect(for_libpq(url))) as connection:
            with connection.cursor() as cursor:
                level = "REPEATABLE READ READ ONLY"
                cursor.execute(f"SET TRANSACTION ISOLATION LEVEL {level}")
                cursor.execute(f"SET TRANSACTION SNAPSHOT '{snapshot_name}'")
                cursor.execute(PATIENT)
            with reading_ahead() as ahead:
                yield cls(url, connection, ahead)

    def batches(self, table: Table, month: Month) -> "Iterator[pa.RecordBatch]":
        """The rows of a month as the table's columns are typed; DatabaseError else."""
        return self._ahead(self._batches(table, month))

    def _batches(self, table: Table, month: Month) -> "Generator[pa.RecordBatch]":
        import adbc_driver_postgresql as adbc  # noqa: PLC0415

        schema = arrow_schema(table.columns)
        hint = {adbc.StatementOptions.BATCH_SIZE_HINT_BYTES.value: str(BATCH_BYTES)}
        with told(self._url), self._connection.cursor() as cursor:
            cursor.adbc_statement.set_options(**hint)
            cursor.execute(_question(table, month))
            for batch in cursor.fetch_record_batch():
                if batch.num_rows:
                    yield typed(batch, table, schema, month)


def _question(table: Table, month: Month) -> str:
    """A month is told in words, not as a parameter: so Postgres looks at its partition."""
    columns = ", ".join(column.sql for column in table.columns)
    start = f"(date '{month.day}')::timestamp AT TIME ZONE 'UTC'"
    end = f"(date '{month.day}' + interval '1 month') AT TIME ZONE 'UTC'"
    return (
        f"SELECT {columns} FROM {table.rows} WHERE source_id = {month.source_id:d}"  # noqa: S608  # our own words
        f" AND {table.instant} >= {start} AND {table.instant} < {end}"
    )


def typed(
    batch: "pa.RecordBatch", table: Table, schema: "pa.Schema", month: Month
) -> "pa.RecordBatch":
    """The batch with the table's types; what does not fit is an error, never rounded."""
    import pyarrow as pa  # noqa: PLC0415

    pairs = zip(table.columns, batch.columns, schema.types, strict=True)
    arrays = [_typed(column, array, kind, month) for column, array, kind in pairs]
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def _typed(column: Column, array: Any, kind: Any, month: Month) -> Any:
    import pyarrow as pa  # noqa: PLC0415

    if array.type == kind:
        return array
    try:
        return array.cast(kind)
    except pa.ArrowInvalid as error:
        exact = f", which is {column.kind}" if column.kind in {Kind.USD, Kind.PRICE} else ""
        raise DatabaseError(
            f"A value of {column.name} in {month.name} of source {month.source} does not"
            f" fit into its column{exact}, and is not rounded: {error}; correct it in the"
            " database."
        ) from error


@contextmanager
def told(url: URL) -> Iterator[None]:
    """Turn the driver's errors into sentences that name the server, never a password."""
    from adbc_driver_postgresql import dbapi  # noqa: PLC0415

    try:
        yield
    except dbapi.Error as error:
        said = str(error).split("\n")[0].split("[libpq] ")[-1].split(". SQLSTATE")[0]
        place = shown(url)
        raise DatabaseError(
            refusal(str(error), place)
            or f"The database at {place} broke off the export: {said.strip().rstrip('.')}."
        ) from error
