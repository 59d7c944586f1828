"""An import: the same rows as from the API, whatever the files' shape and order."""

import gzip
import json
import threading
from collections.abc import Callable, Iterable
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Engine

from etl.config import Config, DatabaseConfig, PrivacyConfig, Settings, SourceConfig
from etl.demo.server import DemoServer
from etl.demo.world import World
from etl.domain.errors import ConfigError, HeldError
from etl.domain.importing import ImportReport
from etl.domain.outcome import Outcome
from etl.domain.run import SECOND, Instant, ThreadId
from etl.load.database import opened
from etl.load.holding import holding
from etl.load.threads import record_source
from etl.load.tracking import track
from etl.warehouse import Format
from etl.wiring import replay
from etl.wiring.forgetting import forget
from etl.wiring.importing import Wanted, run_import, try_import
from tests.conftest import as_text
from tests.e2e.copied import DICTIONARIES, WRITTEN
from tests.integration.builders import NOW_SECONDS, a_payload, query, rows
from tests.integration.exported import exported_to
from tests.integration.serving import RunsServer
from tests.integration.syncing import Syncer


class Unwatched:
    def progressed(self, report: ImportReport) -> None:
        """Look away."""


class Stopping:
    """Asks to stop after so many batches."""

    def __init__(self, stop: threading.Event, *, after: int) -> None:
        self._stop = stop
        self._left = after

    def progressed(self, report: ImportReport) -> None:
        self._left -= 1
        if self._left <= 0:
            self._stop.set()


class Importer:
    """Files of one source, imported over and over."""

    def __init__(self, engine: Engine, folder: Path, **source: Any) -> None:
        self.engine = engine
        self.folder = folder
        told = {"name": "demo", "kind": "archive"} | source
        self.settings = Settings(
            path=folder / "config.toml",
            config=Config(
                database=DatabaseConfig(url=as_text(engine.url)),
                sources=(SourceConfig(**told),),
            ),
            environment={"HASH_KEY": "secret"},
        )

    def write(self, name: str, *payloads: Any) -> str:
        """A file of JSON Lines."""
        path = self.folder / name
        path.write_text("".join(json.dumps(each) + "\n" for each in payloads))
        return str(path)

    def __call__(self, *paths: str, **wanted: Any) -> ImportReport:
        return self._act(run_import, paths, wanted)

    def tried(self, *paths: str, **wanted: Any) -> ImportReport:
        return self._act(try_import, paths, wanted)

    def _act(
        self, act: Callable[..., ImportReport], paths: tuple[str, ...], wanted: Any
    ) -> ImportReport:
        return act(
            self.settings,
            Wanted(paths=paths, **wanted),
            watch=lambda *_: nullcontext(Unwatched()),
            stop=threading.Event(),
        )

    def stopped(self, path: str, *, after: int) -> ImportReport:
        stop = threading.Event()
        return run_import(
            self.settings,
            Wanted(paths=[path]),
            watch=lambda *_: nullcontext(Stopping(stop, after=after)),
            stop=stop,
        )


@pytest.fixture
def engine(swept_engine: Engine) -> Engine:
    return swept_engine


@pytest.fixture
def importer(engine: Engine, tmp_path: Path) -> Importer:
    return Importer(engine, tmp_path)


def figures(report: ImportReport) -> tuple[int, ...]:
    """Created, updated, unchanged, left, rejects."""
    return (
        report.runs_created,
        report.runs_updated,
        report.runs_unchanged,
        report.runs_left,
        report.rejects,
    )


def statuses(engine: Engine) -> list[tuple[Any, ...]]:
    return query(engine, "SELECT run_id, status FROM run_history.runs ORDER BY 1")


def written(engine: Engine) -> list[list[tuple[Any, ...]]]:
    """All that does not depend on how, or when, it was read."""
    without_source = WRITTEN.replace("ARRAY[", "ARRAY['source_id', ", 1)
    return [sorted(query(engine, each)) for each in (without_source, *DICTIONARIES)]


def a_run(run_id: str = "run_1", **fields: Any) -> dict[str, Any]:
    """A run that says which thread it is of, as one in a file must."""
    return a_payload(run_id, **{"thread_id": "thread_a", **fields})


TOO_LONG = "zz_" + Random(1).randbytes(6_000).hex()  # noqa: S311  # any will do
"""An id that no index of Postgres holds, compressed or not."""

OPEN: dict[str, Any] = {
    "status": "in_progress",
    "created_at": NOW_SECONDS - 3_600,
    "started_at": NOW_SECONDS - 3_590,
    "usage": None,
}
ENDED = {**OPEN, "status": "completed", "completed_at": NOW_SECONDS - 3_500}


# the same rows --------------------------------------------------------------------------


@dataclass(frozen=True)
class Synced:
    """A history that came by the API, and its payloads."""

    engine: Engine
    payloads: list[Any]


def in_lines(payloads: Iterable[Any], folder: Path) -> None:
    text = "".join(json.dumps(each) + "\n" for each in payloads)
    (folder / "runs.jsonl.gz").write_bytes(gzip.compress(text.encode()))


def in_pages(payloads: Iterable[Any], folder: Path) -> None:
    """One list answer a file, of three runs each, newest first."""
    runs = sorted(payloads, key=lambda each: -each["created_at"])
    for at in range(0, len(runs), 3):
        page = {"object": "list", "data": runs[at : at + 3], "has_more": True}
        (folder / f"page_{at}.json").write_text(json.dumps(page, indent=2))


def by_thread(payloads: Iterable[Any], folder: Path) -> None:
    threads: dict[str, list[Any]] = {}
    for each in payloads:
        threads.setdefault(each["thread_id"], []).append(each)
    (folder / "dump").write_text(json.dumps(threads))


@pytest.mark.parametrize("shape", [in_lines, in_pages, by_thread])
def test_the_same_history_by_api_and_by_files_gives_the_same_tables(
    engine: Engine,
    synced: Synced,
    tmp_path: Path,
    shape: Callable[[Iterable[Any], Path], None],
) -> None:
    shape(synced.payloads, tmp_path)

    report = Importer(engine, tmp_path)(str(tmp_path))

    assert figures(report) == (len(synced.payloads), 0, 0, 0, 0)
    assert written(engine) == written(synced.engine)


def test_what_was_exported_and_imported_again_gives_the_same_tables(
    engine: Engine, synced: Synced, tmp_path: Path
) -> None:
    exported_to(synced.engine, tmp_path / "exported", form=Format.JSONL)

    report = Importer(engine, tmp_path)(str(tmp_path / "exported"))

    assert figures(report) == (len(synced.payloads), 0, 0, 0, 0)
    assert (report.troubles, dict(report.others)) == ([], {"manifest of an export": 1})
    assert written(engine) == written(synced.engine)


@pytest.fixture
def synced(second_swept: Engine, data: Path) -> Synced:
    """The recorded runs and a part of the demo world, synced."""
    lines = (data / "recorded_runs.jsonl").read_text("utf-8").splitlines()
    recorded = RunsServer(list(map(json.loads, lines)))
    recorded.moment = recorded.moments[-1]
    world = World(threads=6, runs=40)
    with DemoServer(world, now=world.now) as api, recorded.listening() as base_url:
        for name, url, threads in (
            ("demo", api.base_url, api.thread_ids),
            ("recorded", base_url, recorded.thread_ids),
        ):
            syncer = Syncer(second_swept, url, name=name)
            syncer.track(threads)
            assert syncer.sync().outcome is Outcome.SUCCEEDED
    payloads = [*world.all_payloads(at=world.now), *recorded.payloads().values()]
    return Synced(second_swept, payloads)


@pytest.fixture
def second_swept(admin: Engine, server_url: Any, template: str) -> Any:
    """One more database, for a history that came another way."""
    from tests.conftest import _database  # noqa: PLC0415

    urls = _database(admin, server_url, template)
    with opened(next(urls)) as engine:
        yield engine
    next(urls, None)


def test_importing_twice_changes_nothing(importer: Importer, engine: Engine) -> None:
    path = importer.write("runs.jsonl", a_run("run_1"), a_run("run_2"), {"object": "x"})
    first = importer(path)
    before = rows(engine, "run_history", "run_analytics")

    passed_over, read_again = importer(path), importer(path, again=True)

    assert figures(first) == (2, 0, 0, 0, 0)
    assert (passed_over.files_known, passed_over.runs_read) == (1, 0)
    assert (read_again.files_known, figures(read_again)) == (0, (0, 0, 2, 0, 0))
    assert rows(engine, "run_history", "run_analytics") == before


# what a reading is worth ----------------------------------------------------------------


@pytest.mark.parametrize(
    "order", ["open first", "ended first", "one file", "one file, back"]
)
def test_an_ended_run_wins_over_its_open_state_in_any_order(
    importer: Importer, engine: Engine, order: str
) -> None:
    both = [a_run(**OPEN), a_run(**ENDED)]
    if "ended" in order or "back" in order:
        both.reverse()
    if "file" in order:
        importer(importer.write("runs.jsonl", *both))
    else:
        for number, each in enumerate(both):
            importer(importer.write(f"{number}.json", each))

    assert statuses(engine) == [("run_1", "completed")]


def test_a_fetch_from_the_api_is_never_overwritten_by_an_older_file(
    engine: Engine, tmp_path: Path
) -> None:
    server = RunsServer([a_run(**ENDED, metadata={"is": "new"})])
    with server.listening() as base_url:
        syncer = Syncer(engine, base_url)
        syncer.track(["thread_a"])
        importer = Importer(engine, tmp_path, kind="openai", base_url=base_url)
        path = importer.write("old.jsonl", a_run(**ENDED, metadata={"is": "old"}))

        before = importer(path)
        syncer.sync()
        after = importer(path, again=True)

    assert figures(before) == (1, 0, 0, 0, 0)
    assert figures(after) == (0, 0, 0, 1, 0)
    assert query(engine, "SELECT metadata->>'is' FROM run_history.runs") == [("new",)]


def test_a_file_that_proves_what_happened_after_the_fetch_wins(
    engine: Engine, importer: Importer
) -> None:
    importer(importer.write("open.jsonl", a_run(**OPEN)))
    query_at = "UPDATE run_history.runs SET changed_at = to_timestamp(:at) RETURNING 1"
    with engine.begin() as connection:  # as if the API had been asked a moment later
        connection.execute(sa.text(query_at), {"at": NOW_SECONDS - 3_550})

    report = importer(importer.write("ended.jsonl", a_run(**ENDED)))

    assert figures(report) == (0, 1, 0, 0, 0)
    assert statuses(engine) == [("run_1", "completed")]


def test_the_end_of_a_run_wins_over_its_open_state_whatever_the_clocks_say(
    engine: Engine, importer: Importer
) -> None:
    importer(importer.write("open.jsonl", a_run(**OPEN)))
    with engine.begin() as connection:  # a database's clock that is ahead of the server's
        connection.execute(
            sa.text("UPDATE run_history.runs SET changed_at = to_timestamp(:at)"),
            {"at": NOW_SECONDS - 1},
        )
    ended = importer.write("ended.jsonl", a_run(**ENDED))

    trial = importer.tried(ended)
    report = importer(ended)
    again = importer(importer.write("open again.jsonl", a_run(**OPEN)))

    assert figures(trial) == figures(report) == (0, 1, 0, 0, 0)
    assert figures(again) == (0, 0, 0, 1, 0)
    assert statuses(engine) == [("run_1", "completed")]


def test_a_server_whose_clock_is_ahead_does_not_make_a_file_newer(
    engine: Engine, importer: Importer
) -> None:
    importer(importer.write("new.jsonl", a_run(**ENDED, metadata={"is": "new"})))
    with engine.begin() as connection:  # fetched before it ended, by the database's clock
        connection.execute(
            sa.text(
                "UPDATE run_history.runs SET changed_at = completed_at - interval '5 s'"
            )
        )
    old = importer.write("old.jsonl", a_run(**ENDED, metadata={"is": "old"}))

    assert figures(importer.tried(old)) == figures(importer(old)) == (0, 0, 0, 1, 0)
    assert query(engine, "SELECT metadata->>'is' FROM run_history.runs") == [("new",)]


def test_an_instant_of_the_far_future_does_not_lock_the_row(
    engine: Engine, tmp_path: Path
) -> None:
    lie = a_run(**{**ENDED, "completed_at": 99_999_999_999})
    with RunsServer([a_run(**ENDED)]).listening() as base_url:
        importer = Importer(engine, tmp_path, kind="openai", base_url=base_url)
        importer(importer.write("lie.jsonl", lie))
        syncer = Syncer(engine, base_url)
        syncer.track(["thread_a"])
        report = syncer.sync()

    assert (report.runs_created, report.runs_updated) == (0, 1)
    assert query(
        engine, "SELECT extract(year FROM completed_at) FROM run_history.runs"
    ) == [(2026,)]


def test_files_that_were_saved_later_may_say_so(importer: Importer, engine: Engine) -> None:
    importer(importer.write("first.jsonl", a_run(**ENDED, metadata={"is": "first"})))
    edited = importer.write("edited.jsonl", a_run(**ENDED, metadata={"is": "edited"}))

    silent = importer(edited)
    told = importer(edited, saved_at=Instant((NOW_SECONDS - 60) * SECOND))

    assert (figures(silent), figures(told)) == ((0, 0, 0, 1, 0), (0, 1, 0, 0, 0))
    assert query(engine, "SELECT metadata->>'is' FROM run_history.runs") == [("edited",)]


# threads --------------------------------------------------------------------------------


def test_tracked_threads_learn_of_their_runs_and_keep_their_bookmark(
    engine: Engine, importer: Importer
) -> None:
    source_id = record_source(engine, name="demo", kind="archive", base_url=None)
    track(engine, source_id, [ThreadId("thread_a")])

    report = importer(
        importer.write("runs.jsonl", a_run("run_1"), a_run("run_2", thread_id="thread_b"))
    )

    assert report.threads_tracked == 0
    assert query(
        engine,
        "SELECT thread_id, runs_seen, extract(epoch FROM last_run_at)::bigint,"
        " synced_through, read_at FROM run_sync.threads",
    ) == [("thread_a", 1, NOW_SECONDS - 3_600, None, None)]


def test_threads_that_are_found_can_be_tracked(engine: Engine, tmp_path: Path) -> None:
    importer = Importer(engine, tmp_path, kind="openai", base_url="http://localhost/v1")
    path = importer.write(
        "runs.jsonl", a_run("run_1"), a_run("run_2", thread_id="thread_b")
    )

    first, second = importer(path, track=True), importer(path, track=True)

    assert (first.threads_tracked, second.threads_tracked) == (2, 0)
    assert query(
        engine, "SELECT thread_id, runs_seen FROM run_sync.threads ORDER BY 1"
    ) == [
        ("thread_a", 1),
        ("thread_b", 1),
    ]


def test_what_cannot_be_an_id_is_not_tracked(engine: Engine, tmp_path: Path) -> None:
    importer = Importer(engine, tmp_path, kind="openai", base_url="http://localhost/v1")
    odd = ("..", "a\nb", "x" * 300, " a")
    runs = [a_run(f"run_{n}", thread_id=each) for n, each in enumerate(odd)]

    report = importer(importer.write("runs.jsonl", *runs, a_run("run_9")), track=True)

    assert (report.threads_tracked, report.runs_created) == (1, 5)
    assert query(engine, "SELECT thread_id FROM run_sync.threads") == [("thread_a",)]


def test_threads_of_a_file_that_was_taken_in_in_part_are_tracked(
    engine: Engine, tmp_path: Path
) -> None:
    importer = Importer(engine, tmp_path, kind="openai", base_url="http://localhost/v1")
    path = Path(importer.write("runs.jsonl", a_run("run_1")))
    path.write_text(path.read_text() + '{"id": "run_2"')

    importer(str(path))
    report = importer(str(path), track=True)

    assert (report.outcome, report.threads_tracked) == (Outcome.PARTIAL, 1)


def test_the_threads_of_an_archive_cannot_be_tracked(importer: Importer) -> None:
    with pytest.raises(ConfigError) as caught:
        importer(importer.write("runs.jsonl"), track=True)

    assert str(caught.value) == (
        "Source 'demo' is an archive and has no server to ask for threads; leave --track"
        " out."
    )


def test_forgotten_threads_stay_out_and_so_does_the_name_of_their_file(
    engine: Engine, importer: Importer
) -> None:
    path = importer.write("thread_a.jsonl", a_run("run_1"), a_run("run_2", status=None))
    importer(path)
    forget(
        importer.settings, thread=ThreadId("thread_a"), source=None, confirm=lambda _: True
    )

    tried = importer.tried(path)
    other = a_run("run_3", thread_id="thread_b")
    report = importer(importer.write("all.jsonl", a_run("run_1"), other))

    assert (tried.runs_kept_out, report.runs_kept_out) == (2, 1)
    assert statuses(engine) == [("run_3", "completed")]
    assert query(engine, "SELECT thread_id FROM run_sync.rejects") == []
    assert "thread_a" not in str(rows(engine))


# quarantine -----------------------------------------------------------------------------


def test_what_cannot_be_a_run_goes_to_quarantine_with_its_thread(
    engine: Engine, importer: Importer
) -> None:
    nobody = {key: value for key, value in a_run("run_3").items() if key != "thread_id"}
    report = importer(
        importer.write(
            "runs.jsonl",
            a_run("run_1"),
            a_run("run_2", status=None),
            nobody,
            a_run(TOO_LONG),
        )
    )

    assert (report.outcome, figures(report)) == (Outcome.SUCCEEDED, (1, 0, 0, 0, 3))
    found = query(
        engine,
        "SELECT thread_id, left(run_id, 5), split_part(reason, ':', 1),"
        " extract(epoch FROM last_seen_at)::bigint FROM run_sync.rejects ORDER BY 2",
    )
    assert found == [
        ("thread_a", "run_2", "status is missing or is no text", NOW_SECONDS - 3_600),
        ("", "run_3", "the payload names no thread", NOW_SECONDS - 3_600),
        ("thread_a", TOO_LONG[:5], "the database refused the run", NOW_SECONDS - 3_600),
    ]
    assert replay(importer.settings, source=None).replayed == 0


def test_a_damaged_copy_of_a_run_that_is_known_whole_does_not_wait(
    engine: Engine, importer: Importer
) -> None:
    damaged = importer.write("damaged.jsonl", a_run(**{**ENDED, "status": None}))

    before = importer(damaged)
    importer(importer.write("whole.jsonl", a_run(**ENDED)))
    after = importer(damaged, again=True)

    assert (before.rejects, after.rejects) == (1, 0)
    assert query(engine, "SELECT * FROM run_sync.rejects WHERE replayed_at IS NULL") == []
    assert statuses(engine) == [("run_1", "completed")]


def test_drift_is_noted_and_privacy_comes_before_everything(
    engine: Engine, tmp_path: Path
) -> None:
    privacy = PrivacyConfig(instructions="hash", metadata="omit", hash_key_env="HASH_KEY")
    importer = Importer(engine, tmp_path, privacy=privacy)

    importer(
        importer.write(
            "runs.jsonl", a_run("run_1", news=1), a_run("run_2", status=None, news=1)
        )
    )

    stored = str(rows(engine))
    assert "Be brief." not in stored
    assert "T-1" not in stored
    assert query(engine, "SELECT path, example_run_id FROM run_sync.drift") == [
        ("news", "run_1")
    ]


def test_credentials_of_tools_do_not_come_in_by_files(
    engine: Engine, importer: Importer
) -> None:
    secret = {"Authorization": "Bearer s3cr3t"}
    resources = {"mcp": [{"server_label": "git", "headers": secret}]}

    importer(
        importer.write(
            "runs.jsonl",
            a_run("run_1", tool_resources=resources),
            a_run("run_2", status=None, tool_resources=resources),
        )
    )

    assert query(engine, "SELECT count(*) FROM run_history.runs") == [(1,)]
    assert "s3cr3t" not in str(rows(engine))


# going on, trying, holding --------------------------------------------------------------


def test_an_import_that_was_stopped_goes_on_where_it_was(
    engine: Engine, importer: Importer
) -> None:
    path = importer.write("runs.jsonl", *(a_run(f"run_{n}") for n in range(5_000)))

    stopped = importer.stopped(path, after=1)
    noted = query(engine, "SELECT payloads, finished_at FROM run_sync.imports")
    report = importer(path)

    assert (stopped.outcome, stopped.runs_created) == (Outcome.INTERRUPTED, 2_000)
    assert noted == [(2_000, None)]
    assert (report.files_resumed, figures(report)) == (1, (3_000, 0, 0, 0, 0))
    assert query(engine, "SELECT count(*) FROM run_history.runs") == [(5_000,)]


def test_a_file_that_has_changed_since_is_read_from_its_start(importer: Importer) -> None:
    importer(importer.write("runs.jsonl", a_run("run_1")))

    report = importer(importer.write("runs.jsonl", a_run("run_1"), a_run("run_2")))

    assert (report.files_known, figures(report)) == (0, (1, 0, 1, 0, 0))


def test_damage_is_told_every_time(importer: Importer, engine: Engine) -> None:
    path = Path(importer.write("runs.jsonl", a_run("run_1"), a_run("run_2")))
    path.write_text(path.read_text()[:-40])

    first, second = importer(str(path)), importer(str(path))

    assert (first.outcome, first.runs_created) == (Outcome.PARTIAL, 1)
    assert first.troubles == [
        f"{path} ends in the middle of line 2; 1 run before it is imported."
    ]
    assert (second.outcome, second.troubles_count) == (Outcome.PARTIAL, 1)


def test_a_trial_tells_what_would_be_done_and_writes_nothing_at_all(
    importer: Importer, engine: Engine
) -> None:
    fresh = importer.tried(importer.write("new.jsonl", a_run("run_1")))
    assert figures(fresh) == (1, 0, 0, 0, 0)
    assert not any(rows(engine, "run_sync", "run_history").values())
    importer(importer.write("old.jsonl", a_run("run_1", **OPEN), a_run("run_2", **ENDED)))
    before = rows(engine)

    report = importer.tried(
        importer.write(
            "both.jsonl",
            a_run("run_1", **ENDED),
            a_run("run_2", **OPEN),
            a_run("run_3"),
            a_run("run_4", status=None),
        )
    )

    assert report.sync_id is None
    assert figures(report) == (1, 1, 0, 1, 1)
    assert rows(engine) == before


def test_an_import_waits_for_nobody_and_disturbs_nobody(
    importer: Importer, engine: Engine
) -> None:
    source_id = record_source(engine, name="demo", kind="archive", base_url=None)
    path = importer.write("runs.jsonl", a_run("run_1"))

    with holding(engine, [source_id], trigger="test"), pytest.raises(HeldError):
        importer(path)

    assert statuses(engine) == []
    assert importer(path).runs_created == 1
