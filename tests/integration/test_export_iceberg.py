"""What an export writes into Iceberg tables, what it leaves alone, what it refuses."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import sqlalchemy as sa
from pyiceberg.catalog import Catalog
from pyiceberg.io.pyarrow import _dataframe_to_data_files
from pyiceberg.table import Table as Stored
from pyiceberg.table.snapshots import Operation, Summary
from pyiceberg.table.update import AddSnapshotUpdate, TableUpdate
from pyiceberg.types import LongType, StringType
from sqlalchemy.engine import Engine

from etl.domain.errors import ConfigError, DestinationError, HeldError, StoppedError
from etl.warehouse import Format, Order, Progress, export
from etl.warehouse.holding import alone
from etl.warehouse.iceberg import IcebergTables
from etl.warehouse.iceberg.table import COMPLETE_THROUGH, EXPORT_ID, TOLD, IcebergTable
from tests.integration.builders import execute
from tests.integration.exported import AT, MONTHS, inserted, make_world
from tests.integration.icebergs import (
    FORGET_CATALOG,
    NAMES,
    NAMESPACE,
    assert_iceberg_equals_tables,
    catalog_at,
    exported_to_iceberg,
    snapshots,
    stored,
)


@pytest.fixture
def world(swept_engine: Engine) -> Engine:
    execute(swept_engine, FORGET_CATALOG)
    make_world(swept_engine)
    return swept_engine


@pytest.fixture
def to(tmp_path: Path) -> Path:
    return tmp_path / "warehouse"


@pytest.fixture
def catalog(world: Engine, to: Path) -> Iterator[Catalog]:
    with catalog_at(world, to) as catalog:
        yield catalog


def refused(engine: Engine, to: Path, *, is_full: bool = False) -> str:
    with pytest.raises((ConfigError, DestinationError)) as caught:
        exported_to_iceberg(engine, to, is_full=is_full)
    return str(caught.value)


def told(there: Stored) -> dict[str, str]:
    snapshot = there.current_snapshot()
    assert snapshot is not None
    assert snapshot.summary is not None
    return snapshot.summary.additional_properties


# What is written ---------------------------------------------------------------------


def test_the_tables_hold_what_postgres_does(world: Engine, to: Path) -> None:
    done = exported_to_iceberg(world, to)
    assert (done.format, done.months_rewritten, done.months, done.rows) == (
        "iceberg",
        5,
        5,
        326,
    )
    assert_iceberg_equals_tables(world, to)


def test_an_export_without_changes_commits_nothing(world: Engine, to: Path) -> None:
    exported_to_iceberg(world, to)
    before = {path: path.read_bytes() for path in to.rglob("*") if path.is_file()}
    again = exported_to_iceberg(world, to)
    after = {path: path.read_bytes() for path in to.rglob("*") if path.is_file()}
    assert (again.months_rewritten, again.rows, again.files) == (0, 0, 0)
    assert snapshots(world, to) == dict.fromkeys(NAMES, 1)
    assert after == before


def test_a_changed_month_is_replaced_whole_in_one_snapshot(
    world: Engine, to: Path, catalog: Catalog
) -> None:
    exported_to_iceberg(world, to)
    execute(world, inserted("late", MONTHS[0], 5))
    done = exported_to_iceberg(world, to)
    assert (done.months_rewritten, done.rows) == (1, 100)
    assert snapshots(world, to) == {"runs": 2, "run_tools": 2, "run_costs": 2, "threads": 1}
    summary = told(stored(catalog, "runs"))
    figures = ("added-data-files", "deleted-data-files", "added-records", "deleted-records")
    assert [summary[each] for each in figures] == ["1", "1", "25", "20"]
    assert_iceberg_equals_tables(world, to)


def test_a_month_without_rows_any_more_is_gone(world: Engine, to: Path) -> None:
    exported_to_iceberg(world, to)
    execute(world, "DELETE FROM run_history.runs WHERE source_id = 2")
    exported_to_iceberg(world, to)
    assert_iceberg_equals_tables(world, to)


def test_tables_without_rows_have_a_position_too(swept_engine: Engine, to: Path) -> None:
    execute(swept_engine, FORGET_CATALOG)
    exported_to_iceberg(swept_engine, to)
    assert exported_to_iceberg(swept_engine, to).months == 0
    assert snapshots(swept_engine, to) == dict.fromkeys(NAMES, 1)
    assert_iceberg_equals_tables(swept_engine, to)


def test_a_long_month_becomes_several_files(
    world: Engine, to: Path, monkeypatch: pytest.MonkeyPatch, catalog: Catalog
) -> None:
    monkeypatch.setattr("etl.warehouse.reading.BATCH_BYTES", 20_000)
    monkeypatch.setattr("etl.warehouse.parquet.GROUP_BYTES", 1)
    execute(world, inserted("many", MONTHS[0], 500))
    exported_to_iceberg(world, to, file_bytes=1)
    assert len(list(stored(catalog, "runs").scan().plan_files())) > 4
    assert_iceberg_equals_tables(world, to)


def test_older_snapshots_stay_readable(world: Engine, to: Path, catalog: Catalog) -> None:
    exported_to_iceberg(world, to)
    execute(world, inserted("late", MONTHS[0], 5))
    exported_to_iceberg(world, to)
    there = stored(catalog, "runs")
    counts = [
        there.scan(snapshot_id=each.snapshot_id).to_arrow().num_rows
        for each in there.snapshots()
    ]
    assert counts == [80, 85]


def test_a_snapshot_tells_its_position_and_how_complete_it_is(
    world: Engine, to: Path, catalog: Catalog
) -> None:
    done = exported_to_iceberg(world, to)
    summary = told(stored(catalog, "threads"))
    manifest = json.loads(summary[TOLD])
    assert summary[EXPORT_ID] == done.export_id
    assert datetime.fromisoformat(summary[COMPLETE_THROUGH]) == AT.replace(hour=2)
    assert list(manifest["tables"]) == ["threads"]
    assert [part["month"] for part in manifest["tables"]["threads"]["partitions"]] == [
        "2026-09",
        "2026-09",
    ]
    assert manifest["from_snapshot"] is None
    assert {each["source"] for each in manifest["freshness"]} == {"one", "2"}


def test_how_complete_it_is_is_told_by_the_last_table_alone(
    world: Engine, to: Path, catalog: Catalog
) -> None:
    exported_to_iceberg(world, to)
    execute(world, "UPDATE run_sync.threads SET last_pass_at = '2026-11-22 03:00+00'")
    exported_to_iceberg(world, to)
    assert snapshots(world, to) == {"runs": 1, "run_tools": 1, "run_costs": 1, "threads": 2}
    through = told(stored(catalog, "threads"))[COMPLETE_THROUGH]
    assert datetime.fromisoformat(through) == AT.replace(hour=3)


def test_a_file_bears_the_numbers_of_the_columns(
    world: Engine, to: Path, catalog: Catalog
) -> None:
    """So a reader finds a column by its number, whatever it is called later."""
    exported_to_iceberg(world, to)
    there = stored(catalog, "runs")
    [task, *_] = there.scan().plan_files()
    with pa.OSFile(task.file.file_path.removeprefix("file://")) as file:
        schema = pq.read_schema(file)
    found = {each.name: int(each.metadata[b"PARQUET:field_id"]) for each in schema}
    assert found == {each.name: each.field_id for each in there.schema().fields}


# Positions ---------------------------------------------------------------------------


class BrokenError(Exception):
    """What ends an export between two commits."""


def test_after_a_crash_between_tables_each_goes_on_from_its_own_position(
    world: Engine, to: Path, monkeypatch: pytest.MonkeyPatch, catalog: Catalog
) -> None:
    exported_to_iceberg(world, to)
    execute(world, inserted("first", MONTHS[0], 5))

    def broken(self: IcebergTable, *rest: object) -> None:
        if self.name == "run_costs":
            raise BrokenError
        commit(self, *rest)  # type: ignore[arg-type]

    commit = IcebergTable.commit
    with monkeypatch.context() as patched:
        patched.setattr(IcebergTable, "commit", broken)
        with pytest.raises(DestinationError):
            exported_to_iceberg(world, to)
    assert snapshots(world, to) == {"runs": 2, "run_tools": 2, "run_costs": 1, "threads": 1}
    execute(world, inserted("second", MONTHS[1], 5))
    done = exported_to_iceberg(world, to)
    # runs and run_tools: one month, run_costs: what the crash left, too
    assert snapshots(world, to) == {"runs": 3, "run_tools": 3, "run_costs": 2, "threads": 1}
    assert told(stored(catalog, "runs"))["added-data-files"] == "1"
    assert told(stored(catalog, "run_costs"))["added-data-files"] == "2"
    assert done.reason is None
    assert_iceberg_equals_tables(world, to)


def test_an_export_that_is_stopped_leaves_the_tables_and_no_files(
    world: Engine, to: Path, catalog: Catalog
) -> None:
    exported_to_iceberg(world, to)
    before = set(to.rglob("*.parquet"))
    execute(world, inserted("late", MONTHS[0], 5))

    def stop(progress: Progress) -> None:
        if progress.files == 2:
            raise StoppedError("The export was stopped.")

    place = IcebergTables(catalog, NAMESPACE, f"file://{to}", str(to))
    with pytest.raises(StoppedError):
        export(world, place, Order(form=Format.ICEBERG), at=AT, watch=stop)
    assert set(to.rglob("*.parquet")) == before
    assert snapshots(world, to) == dict.fromkeys(NAMES, 1)


def test_a_table_rolled_back_goes_on_from_where_it_was(
    world: Engine, to: Path, catalog: Catalog
) -> None:
    exported_to_iceberg(world, to)
    first = stored(catalog, "runs").snapshots()[0].snapshot_id
    execute(world, inserted("late", MONTHS[0], 5))
    exported_to_iceberg(world, to)
    there = stored(catalog, "runs")
    there.manage_snapshots().rollback_to_snapshot(first).commit()
    done = exported_to_iceberg(world, to)
    assert done.months_rewritten == 1
    assert_iceberg_equals_tables(world, to)


def test_a_table_that_somebody_dropped_is_made_anew_alone(
    world: Engine, to: Path, catalog: Catalog
) -> None:
    exported_to_iceberg(world, to)
    catalog.drop_table((NAMESPACE, "run_tools"))
    exported_to_iceberg(world, to)
    assert snapshots(world, to) == dict.fromkeys(NAMES, 1)
    assert_iceberg_equals_tables(world, to)


def test_another_database_is_written_anew_and_said(
    world: Engine, to: Path, catalog: Catalog
) -> None:
    exported_to_iceberg(world, to)
    there = stored(catalog, "threads")
    summary = told(there)
    other = json.loads(summary[TOLD]) | {"to_snapshot": "900000000:900000000:"}
    ahead = {EXPORT_ID: "0", TOLD: json.dumps(other)}
    there.append(there.schema().as_arrow().empty_table(), snapshot_properties=ahead)
    assert exported_to_iceberg(world, to).reason == (
        "The last export has seen more than this database holds: it was set back, so"
        " everything is written anew."
    )
    assert_iceberg_equals_tables(world, to)


# Schema evolution ---------------------------------------------------------------------


def without(there: Stored, *columns: str) -> None:
    with there.update_schema() as update:
        for each in columns:
            update.delete_column(each)


def as_an_older_version_told(there: Stored, *columns: str) -> None:
    """The position as a version wrote it that did not know some columns."""
    summary = told(there)
    manifest = json.loads(summary[TOLD])
    table = manifest["tables"]["runs"]
    table["columns"] = [each for each in table["columns"] if each["name"] not in columns]
    properties = {EXPORT_ID: summary[EXPORT_ID], TOLD: json.dumps(manifest)}
    empty = there.schema().as_arrow().empty_table()
    there.append(empty, snapshot_properties=properties)


def test_a_column_that_a_migration_added_is_added_in_the_commit_that_fills_it(
    world: Engine, to: Path, catalog: Catalog
) -> None:
    added = ("reasoning_effort", "code_interpreter_file_ids", "change_xid")
    exported_to_iceberg(world, to)
    there = stored(catalog, "runs")
    without(there, *added)
    as_an_older_version_told(there, *added)
    old = there.current_snapshot()
    assert old is not None

    done = exported_to_iceberg(world, to)

    there.refresh()
    assert done.reason == (
        "This version of runtide writes other columns than the last export, so everything"
        " is written anew."
    )
    assert [each.name for each in there.schema().fields][-3:] == list(added)
    assert there.current_snapshot().schema_id == there.schema().schema_id  # type: ignore[union-attr]
    assert there.current_snapshot().parent_snapshot_id == old.snapshot_id  # type: ignore[union-attr]
    assert_iceberg_equals_tables(world, to)
    before = there.scan(snapshot_id=old.snapshot_id).to_arrow()
    assert before.num_rows == 80
    assert not set(before.column_names) & set(added)
    assert snapshots(world, to)["run_tools"] == 1


def test_a_column_that_is_not_written_is_refused(
    world: Engine, to: Path, catalog: Catalog
) -> None:
    exported_to_iceberg(world, to)
    with stored(catalog, "runs").update_schema() as update:
        update.add_column("mine", StringType())
    assert refused(world, to) == (
        "The table runtide.runs has a column mine, which this version of runtide does not"
        " write; install the version that does, drop the column, or name another namespace"
        " in [[exports]]."
    )


def test_a_column_of_another_type_is_refused(
    world: Engine, to: Path, catalog: Catalog
) -> None:
    exported_to_iceberg(world, to)
    with stored(catalog, "threads").update_schema() as update:
        update.update_column("consecutive_errors", LongType())
    assert refused(world, to) == (
        "The column consecutive_errors of the table runtide.threads is long, but runtide"
        " writes int; name another namespace in [[exports]]."
    )


# Others ------------------------------------------------------------------------------


def test_a_foreign_table_of_the_same_name_is_refused(
    world: Engine, to: Path, catalog: Catalog
) -> None:
    catalog.create_namespace(NAMESPACE)
    catalog.create_table((NAMESPACE, "run_tools"), pa.schema([("x", pa.string())]))
    assert refused(world, to) == (
        "The catalog 'runtide' has a table runtide.run_tools that no export has made; name"
        " another namespace in [[exports]]."
    )


def test_rows_that_somebody_else_changed_are_told_and_mended_with_full(
    world: Engine, to: Path, catalog: Catalog
) -> None:
    exported_to_iceberg(world, to)
    there = stored(catalog, "runs")
    there.delete("run_id = 'run_a09_3'")
    snapshot = there.current_snapshot()
    assert snapshot is not None
    assert refused(world, to) == (
        "The table runtide.runs was changed by somebody else in its snapshot"
        f" {snapshot.snapshot_id}; write everything anew with --full, or roll the table"
        " back."
    )
    exported_to_iceberg(world, to, is_full=True)
    assert_iceberg_equals_tables(world, to)


def test_tables_of_another_warehouse_are_not_written(
    world: Engine, to: Path, tmp_path: Path
) -> None:
    exported_to_iceberg(world, to)
    assert refused(world, tmp_path / "other") == (
        f"The table runtide.runs lies in file://{to}/runtide/runs, not in"
        f" {tmp_path}/other; export there, or name another namespace in [[exports]]."
    )


def test_one_export_at_a_time_goes_to_a_namespace(
    world: Engine, to: Path, catalog: Catalog
) -> None:
    place = IcebergTables(catalog, NAMESPACE, f"file://{to}", str(to))
    with alone(world, place), pytest.raises(HeldError) as caught:
        exported_to_iceberg(world, to)
    assert str(caught.value) == (
        f"Another export to {to} is at work, so this one did nothing; run it again when"
        " that one has ended."
    )


def overtaken(
    world: Engine, to: Path, monkeypatch: pytest.MonkeyPatch, between: object
) -> None:
    """Export while something happens to the tables between their look and their commit."""

    def late(self: IcebergTables, *rest: object) -> None:
        if not done:
            done.append(True)
            between()  # type: ignore[operator]
        publish(self, *rest)  # type: ignore[arg-type]

    done: list[bool] = []
    publish = IcebergTables.publish
    with monkeypatch.context() as patched:
        patched.setattr(IcebergTables, "publish", late)
        exported_to_iceberg(world, to)


def test_an_export_that_was_overtaken_commits_nothing_and_leaves_no_files(
    world: Engine, to: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As from a standby, which knows nothing of the primary's locks."""
    exported_to_iceberg(world, to)
    execute(world, inserted("late", MONTHS[0], 5))
    keys = iter((1, 2, 3))
    monkeypatch.setattr("etl.warehouse.holding.lock_key", lambda _: next(keys))
    before = set(to.rglob("*.parquet"))
    with pytest.raises(DestinationError) as caught:
        overtaken(world, to, monkeypatch, lambda: exported_to_iceberg(world, to))
    assert str(caught.value) == (
        "The table runtide.runs was changed by somebody else while this export wrote its"
        " files; this export did not touch it, run it again."
    )
    assert len(set(to.rglob("*.parquet")) - before) == 3  # those of the other
    assert snapshots(world, to)["runs"] == 2
    assert_iceberg_equals_tables(world, to)


def compacted(there: Stored) -> None:
    """As engines do that make few large files of many: the same rows, a replacement.

    PyIceberg cannot do it; its snapshot gets the name of the operation here.
    """
    transaction = there.transaction()
    files = [each.file for each in there.scan().plan_files()]
    rows = there.scan().to_arrow()
    with transaction.update_snapshot().overwrite() as snapshot:
        for each in files:
            snapshot.delete_data_file(each)
        for new in _dataframe_to_data_files(
            table_metadata=transaction.table_metadata, df=rows, io=there.io
        ):
            snapshot.append_data_file(new)
    transaction._updates = tuple(map(as_replacement, transaction._updates))
    transaction.commit_transaction()


def as_replacement(update: TableUpdate) -> TableUpdate:
    if not isinstance(update, AddSnapshotUpdate) or update.snapshot.summary is None:
        return update
    facts = update.snapshot.summary.additional_properties
    summary = Summary(Operation.REPLACE, **facts)
    snapshot = update.snapshot.model_copy(update={"summary": summary})
    return update.model_copy(update={"snapshot": snapshot})


@pytest.mark.parametrize("when", ["before", "meanwhile"])
def test_a_compaction_is_no_hindrance(
    world: Engine, to: Path, monkeypatch: pytest.MonkeyPatch, catalog: Catalog, when: str
) -> None:
    exported_to_iceberg(world, to)
    execute(world, inserted("late", MONTHS[0], 5))
    if when == "before":
        compacted(stored(catalog, "runs"))
        done = exported_to_iceberg(world, to)
        assert (done.months_rewritten, done.rows) == (1, 100)
    else:
        overtaken(world, to, monkeypatch, lambda: compacted(stored(catalog, "runs")))
    assert snapshots(world, to)["runs"] == 3
    assert_iceberg_equals_tables(world, to)


def test_a_position_that_has_expired_is_told_and_all_is_written_anew(
    world: Engine, to: Path, catalog: Catalog
) -> None:
    exported_to_iceberg(world, to)
    there = stored(catalog, "runs")
    compacted(there)
    there.maintenance.expire_snapshots().older_than(datetime.now(UTC)).commit()
    assert exported_to_iceberg(world, to).reason == (
        "The snapshot of the last export to runtide.runs has expired, so everything is"
        " written anew."
    )
    assert_iceberg_equals_tables(world, to)


def test_a_folder_that_is_a_file_is_told(world: Engine, to: Path) -> None:
    to.write_text("")
    said = refused(world, to)
    assert said.startswith(f"{to} cannot be read: ")
    assert said.endswith("Tables that are not committed stand as they were.")
    with world.connect() as connection:
        there = connection.scalar(
            sa.text("SELECT count(*) FROM run_iceberg.iceberg_tables")
        )
    assert there == 0
