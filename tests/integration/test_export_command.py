"""`runtide export`: what it prints, where it takes its places from, who may run it."""

import json
import logging
import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event
from time import monotonic, sleep

import pytest
from sqlalchemy.engine import Engine

from etl.config import ExportConfig, Settings, read_settings
from etl.domain.outcome import Outcome, SyncReport
from etl.load.database import opened
from etl.operations import exporting
from etl.operations.exporting import with_exports
from etl.operations.incidents import Incidents, Notice
from etl.warehouse import MANIFEST, destination_at
from etl.warehouse.holding import alone
from tests.integration.builders import execute
from tests.integration.commands import Runtide
from tests.integration.exported import (
    AT,
    MONTHS,
    assert_equal_to_tables,
    inserted,
    make_world,
    manifest_at,
)
from tests.integration.role_server import Call, OwnedDatabase, granted

THROUGH = "complete through 2026-11-22 02:00 UTC."


@pytest.fixture
def runtide(
    tmp_path: Path, swept_engine: Engine, capsys: pytest.CaptureFixture[str]
) -> Runtide:
    make_world(swept_engine)
    runtide = Runtide(tmp_path, swept_engine, capsys)
    runtide.configure("http://127.0.0.1:9/v1")
    return runtide


def test_the_last_line_says_what_was_written(
    runtide: Runtide, swept_engine: Engine, tmp_path: Path
) -> None:
    to = tmp_path / "out"
    first = runtide("export", "--to", str(to))
    execute(swept_engine, inserted("late", MONTHS[0], 1))
    second = runtide("export", "--to", str(to))
    third = runtide("export", "--to", str(to))
    size = r"[0-9.]+ kB"
    assert (first.code, second.code, third.code) == (0, 0, 0)
    assert re.fullmatch(
        rf"{to}: 5 months of 5 rewritten: 326 rows, 14 files, {size}; {THROUGH}\n",
        first.out,
    )
    assert re.fullmatch(
        rf"{to}: 1 month of 5 rewritten: 84 rows, 3 files, {size}; {THROUGH}\n", second.out
    )
    assert third.out == f"{to}: nothing has changed; {THROUGH}\n"
    assert_equal_to_tables(swept_engine, to)


def test_json_tells_the_same_for_programs(runtide: Runtide, tmp_path: Path) -> None:
    answer = runtide("export", "--to", str(tmp_path / "out"), "--json")
    told = json.loads(answer.out)
    size, export_id = told.pop("bytes"), told.pop("export_id")
    manifest = manifest_at(tmp_path / "out")
    assert told == {
        "to": str(tmp_path / "out"),
        "format": "parquet",
        "months_rewritten": 5,
        "months": 5,
        "rows": 326,
        "files": 14,
        "complete_through": "2026-11-22T02:00:00+00:00",
        "reason": None,
    }
    assert size == sum(file.bytes for file in manifest.files)
    assert export_id == manifest.export_id


def test_without_a_place_those_of_the_file_are_exported_to(
    runtide: Runtide, tmp_path: Path
) -> None:
    nowhere = runtide("export")
    entries = '[[exports]]\nto = "wh"\n[[exports]]\nto = "lines"\nformat = "jsonl"\n'
    runtide.configure("http://127.0.0.1:9/v1", sync=entries)
    answer = runtide("export", "--quiet")
    assert (nowhere.code, nowhere.err) == (
        2,
        (
            "runtide: There is nowhere to export to; name a place with --to, or add"
            f" [[exports]] to {tmp_path}/config.toml.\n"
        ),
    )
    assert (answer.code, answer.out, answer.err) == (0, "", "")
    formats = [manifest_at(tmp_path / name).format for name in ("wh", "lines")]
    assert formats == ["parquet", "jsonl"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            ["--to", "x", "--format", "csv"],
            "There is no format 'csv'; choose parquet, jsonl or iceberg.",
        ),
        (
            ["--format", "jsonl"],
            "--format goes with --to; [[exports]] name formats of their own.",
        ),
    ],
)
def test_wrong_words_are_refused(runtide: Runtide, arguments: list[str], said: str) -> None:
    answer = runtide("export", *arguments)
    assert (answer.code, answer.err) == (2, f"runtide: {said}\n")


def test_a_second_export_at_once_exits_with_75(
    runtide: Runtide, swept_engine: Engine, tmp_path: Path
) -> None:
    with alone(swept_engine, destination_at(str(tmp_path / "out"))):
        answer = runtide("export", "--to", str(tmp_path / "out"))
        quiet = runtide("export", "--to", str(tmp_path / "out"), "--quiet")
    assert (answer.code, answer.err) == (
        75,
        (
            f"runtide: Another export to {tmp_path}/out is at work, so this one did"
            " nothing; run it again when that one has ended.\n"
        ),
    )
    assert (quiet.code, quiet.err) == (75, "")


@pytest.mark.parametrize("kind", ["reader", "writer"])
def test_who_reads_or_syncs_may_export(
    as_role: Call, owned: OwnedDatabase, name: str, tmp_path: Path, kind: str
) -> None:
    """Over TCP, with a password that a URL has to hide."""
    with opened(owned.url()) as engine:
        make_world(engine, runs=5)
        assert granted(as_role, kind, name)[0] == 0
        by_role = as_role("export", "--to", str(tmp_path / "out"), role=name)
        assert (by_role[0], by_role[2]) == (0, "")
        assert_equal_to_tables(engine, tmp_path / "out")
        as_owner = as_role("export", "--to", str(tmp_path / "out"))
        assert as_owner[1] == f"{tmp_path}/out: nothing has changed; {THROUGH}\n"


# After a scheduled sync -------------------------------------------------------------


@pytest.fixture
def notices() -> list[Notice]:
    return []


def synced(settings: Settings, notices: list[Notice], outcome: Outcome) -> SyncReport:
    incidents = Incidents(notices.append, now=lambda: AT)
    report = SyncReport(sync_id=1, outcome=outcome)
    return with_exports(lambda _: report, settings, incidents, Event())(None)


def test_exports_follow_a_sync_unless_it_failed(
    runtide: Runtide, swept_engine: Engine, tmp_path: Path, notices: list[Notice]
) -> None:
    entries = '[[exports]]\nto = "wh"\n'
    runtide.configure("http://127.0.0.1:9/v1", sync=entries)
    settings = read_settings(tmp_path / "config.toml", {})
    synced(settings, notices, Outcome.FAILED)
    synced(settings, notices, Outcome.INTERRUPTED)
    assert not (tmp_path / "wh").exists()
    synced(settings, notices, Outcome.PARTIAL)
    assert_equal_to_tables(swept_engine, tmp_path / "wh")
    assert notices == []


def test_an_export_that_fails_is_told_and_the_next_one_ends_it(
    runtide: Runtide, tmp_path: Path, notices: list[Notice]
) -> None:
    runtide.configure("http://127.0.0.1:9/v1", sync='[[exports]]\nto = "wh"\n')
    settings = read_settings(tmp_path / "config.toml", {})
    incidents = Incidents(notices.append, now=lambda: AT)
    report = SyncReport(sync_id=1, outcome=Outcome.SUCCEEDED)
    sync = with_exports(lambda _: report, settings, incidents, Event())
    (tmp_path / "wh").write_text("")
    assert sync(None) is report
    (tmp_path / "wh").unlink()
    assert sync(None) is report
    assert [(each.event, each.sentence) for each in notices] == [
        (
            "failed",
            (
                f"An export failed: {tmp_path}/wh cannot be read: Not a directory; what was"
                " exported before still stands."
            ),
        ),
        ("recovered", f"Exports to {tmp_path}/wh go well again, after 0 h 0 min."),
    ]


# After anybody's sync ---------------------------------------------------------------

SYNC_ENDED = (
    "INSERT INTO run_sync.syncs (started_at, finished_at, trigger, outcome)"
    " VALUES (clock_timestamp(), clock_timestamp(), 'sync', 'succeeded')"
)
PATIENCE_SECONDS = 60.0  # never decides a test, ends one that hangs


def wait_for(is_so: Callable[[], bool]) -> None:
    until = monotonic() + PATIENCE_SECONDS
    while not is_so():
        assert monotonic() < until
        sleep(0.01)


@pytest.fixture
def following(
    runtide: Runtide,
    tmp_path: Path,
    notices: list[Notice],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> Iterator[Path]:
    """A place that somebody exports to after each sync."""
    monkeypatch.setattr(exporting, "LOOK_SECONDS", 0.01)
    monkeypatch.setattr(exporting, "RETRY_SECONDS", 0.01)
    settings = read_settings(tmp_path / "config.toml", {})
    incidents, stop = Incidents(notices.append, now=lambda: AT), Event()
    caplog.set_level(logging.INFO, logger=exporting.log.name)
    to = tmp_path / "wh"
    entries = [ExportConfig(to=str(to))]
    with ThreadPoolExecutor(1) as pool:
        work = pool.submit(exporting.follow_syncs, settings, entries, incidents, stop)
        try:
            yield to
        finally:
            stop.set()
        work.result()


def test_an_export_follows_each_sync_whoever_makes_it(
    following: Path,
    swept_engine: Engine,
    notices: list[Notice],
    caplog: pytest.LogCaptureFixture,
) -> None:
    wait_for(lambda: caplog.messages.count("export ended") == 1)

    execute(swept_engine, inserted("late", MONTHS[0], 1), SYNC_ENDED)

    wait_for(lambda: caplog.messages.count("export ended") == 2)
    assert_equal_to_tables(swept_engine, following)
    assert notices == []


def test_an_export_that_fails_is_tried_again_without_another_sync(
    following: Path,
    tmp_path: Path,
    swept_engine: Engine,
    notices: list[Notice],
    caplog: pytest.LogCaptureFixture,
) -> None:
    wait_for(lambda: caplog.messages.count("export ended") == 1)
    whole = (following / MANIFEST).rename(tmp_path / "whole.json")
    (following / MANIFEST).write_text("{")
    execute(swept_engine, SYNC_ENDED)
    wait_for(lambda: len(notices) == 1)

    whole.replace(following / MANIFEST)

    wait_for(lambda: len(notices) == 2)
    assert [each.event for each in notices] == ["failed", "recovered"]
    assert_equal_to_tables(swept_engine, following)


def test_everything_anew_after_each_sync_is_refused(
    runtide: Runtide, tmp_path: Path
) -> None:
    answer = runtide("export", "--to", str(tmp_path / "wh"), "--full", "--schedule")

    assert (answer.code, answer.out, answer.err) == (
        2,
        "",
        (
            "runtide: --full and --schedule do not go together; export once with --full,"
            " then stay with --schedule.\n"
        ),
    )
