"""Executors of a Spark cluster read the tables through Iceberg's connector and catalog."""

import os
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy.engine import Engine

from etl.load.database import opened
from etl.warehouse.columns import RUNS, TABLES
from tests.integration.builders import execute
from tests.integration.exported import MONTHS, inserted, make_world, rows_of_table
from tests.integration.icebergs import (
    assert_iceberg_equals_tables,
    catalog_at,
    exported_to_iceberg,
    stored,
)
from tests.integration.role_server import Call, OwnedDatabase, granted
from tests.integration.sparks import (
    Answers,
    as_in_postgres,
    asked_of_spark,
    every_row,
    needs_spark,
)
from tests.integration.test_export_iceberg import as_an_older_version_told, without
from tests.integration.test_export_iceberg_rounds import MORE_MONTHS

pytestmark = [pytest.mark.slow, needs_spark]
Ask = Callable[..., Answers]


@pytest.fixture
def world(owned: OwnedDatabase) -> Iterator[Engine]:
    """More files than one task of Spark takes."""
    with opened(owned.url()) as engine:
        make_world(engine, runs=200)
        for month in MORE_MONTHS:
            made = f"SELECT run_sync.make_month('{month}')"
            execute(engine, made, inserted("more", month, 50, source=2))
        yield engine


@pytest.fixture
def to(tmp_path: Path) -> Path:
    return tmp_path / "warehouse"


@pytest.fixture
def ask(owned: OwnedDatabase, to: Path, tmp_path: Path) -> Ask:
    """Run statements in Spark as a role; as the owner, unless told otherwise."""

    def ask(*statements: str, role: str = owned.owner) -> Answers:
        return asked_of_spark(owned.address, role, to, tmp_path, *statements)

    return ask


@pytest.fixture
def let_in(owned: OwnedDatabase, as_role: Call, name: str) -> Callable[[], str]:
    """Make a role that may read, the catalog's tables too, as docs/iceberg.md has it."""

    def let_in() -> str:
        assert granted(as_role, "reader", name)[0] == 0
        owned.run(
            f"GRANT USAGE ON SCHEMA run_iceberg TO {name}",
            f"GRANT SELECT ON ALL TABLES IN SCHEMA run_iceberg TO {name}",
        )
        return name

    return let_in


def snapshot_ids(engine: Engine, to: Path, name: str) -> list[int]:
    with catalog_at(engine, to) as catalog:
        return [each.snapshot_id for each in stored(catalog, name).snapshots()]


def test_a_reader_finds_every_row_of_postgres(
    world: Engine, to: Path, ask: Ask, let_in: Callable[[], str]
) -> None:
    exported_to_iceberg(world, to)
    execute(
        world,
        inserted("late", MONTHS[0], 50),
        "DELETE FROM run_history.runs WHERE source_id = 2 AND run_id LIKE '%7'",
        "UPDATE run_history.runs SET status = 'failed' WHERE run_id LIKE '%3'",
    )
    exported_to_iceberg(world, to)

    told = ask(*map(every_row, TABLES), role=let_in())

    for table, rows in zip(TABLES, told.rows, strict=True):
        assert as_in_postgres(rows, table) == rows_of_table(world, table), table.name
    read = dict(told.read)
    assert read.pop("driver") == 0
    assert len(read) == 2
    assert all(read.values())


def test_spark_travels_in_time_and_sees_how_complete_a_snapshot_is(
    world: Engine, to: Path, ask: Ask
) -> None:
    exported_to_iceberg(world, to)
    before = rows_of_table(world, RUNS)
    execute(
        world,
        "DELETE FROM run_history.runs WHERE source_id = 2",
        "UPDATE run_sync.threads SET last_pass_at = '2026-11-22 03:00+00'",
    )
    exported_to_iceberg(world, to)
    first, _ = snapshot_ids(world, to, "runs")

    told = ask(
        every_row(RUNS, first),
        every_row(RUNS),
        "SELECT summary['runtide.complete-through'] FROM runtide.runtide.threads.snapshots"
        " ORDER BY committed_at",
    )

    old, new, snapshots = told.rows
    assert as_in_postgres(old, RUNS) == before
    assert as_in_postgres(new, RUNS) == rows_of_table(world, RUNS)
    through = [datetime.fromisoformat(told) for [told] in snapshots]
    assert through == [datetime(2026, 11, 22, hour, tzinfo=UTC) for hour in (2, 3)]


def test_a_column_that_was_added_is_whole_now_and_unknown_to_older_snapshots(
    world: Engine, to: Path, ask: Ask
) -> None:
    added = ["code_interpreter_file_ids", "change_xid"]
    exported_to_iceberg(world, to)
    with catalog_at(world, to) as catalog:
        there = stored(catalog, "runs")
        without(there, *added)
        as_an_older_version_told(there, *added)
    exported_to_iceberg(world, to)
    _, old, _ = snapshot_ids(world, to, "runs")

    now, before = "SELECT * FROM runtide.runtide.runs", f"VERSION AS OF {old}"
    told = ask(every_row(RUNS), now, f"{now} {before}")

    assert as_in_postgres(told.rows[0], RUNS) == rows_of_table(world, RUNS)
    assert told.columns[1][-2:] == added
    assert told.columns[2] == told.columns[1][:-2]
    assert len(told.rows[2]) == len(told.rows[1])


def test_after_maintenance_by_spark_exports_go_on_where_they_were(
    world: Engine, to: Path, ask: Ask
) -> None:
    exported_to_iceberg(world, to)
    export_one_more(world, to, "first")
    compact = call("rewrite_data_files", "options => map('rewrite-all', 'true')")
    [[[compacted, *_]], [[manifests, _]]] = ask(compact, call("rewrite_manifests")).rows
    assert compacted == 8  # files, one for each month of a source
    assert manifests > 1
    export_one_more(world, to, "second")
    orphan = to / "runtide/runs/data/left-behind.parquet"
    orphan.write_bytes(b"PAR1")
    make_old(to)
    now = f"TIMESTAMP '{datetime.now(UTC):%Y-%m-%d %H:%M:%S}'"

    expire = call("expire_snapshots", f"older_than => {now}", "retain_last => 1")
    [[[expired, *_]], orphans] = ask(expire, call("remove_orphan_files")).rows

    assert len(snapshot_ids(world, to, "runs")) == 1
    assert expired == 8 + 1 + 1  # files: compacted, and of the month that grew twice
    assert orphans == [[f"file:{orphan}"]]
    assert not orphan.exists()
    export_one_more(world, to, "third")


def call(procedure: str, *arguments: str) -> str:
    told = ", ".join(("table => 'runtide.runtide.runs'", *arguments))
    return f"CALL runtide.system.{procedure}({told})"


def export_one_more(engine: Engine, to: Path, name: str) -> None:
    execute(engine, inserted(name, MONTHS[0], 5))
    done = exported_to_iceberg(engine, to)
    assert (done.months_rewritten, done.reason) == (1, None)
    assert_iceberg_equals_tables(engine, to)


def make_old(to: Path) -> None:
    """Let all files of the warehouse have been written long ago."""
    long_ago = time.time() - 30 * 86_400
    for each in to.rglob("*"):
        if each.is_file():
            os.utime(each, (long_ago, long_ago))
