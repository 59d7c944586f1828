"""Spark SQL over the tables of an export, by Iceberg's own connector and JDBC catalog."""

import json
import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.engine import URL

from etl.warehouse.columns import Column, Kind, Table
from etl.warehouse.iceberg.schema import columns_of
from tests.integration.exported import comparable
from tests.integration.role_server import PASSWORD
from tests.integration.spark_jars import connector

PYTHON = os.environ.get("RUNTIDE_TEST_SPARK_PYTHON", "")
DRIVER = os.environ.get("RUNTIDE_TEST_POSTGRES_JAR", "/usr/share/java/postgresql.jar")
SCRIPT = Path(__file__).with_name("spark_statements.py")
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

MISSING = next(
    (
        reason
        for is_there, reason in (
            (shutil.which("java"), "there is no Java for Spark"),
            (PYTHON, "RUNTIDE_TEST_SPARK_PYTHON names no Python that has pyspark"),
            (Path(DRIVER).exists(), f"there is no JDBC driver for Postgres in {DRIVER}"),
        )
        if not is_there
    ),
    "",
)
needs_spark = pytest.mark.skipif(bool(MISSING), reason=MISSING)


@dataclass(frozen=True)
class Answers:
    """What each statement gave, and how many bytes the driver and each executor read."""

    columns: Sequence[Sequence[str]]
    rows: Sequence[Sequence[Sequence[Any]]]
    read: dict[str, int]


def asked_of_spark(
    database: URL, role: str, warehouse: Path, folder: Path, *statements: str
) -> Answers:
    """Run statements as docs/iceberg.md has it, as a role of the database."""
    jars = [*connector(packages(), folder), DRIVER]
    asked = {
        "settings": {
            **settings(database, role, warehouse),
            "spark.jars": ",".join(map(str, jars)),
        },
        "statements": statements,
    }
    (folder / "asked.json").write_text(json.dumps(asked))
    here = {"SPARK_LOCAL_IP": "127.0.0.1", "SPARK_WORKER_DIR": str(folder / "work")}
    done = run_in_spark(str(SCRIPT), str(folder / "asked.json"), env=os.environ | here)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout.splitlines()[-1])
    return Answers(
        columns=[each["columns"] for each in told["answers"]],
        rows=[each["rows"] for each in told["answers"]],
        read=told["read"],
    )


def packages() -> Path:
    """Where Spark's Python has its packages."""
    told = "import sysconfig; print(sysconfig.get_path('purelib'))"
    return Path(run_in_spark("-c", told).stdout.strip())


def run_in_spark(
    *arguments: str, env: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run Spark's Python."""
    return subprocess.run(
        [PYTHON, *arguments],
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
        env=env,
    )


def settings(database: URL, role: str, warehouse: Path) -> dict[str, str]:
    catalog = "spark.sql.catalog.runtide"
    place = f"{database.host}:{database.port}/{database.database}"
    return {
        "spark.sql.extensions": (
            "org.apache.iceberg.spark.extensions.IcebergSparkSessionExtensions"
        ),
        catalog: "org.apache.iceberg.spark.SparkCatalog",
        f"{catalog}.type": "jdbc",
        f"{catalog}.uri": f"jdbc:postgresql://{place}?currentSchema=run_iceberg",
        f"{catalog}.jdbc.user": role,
        f"{catalog}.jdbc.password": PASSWORD,
        f"{catalog}.warehouse": f"file://{warehouse}",
    }


def every_row(table: Table, version: int | None = None) -> str:
    """SQL for all rows, now or in a snapshot; JSON can carry what it answers."""
    asked = ", ".join(_sql(each) for each in columns_of(table))
    of = f" VERSION AS OF {version}" if version else ""
    return f"SELECT {asked} FROM runtide.runtide.{table.name}{of}"


def as_in_postgres(rows: Sequence[Sequence[Any]], table: Table) -> list[str]:
    """The rows of `every_row`, in the form of `rows_of_table`."""
    return sorted(comparable(list(_values(row, table))) for row in rows)


def _sql(column: Column) -> str:
    match column.kind:
        case Kind.INSTANT:
            return f"unix_micros({column.name})"
        case Kind.USD | Kind.PRICE:
            return f"CAST({column.name} AS string)"
        case _:
            return column.name


def _values(row: Sequence[Any], table: Table) -> Iterator[Any]:
    for column, told in zip(columns_of(table), row, strict=True):
        yield None if told is None else _value(column.kind, told)


def _value(kind: Kind, told: Any) -> Any:
    match kind:
        case Kind.INSTANT:
            return EPOCH + timedelta(microseconds=told)
        case Kind.USD | Kind.PRICE:
            return Decimal(told)
        case Kind.DAY:
            return date.fromisoformat(told)
        case _:
            return told
