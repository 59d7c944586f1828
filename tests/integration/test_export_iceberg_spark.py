"""Executors of a Spark cluster read a table's current snapshot, whole.

Spark's connector for Iceberg is a jar of Maven's registry. This asks PyIceberg which files
the snapshot has, and lets JVM executors read them by the columns' numbers, as the
connector does: so the files, their types and their numbers are as Spark needs them.
Whether the connector reads the metadata itself is not shown.
"""

import json
import os
import shutil
import subprocess
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from pyiceberg.table import Table as Stored
from sqlalchemy.engine import Engine

from etl.warehouse.columns import TABLES, Kind, Table
from etl.warehouse.iceberg.schema import columns_of
from tests.integration.builders import execute
from tests.integration.exported import (
    MONTHS,
    comparable,
    inserted,
    make_world,
    rows_of_table,
)
from tests.integration.icebergs import (
    FORGET_CATALOG,
    catalog_at,
    exported_to_iceberg,
    stored,
)

PYTHON = os.environ.get("RUNTIDE_TEST_SPARK_PYTHON", "")
READER = Path(__file__).with_name("spark_reader.py")
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

IN_SPARK = {
    "int": "int",
    "long": "bigint",
    "double": "double",
    "boolean": "boolean",
    "date": "date",
    "timestamptz": "timestamp",
    "string": "string",
    "list<string>": "array<string>",
}


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("java"), reason="there is no Java for Spark")
@pytest.mark.skipif(
    not PYTHON, reason="RUNTIDE_TEST_SPARK_PYTHON names no Python that has pyspark"
)
def test_a_spark_cluster_reads_what_postgres_holds(
    swept_engine: Engine, tmp_path: Path
) -> None:
    execute(swept_engine, FORGET_CATALOG)
    make_world(swept_engine, runs=200)
    to = tmp_path / "warehouse"
    exported_to_iceberg(swept_engine, to)
    execute(
        swept_engine,
        inserted("late", MONTHS[0], 50),
        "DELETE FROM run_history.runs WHERE source_id = 2 AND run_id LIKE '%7'",
    )
    exported_to_iceberg(swept_engine, to)
    with catalog_at(swept_engine, to) as catalog:
        for table in TABLES:
            told = read_by_spark(stored(catalog, table.name), tmp_path)
            found = sorted(comparable(values(row, table)) for row in told["rows"])
            assert found == rows_of_table(swept_engine, table), table.name
            assert told["executors"] == 2
            assert told["sums"] == 2  # sources


def read_by_spark(there: Stored, folder: Path) -> Any:
    """What the executors of a cluster of two find in the files of the current plan."""
    fields = there.schema().fields
    plan = {
        "files": [task.file.file_path for task in there.scan().plan_files()],
        "by": there.schema().find_field("source").field_id,
        "columns": [
            {"id": each.field_id, "type": in_spark(str(each.field_type))} for each in fields
        ],
    }
    (folder / "plan.json").write_text(json.dumps(plan))
    done = subprocess.run(
        [PYTHON, str(READER), str(folder / "plan.json")],
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout.splitlines()[-1])


def in_spark(kind: str) -> str:
    return kind if kind.startswith("decimal") else IN_SPARK[kind]


def values(row: Sequence[Any], table: Table) -> list[Any]:
    """A row's values as Postgres gives them."""
    pairs = zip(columns_of(table), row, strict=True)
    return [None if each is None else value(column.kind, each) for column, each in pairs]


def value(kind: Kind, told: Any) -> Any:
    match kind:
        case Kind.INSTANT:
            return EPOCH + timedelta(microseconds=told)
        case Kind.USD | Kind.PRICE:
            return Decimal(told)
        case Kind.DAY:
            return date.fromisoformat(told)
        case _:
            return told
