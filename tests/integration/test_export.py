"""What an export writes, what it leaves alone, and what it refuses."""

import resource
import signal
from contextlib import AbstractContextManager
from decimal import Decimal
from pathlib import Path
from time import sleep

import duckdb
import polars as pl
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pytest
from sqlalchemy.engine import Engine

from etl.domain.errors import ConfigError, DatabaseError, DestinationError, HeldError
from etl.load.database import opened
from etl.warehouse import MANIFEST, Format, destination_at
from etl.warehouse.columns import TABLES
from etl.warehouse.destination import BESIDE
from etl.warehouse.holding import alone
from etl.warehouse.local import Folder
from etl.warehouse.sink import Sink
from tests.integration.builders import execute, query
from tests.integration.exported import (
    AT,
    MONTHS,
    assert_equal_to_tables,
    by_month,
    exported_to,
    files_of,
    inserted,
    lines_at,
    make_world,
    manifest_at,
    payloads_of,
    rewritten,
)

RUN_TABLES = ("runs", "run_tools", "run_costs")


@pytest.fixture
def world(swept_engine: Engine) -> Engine:
    make_world(swept_engine)
    return swept_engine


@pytest.fixture
def to(tmp_path: Path) -> Path:
    return tmp_path / "warehouse"


def changes(engine: Engine, to: Path, *statements: str) -> set[tuple[str, ...]]:
    """What the next export rewrites after some statements; it equals the tables then."""
    before = by_month(to)
    execute(engine, *statements)
    exported_to(engine, to)
    assert_equal_to_tables(engine, to)
    return rewritten(before, by_month(to))


def test_every_column_of_the_tables_is_exported(world: Engine) -> None:
    asked = (
        "SELECT attname FROM pg_attribute WHERE attrelid = CAST(:name AS regclass)"
        " AND attnum > 0 AND NOT attisdropped ORDER BY attnum"
    )
    for table in TABLES:
        there = [name for (name,) in query(world, asked, name=table.rows)]
        in_path = [name for name in there if name != "source"]
        assert [each.name for each in table.columns] == in_path, table.name


# Readers ---------------------------------------------------------------------


def test_duckdb_polars_and_pyarrow_get_the_sums_of_sql(world: Engine, to: Path) -> None:
    exported_to(world, to)
    costs = files_of(to, "run_costs")
    expected = query(
        world,
        "SELECT source, to_char(created_at AT TIME ZONE 'UTC', 'YYYY-MM'), count(*),"
        " sum(input_tokens), sum(cost_usd) FROM run_analytics.run_costs"
        " GROUP BY 1, 2 ORDER BY 1, 2",
    )
    assert [row[:3] for row in expected] == [
        ("2", "2026-10", 20),
        ("one", "2026-09", 20),
        ("one", "2026-10", 20),
        ("one", "2026-11", 20),
    ]
    by_duckdb = duckdb.sql(
        "SELECT source, month, count(*), sum(input_tokens), sum(cost_usd)"
        f" FROM read_parquet({costs}, hive_partitioning = true,"
        " hive_types_autocast = false) GROUP BY 1, 2 ORDER BY 1, 2"
    ).fetchall()
    by_polars = (
        pl.scan_parquet(costs, hive_schema={"source": pl.String, "month": pl.String})
        .group_by("source", "month")
        .agg(pl.len(), pl.col("input_tokens").sum(), pl.col("cost_usd").sum())
        .sort("source", "month")
        .collect()
        .rows()
    )
    arrow = ds.dataset(costs, format="parquet").to_table()
    assert by_duckdb == expected
    assert by_polars == expected
    assert pc.sum(arrow["cost_usd"]).as_py() == sum(row[4] for row in expected)
    assert isinstance(by_duckdb[0][4], Decimal)


def test_lists_keep_their_lengths_in_every_reader(world: Engine, to: Path) -> None:
    exported_to(world, to)
    files = files_of(to, "runs")
    name = "code_interpreter_file_ids"
    [(filled, empty, null)] = query(
        world,
        f"SELECT sum(cardinality({name})), count(*) FILTER (WHERE cardinality({name}) = 0),"
        f" count(*) FILTER (WHERE {name} IS NULL) FROM run_history.runs",
    )
    assert (filled, empty, null) == (48, 28, 28)
    in_duckdb = duckdb.sql(
        f"SELECT sum(len({name})), count(*) FILTER (WHERE len({name}) = 0),"
        f" count(*) FILTER (WHERE {name} IS NULL) FROM read_parquet({files})"
    ).fetchall()
    lengths = pl.scan_parquet(files).select(pl.col(name).list.len()).collect()[name]
    in_arrow = pc.list_value_length(ds.dataset(files, format="parquet").to_table()[name])
    assert in_duckdb == [(filled, empty, null)]
    assert (lengths.sum(), (lengths == 0).sum(), lengths.null_count()) == in_duckdb[0]
    assert (pc.sum(in_arrow).as_py(), in_arrow.null_count) == (filled, null)


def test_a_long_month_becomes_several_files(
    world: Engine, to: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("etl.warehouse.reading.BATCH_BYTES", 20_000)
    monkeypatch.setattr("etl.warehouse.parquet.GROUP_BYTES", 1)
    execute(world, inserted("many", MONTHS[0], 500))
    exported_to(world, to, file_bytes=1)
    assert len(by_month(to)["runs", "one", "2026-09"]) > 1
    assert_equal_to_tables(world, to)


# What is rewritten -------------------------------------------------------------


def test_nothing_is_written_where_nothing_has_changed(world: Engine, to: Path) -> None:
    first = exported_to(world, to)
    told = (to / MANIFEST).read_bytes()
    again = exported_to(world, to)
    assert (first.months_rewritten, first.months, first.rows) == (5, 5, 326)
    assert (again.months_rewritten, again.rows, again.files) == (0, 0, 0)
    assert (to / MANIFEST).read_bytes() == told
    assert_equal_to_tables(world, to)


def test_a_watermark_that_moved_makes_a_new_manifest_alone(world: Engine, to: Path) -> None:
    exported_to(world, to)
    before = manifest_at(to)
    execute(world, "DELETE FROM run_sync.threads WHERE source_id = 2")
    exported_to(world, to)
    execute(world, "UPDATE run_sync.sources SET kind = 'archive' WHERE source_id = 2")
    between = manifest_at(to)
    exported_to(world, to)
    assert before.complete_through == AT.replace(hour=2)
    assert manifest_at(to).freshness != between.freshness
    assert manifest_at(to).tables == between.tables


def test_a_changed_month_is_rewritten_whole_and_no_other(world: Engine, to: Path) -> None:
    exported_to(world, to)
    assert changes(world, to, inserted("late", MONTHS[0], 5)) == {
        (table, "one", "2026-09") for table in RUN_TABLES
    }


def test_a_month_without_rows_any_more_is_gone(world: Engine, to: Path) -> None:
    exported_to(world, to)
    changed = changes(world, to, "DELETE FROM run_history.runs WHERE source_id = 2")
    assert changed == {(table, "2", "2026-10") for table in RUN_TABLES}
    assert not (to / "runs" / "source=2").exists()


def test_tracked_threads_are_rewritten_alone(world: Engine, to: Path) -> None:
    exported_to(world, to)
    untrack = "DELETE FROM run_sync.threads WHERE source_id = 1 AND thread_id = 'thread_1'"
    assert changes(world, to, untrack) == {("threads", "one", "2026-09")}


def test_a_renamed_source_moves_with_its_months(world: Engine, to: Path) -> None:
    exported_to(world, to)
    rename = "UPDATE run_sync.sources SET name = 'a/b' WHERE source_id = 2"
    changed = changes(world, to, rename)
    assert {(source, month) for _, source, month in changed} == {
        ("2", "2026-09"),
        ("2", "2026-10"),
        ("a/b", "2026-09"),
        ("a/b", "2026-10"),
    }
    assert (to / "runs" / "source=a%2Fb" / "month=2026-10").is_dir()


def test_a_source_that_takes_the_name_of_another_takes_none_of_its_months(
    world: Engine, to: Path
) -> None:
    exported_to(world, to)
    moved = changes(
        world,
        to,
        "UPDATE run_sync.sources SET name = 'old' WHERE source_id = 1",
        "INSERT INTO run_sync.sources (source_id, name, kind, base_url)"
        " VALUES (3, 'one', 'openai', 'http://one')",
    )
    assert {source for _, source, _ in moved} == {"one", "old"}


def test_sources_that_swap_names_swap_their_months(world: Engine, to: Path) -> None:
    """Where one transaction had changed both, as a migration does."""
    both = "UPDATE run_history.runs SET metadata = NULL WHERE run_id LIKE '%_3'"
    execute(world, both)
    exported_to(world, to)
    changes(
        world,
        to,
        "UPDATE run_sync.sources SET name = 'third' WHERE source_id = 2",
        "UPDATE run_sync.sources SET name = '2' WHERE source_id = 1",
        "UPDATE run_sync.sources SET name = 'one' WHERE source_id = 2",
    )


PRICE = """
INSERT INTO run_analytics.model_prices
    (provider, model, token_kind, usd_per_million, effective_from, origin)
VALUES ('openai', '{model}', 'input', {usd}, '{since}', 'user'),
       ('openai', '{model}', 'output', {usd}, '{since}', 'user')
"""


@pytest.mark.parametrize(
    ("statement", "months"),
    [
        (
            PRICE.format(model="gpt-4o", usd=3.25, since="2026-10-15"),
            {("one", "2026-10"), ("one", "2026-11"), ("2", "2026-10")},
        ),
        (PRICE.format(model="gpt-4o", usd=1, since="2027-02-01"), set()),
        (
            (
                "INSERT INTO run_analytics.deployments (source_id, name, model)"
                " VALUES (2, 'house-model', 'gpt-4o-mini')"
            ),
            {("2", "2026-10")},
        ),
        (
            "UPDATE run_sync.sources SET price_provider = 'mine' WHERE source_id = 2",
            {("2", "2026-10")},
        ),
        (PRICE.format(model="nobody-uses-it", usd=1, since="2020-01-01"), set()),
    ],
    ids=["in a month", "later", "a name", "the provider", "another model"],
)
def test_prices_rewrite_the_costs_of_the_months_they_hold_in(
    world: Engine, to: Path, statement: str, months: set[tuple[str, str]]
) -> None:
    exported_to(world, to)
    try:
        changed = changes(world, to, statement)
    finally:
        execute(world, "DELETE FROM run_analytics.model_prices WHERE origin = 'user'")
    assert changed == {("run_costs", *each) for each in months}


def test_a_month_dropped_by_hand_stays_until_everything_is_written_anew(
    world: Engine, to: Path
) -> None:
    exported_to(world, to)
    before = by_month(to)
    execute(
        world,
        "DROP TABLE run_history.runs_2026_09",
        PRICE.format(model="gpt-4o", usd=2, since="2026-09-02"),
    )
    try:
        exported_to(world, to)
        kept = rewritten(before, by_month(to))
        exported_to(world, to, is_full=True)
        assert_equal_to_tables(world, to)
    finally:
        execute(world, "DELETE FROM run_analytics.model_prices WHERE origin = 'user'")
    assert ("run_costs", "one", "2026-09") not in kept
    assert ("run_costs", "one", "2026-10") in kept
    assert ("runs", "one", "2026-09") not in by_month(to)


def test_a_file_that_is_gone_or_cut_is_written_anew(world: Engine, to: Path) -> None:
    exported_to(world, to)
    gone, cut = (Path(files_of(to, "runs")[0]), Path(files_of(to, "threads")[0]))
    gone.unlink()
    cut.write_bytes(cut.read_bytes()[:-1])
    exported_to(world, to)
    assert_equal_to_tables(world, to)


def test_another_database_is_written_anew_and_said(
    world: Engine, engine: Engine, to: Path
) -> None:
    exported_to(world, to)
    make_world(engine, runs=2)
    done = exported_to(engine, to)
    assert done.reason == (
        "The last export was made from another database, or from this one before it was"
        " restored or moved, so everything is written anew."
    )
    assert_equal_to_tables(engine, to)


def test_a_database_that_was_set_back_is_written_anew(world: Engine, to: Path) -> None:
    exported_to(world, to)
    manifest = to / MANIFEST
    ahead = manifest_at(to).to_snapshot
    manifest.write_text(
        manifest.read_text().replace(f'"{ahead}"', '"900000000:900000000:"')
    )
    done = exported_to(world, to)
    assert done.reason == (
        "The last export has seen more than this database holds: it was set back, so"
        " everything is written anew."
    )
    assert_equal_to_tables(world, to)


def test_ids_that_a_dump_brought_along_do_not_write_everything_again_and_again(
    world: Engine, to: Path
) -> None:
    """A server that a dump was restored on may count its transactions from far below."""
    execute(world, "UPDATE run_analytics.month_changes SET change_xid = '900000000'")
    exported_to(world, to)
    assert not changes(world, to)
    moved = changes(world, to, inserted("late", MONTHS[0], 3))
    assert {(source, month) for _, source, month in moved} == {("one", "2026-09")}


# JSON Lines ---------------------------------------------------------------------


def test_json_lines_are_the_objects_of_the_api(world: Engine, to: Path) -> None:
    done = exported_to(world, to, form=Format.JSONL)
    assert (done.months_rewritten, done.rows) == (4, 80)
    assert lines_at(to) == payloads_of(world, 1, 2)
    execute(world, "DELETE FROM run_history.runs WHERE run_id = 'run_b_3'")
    again = exported_to(world, to, form=Format.JSONL)
    assert (again.months_rewritten, again.rows) == (1, 19)
    assert lines_at(to) == payloads_of(world, 1, 2)


# Refusals -------------------------------------------------------------------------


def refused(engine: Engine, to: Path | str, **options: object) -> str:
    with pytest.raises(ConfigError) as caught:
        exported_to(engine, to, **options)  # type: ignore[arg-type]
    return str(caught.value)


def test_a_place_with_other_files_is_refused(world: Engine, to: Path) -> None:
    to.mkdir()
    (to / "notes.txt").write_text("mine")
    assert refused(world, to) == (
        f"{to} holds files that are not of an export, such as notes.txt; export to an"
        " empty place, or to one that an export has made."
    )
    assert [path.name for path in to.iterdir()] == ["notes.txt"]


@pytest.mark.parametrize("content", [b"{}", b'{"runtide_export": 1', b"\xff"])
def test_a_manifest_that_is_not_ours_is_refused_and_kept(
    world: Engine, to: Path, content: bytes
) -> None:
    to.mkdir()
    (to / "app.js").write_text("")
    (to / MANIFEST).write_bytes(content)
    said = refused(world, to)
    assert said.startswith(f"{to}/manifest.json is damaged, or not of an export: ")
    assert said.endswith("; write everything anew with --full, or export to another place.")
    assert refused(world, to, is_full=True).startswith(f"{to} holds files that are not")
    assert (to / MANIFEST).read_bytes() == content


def test_a_damaged_manifest_of_ours_is_mended_with_full(world: Engine, to: Path) -> None:
    exported_to(world, to)
    (to / MANIFEST).write_bytes(b"")
    assert "--full" in refused(world, to)
    exported_to(world, to, is_full=True)
    assert_equal_to_tables(world, to)


def test_a_newer_manifest_is_refused(world: Engine, to: Path) -> None:
    to.mkdir()
    (to / MANIFEST).write_text('{"runtide_export": 2}')
    assert refused(world, to, is_full=True) == (
        f"{to}/manifest.json has version 2, this program writes version 1; install a newer"
        " runtide, or export to another place."
    )


def test_another_format_is_refused_unless_all_is_written_anew(
    world: Engine, to: Path
) -> None:
    exported_to(world, to, form=Format.JSONL)
    assert refused(world, to) == (
        f"{to} holds an export as jsonl; export there as jsonl, or write everything anew"
        " as parquet with --full."
    )
    exported_to(world, to, is_full=True)
    assert_equal_to_tables(world, to)


def test_a_scheme_that_nobody_knows_is_refused(world: Engine) -> None:
    assert refused(world, "nowhere://bucket/x") == (
        "Nobody knows how to write to nowhere://; export to a folder, or to s3://, gs://"
        " or abfs://."
    )


@pytest.mark.parametrize("address", ["", " ", "s3://", "memory:///", "file://"])
def test_an_address_without_a_place_is_refused(
    world: Engine, address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such as "$PLACE", which nobody has set: it would be the current folder."""
    monkeypatch.chdir(tmp_path)
    assert refused(world, address) == (
        f"{address!r} names no place to export to; write a folder, or a bucket such as"
        " s3://bucket/runtide."
    )
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("start", ["file://", "FILE://", "file://localhost"])
def test_a_file_url_names_a_folder(world: Engine, to: Path, start: str) -> None:
    exported_to(world, f"{start}{to}")
    assert_equal_to_tables(world, to)


def test_a_scheme_whose_package_is_missing_names_it(world: Engine) -> None:
    assert refused(world, "gs://bucket/x") == (
        "An export to gs:// needs gcsfs, which is not installed; run `pip install gcsfs`."
    )


def test_one_export_at_a_time_goes_to_a_place(world: Engine, to: Path) -> None:
    with alone(world, destination_at(str(to))), pytest.raises(HeldError) as caught:
        exported_to(world, to.parent / "x" / ".." / to.name)
    assert str(caught.value) == (
        f"Another export to {to.parent}/x/../{to.name} is at work, so this one did"
        " nothing; run it again when that one has ended."
    )
    exported_to(world, to)


IMPATIENT = ("idle_in_transaction_session_timeout", "idle_session_timeout")


def test_a_server_that_ends_idle_connections_ends_no_export(
    world: Engine, to: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While one connection reads rows, the lock's and the snapshot's are silent."""

    def slow(destination: Folder, path: str) -> AbstractContextManager[Sink]:
        sleep(0.25)
        return create(destination, path)

    create = Folder.create
    monkeypatch.setattr(Folder, "create", slow)
    user = f'"{world.url.username}"'
    execute(world, *(f"ALTER ROLE {user} SET {each} = '500ms'" for each in IMPATIENT))
    try:
        with opened(world.url.render_as_string(hide_password=False)) as engine:
            exported_to(engine, to)
    finally:
        execute(world, *(f"ALTER ROLE {user} RESET {each}" for each in IMPATIENT))
    assert_equal_to_tables(world, to)


def test_an_export_that_lost_its_lock_publishes_nothing(
    world: Engine, to: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another one may be at work then, and take away what this one's manifest names."""

    def broken(destination: Folder, path: str) -> AbstractContextManager[Sink]:
        execute(
            world,
            "SELECT pg_terminate_backend(pid) FROM pg_locks"
            " WHERE locktype = 'advisory' AND database ="
            " (SELECT oid FROM pg_database WHERE datname = current_database())",
        )
        return create(destination, path)

    create = Folder.create
    monkeypatch.setattr(Folder, "create", broken)
    address = world.url.render_as_string(hide_password=False)
    with opened(address) as engine, pytest.raises(DatabaseError):
        exported_to(engine, to)
    assert not [path for path in to.rglob("*") if path.is_file()]


def test_a_folder_that_is_a_file_is_told(world: Engine, to: Path) -> None:
    to.write_text("")
    with pytest.raises(DestinationError) as caught:
        exported_to(world, to)
    assert str(caught.value) == (
        f"{to} cannot be read: Not a directory; what was exported before still stands."
    )


def test_a_full_disk_leaves_the_export_before(world: Engine, to: Path) -> None:
    """The file system's own refusal, of a file that may not grow."""
    exported_to(world, to)
    before = (to / MANIFEST).read_bytes()
    execute(world, inserted("late", MONTHS[0], 2_000))
    kept = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, kept[1]))
        with pytest.raises(DestinationError) as caught:
            exported_to(world, to)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, kept)
        signal.signal(signal.SIGXFSZ, handler)
    assert str(caught.value) == (
        f"{to} cannot be written: File too large; what was exported before still stands."
    )
    assert (to / MANIFEST).read_bytes() == before
    exported_to(world, to)
    assert_equal_to_tables(world, to)


def test_a_first_export_that_died_at_its_manifest_is_made_again(
    world: Engine, to: Path
) -> None:
    to.mkdir()
    (to / BESIDE).write_text('{"runtide_')
    exported_to(world, to)
    assert_equal_to_tables(world, to)


def test_a_manifest_that_has_no_space_leaves_nothing_behind(to: Path) -> None:
    kept = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1_000, kept[1]))
        with pytest.raises(DestinationError):
            destination_at(str(to)).put(MANIFEST, bytes(5_000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, kept)
        signal.signal(signal.SIGXFSZ, handler)
    assert not list(to.iterdir())


def test_a_cost_that_does_not_fit_is_told_and_not_rounded(world: Engine, to: Path) -> None:
    price = PRICE.format(model="gpt-4o", usd="0.1234567890123456789", since="2026-09-01")
    execute(world, price)
    try:
        with pytest.raises(DatabaseError) as caught:
            exported_to(world, to)
    finally:
        execute(world, "DELETE FROM run_analytics.model_prices WHERE origin = 'user'")
    said = str(caught.value)
    assert said.startswith("A value of cost_usd in 2026-")
    assert "is decimal(38, 18), and is not rounded" in said
    assert not [path for path in to.rglob("*") if path.is_file()]
