"""Exports to Iceberg tables, and what their readers find in them."""

import json
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC
from pathlib import Path
from typing import Any

import duckdb
import duckdb_extension_avro
import duckdb_extension_iceberg
from pyiceberg.catalog import Catalog
from pyiceberg.table import Table as Stored
from sqlalchemy.engine import Engine

from etl.warehouse import Exported, Format, Order, export
from etl.warehouse.columns import TABLES, Kind, Table
from etl.warehouse.iceberg import CatalogChoice, IcebergTables, catalog_of
from etl.warehouse.iceberg.schema import PARTITIONED_BY, columns_of
from etl.warehouse.iceberg.table import TOLD
from tests.integration.exported import AT, comparable, rows_of_table, unwatched

NAMESPACE = "runtide"
FORGET_CATALOG = "DROP SCHEMA IF EXISTS run_iceberg CASCADE"
NAMES = tuple(table.name for table in TABLES)


@contextmanager
def catalog_at(engine: Engine, to: Path) -> Iterator[Catalog]:
    """The catalog in the database, of tables below a folder."""
    with catalog_of(CatalogChoice(), engine, f"file://{to}", str(to)) as catalog:
        yield catalog


def exported_to_iceberg(
    engine: Engine, to: Path, *, is_full: bool = False, file_bytes: int = 128 << 20
) -> Exported:
    """Export as the command does."""
    order = Order(form=Format.ICEBERG, is_full=is_full, file_bytes=file_bytes)
    with catalog_at(engine, to) as catalog:
        place = IcebergTables(catalog, NAMESPACE, f"file://{to}", str(to))
        return export(engine, place, order, at=AT, watch=unwatched)


def stored(catalog: Catalog, name: str) -> Stored:
    return catalog.load_table((NAMESPACE, name))


def snapshots(engine: Engine, to: Path) -> dict[str, int]:
    """How many snapshots each table has."""
    with catalog_at(engine, to) as catalog:
        return {name: len(stored(catalog, name).snapshots()) for name in NAMES}


def assert_iceberg_equals_tables(engine: Engine, to: Path) -> None:
    """PyArrow, DuckDB and its own extension find the rows of the tables, each once."""
    with catalog_at(engine, to) as catalog:
        for table in TABLES:
            expected = rows_of_table(engine, table)
            there = stored(catalog, table.name)
            for read in (rows_by_arrow, rows_by_duckdb, rows_by_extension):
                found = read(there, table)
                differing = sorted(set(found) ^ set(expected))[:2]
                assert not differing, (read.__name__, table.name, differing)
                assert len(found) == len(expected), (read.__name__, table.name)


def assert_every_table_is_whole(engine: Engine, to: Path) -> None:
    """Whatever was killed: each table has the rows that its own position tells."""
    with catalog_at(engine, to) as catalog:
        for table in TABLES:
            there = stored(catalog, table.name)
            snapshot = there.current_snapshot()
            assert snapshot is not None
            assert snapshot.summary is not None
            manifest = json.loads(str(snapshot.summary[TOLD]))
            parts = manifest["tables"][table.name]["partitions"]
            expected = {(each["source"], each["month"]): each["rows"] for each in parts}
            rows = there.scan(selected_fields=PARTITIONED_BY).to_arrow().to_pylist()
            found = Counter((row["source"], row["month"]) for row in rows)
            assert found == expected, table.name


def rows_by_arrow(there: Stored, table: Table) -> list[str]:
    """Every row, with its source and month, as PyIceberg and PyArrow read it."""
    names = [each.name for each in columns_of(table)]
    rows = there.scan(selected_fields=tuple(names)).to_arrow().to_pylist()
    return sorted(comparable([row[name] for name in names]) for row in rows)


def rows_by_duckdb(there: Stored, table: Table) -> list[str]:
    """The same as DuckDB has it, from what PyIceberg hands over."""
    connection: Any = there.scan().to_duckdb("found", duckdb.connect())
    with connection:
        return _rows_in(connection, "found", table)


def rows_by_extension(there: Stored, table: Table) -> list[str]:
    """The same as DuckDB's own extension finds it, from the metadata file alone."""
    with duckdb_with_iceberg() as connection:
        return _rows_in(connection, scanned(there), table)


def duckdb_with_iceberg() -> duckdb.DuckDBPyConnection:
    """DuckDB with its extension, which its wheel brings: nothing is fetched."""
    connection = duckdb.connect()
    for package in (duckdb_extension_avro, duckdb_extension_iceberg):
        [shipped] = Path(package.__path__[0]).rglob("*.duckdb_extension")
        connection.load_extension(str(shipped))
    return connection


def scanned(there: Stored, more: str = "") -> str:
    """What that extension reads a table by, in SQL."""
    return f"iceberg_scan('{there.metadata_location}'{more})"


def _rows_in(connection: duckdb.DuckDBPyConnection, place: str, table: Table) -> list[str]:
    instants = {each.name for each in table.columns if each.kind is Kind.INSTANT}
    names = [each.name for each in columns_of(table)]
    asked = ", ".join(
        f"make_timestamp(epoch_us({name}))" if name in instants else name for name in names
    )
    rows = connection.execute(f"SELECT {asked} FROM {place}").fetchall()
    return sorted(
        comparable(
            [
                value.replace(tzinfo=UTC) if name in instants and value else value
                for name, value in zip(names, row, strict=True)
            ]
        )
        for row in rows
    )
