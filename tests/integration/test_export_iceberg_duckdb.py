"""DuckDB's own extension reads tables by their metadata files, and by what these tell."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest
from sqlalchemy.engine import Engine

from etl.warehouse.columns import TABLES, Kind
from tests.integration.builders import execute
from tests.integration.exported import MONTHS, inserted, make_world
from tests.integration.icebergs import (
    FORGET_CATALOG,
    catalog_at,
    duckdb_with_iceberg,
    exported_to_iceberg,
    scanned,
    stored,
)

LONG_TEXTS = (
    "UPDATE run_history.runs SET last_error_message = repeat('ü', 40) WHERE source_id = 1",
    (
        "UPDATE run_history.runs SET last_error_message = repeat(U&'\\+10FFFF', 20)"
        " WHERE source_id = 2"
    ),
)
"""Longer than the bounds of a text in Iceberg; behind the second no text is greater."""


@pytest.fixture
def world(swept_engine: Engine) -> Engine:
    execute(swept_engine, FORGET_CATALOG)
    make_world(swept_engine)
    return swept_engine


@pytest.fixture
def to(tmp_path: Path) -> Path:
    return tmp_path / "warehouse"


@pytest.fixture
def connection() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb_with_iceberg() as connection:
        yield connection


def counted(connection: duckdb.DuckDBPyConnection, place: str, *values: Any) -> int:
    [(count,)] = connection.execute(f"SELECT count(*) FROM {place}", values).fetchall()
    return int(count)


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name)
def test_the_least_and_the_greatest_value_of_every_column_are_found(
    world: Engine, to: Path, connection: duckdb.DuckDBPyConnection, table: Any
) -> None:
    execute(world, *LONG_TEXTS)
    exported_to_iceberg(world, to)
    with catalog_at(world, to) as catalog:
        there = stored(catalog, table.name)
        columns = there.scan().to_arrow()
        for column in table.columns:
            values = columns[column.name].to_pylist()
            known = [each for each in values if each is not None]
            if column.kind is Kind.TEXTS or not known:
                continue
            for bound in (min(known), max(known)):
                place = f"{scanned(there)} WHERE {column.name} = ?"
                found = counted(connection, place, bound)
                assert found == values.count(bound), (column.name, bound)


@pytest.mark.parametrize(
    "told", ["last_error_message = repeat('a', 5000)", "expires_at = to_timestamp(3e11)"]
)
def test_values_that_have_no_bounds_are_found(
    world: Engine,
    to: Path,
    connection: duckdb.DuckDBPyConnection,
    monkeypatch: pytest.MonkeyPatch,
    told: str,
) -> None:
    """Each row is a row group, so that others of the same file have bounds."""
    monkeypatch.setattr("etl.warehouse.reading.BATCH_BYTES", 1)
    monkeypatch.setattr("etl.warehouse.parquet.GROUP_BYTES", 1)
    execute(
        world,
        "UPDATE run_history.runs SET last_error_message = 'm', expires_at = created_at",
        f"UPDATE run_history.runs SET {told} WHERE run_id LIKE '%\\_7'",
    )
    exported_to_iceberg(world, to)
    with catalog_at(world, to) as catalog:
        place = scanned(stored(catalog, "runs"))
        assert counted(connection, f"{place} WHERE {told}") == 4


def test_who_asks_for_a_month_opens_no_file_of_another(
    world: Engine, to: Path, connection: duckdb.DuckDBPyConnection
) -> None:
    exported_to_iceberg(world, to)
    with catalog_at(world, to) as catalog:
        there = stored(catalog, "runs")
        for task in there.scan(row_filter="month <> '2026-11'").plan_files():
            Path(task.file.file_path.removeprefix("file://")).unlink()
        assert counted(connection, f"{scanned(there)} WHERE month = '2026-11'") == 20
        with pytest.raises(duckdb.IOException):
            connection.execute(f"SELECT * FROM {scanned(there)}").fetchall()


def test_an_older_snapshot_is_read_by_its_number(
    world: Engine, to: Path, connection: duckdb.DuckDBPyConnection
) -> None:
    exported_to_iceberg(world, to)
    execute(world, inserted("late", MONTHS[0], 5))
    exported_to_iceberg(world, to)
    with catalog_at(world, to) as catalog:
        there = stored(catalog, "runs")
        first, second = (each.snapshot_id for each in there.snapshots())
        assert counted(connection, scanned(there, f", snapshot_from_id = {first}")) == 80
        assert counted(connection, scanned(there, f", snapshot_from_id = {second}")) == 85
