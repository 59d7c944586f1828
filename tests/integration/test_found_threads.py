"""Threads that a discovery or a file has named: tracked, unless somebody keeps them out."""

from pathlib import Path
from threading import Thread as Worker

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Engine

from etl.domain.batch import SourceId
from etl.domain.found import Found
from etl.domain.run import ThreadId
from etl.load.erasing import erase
from etl.load.forgotten import readmit
from etl.load.threads import record_source
from etl.load.tracking import track, track_found, untrack
from tests.integration.builders import query
from tests.integration.commands import Runtide


@pytest.fixture
def engine(swept_engine: Engine) -> Engine:
    return swept_engine


@pytest.fixture
def source(engine: Engine) -> SourceId:
    return record_source(engine, name="demo", kind="openai", base_url="http://demo")


def ids(*names: str) -> list[ThreadId]:
    return [ThreadId(name) for name in names]


def tracked_now(engine: Engine) -> list[str]:
    rows = query(engine, "SELECT thread_id FROM run_sync.threads ORDER BY thread_id")
    return [thread_id for (thread_id,) in rows]


def noted_now(engine: Engine) -> list[str]:
    rows = query(engine, "SELECT thread_id FROM run_sync.untracked ORDER BY thread_id")
    return [thread_id for (thread_id,) in rows]


def forget(engine: Engine, source: SourceId, thread_id: str) -> bool:
    with engine.begin() as connection:
        return erase(connection, [source], ThreadId(thread_id)).was_there


def test_found_threads_are_tracked_and_counted_once_however_often_they_are_named(
    engine: Engine, source: SourceId
) -> None:
    track(engine, source, ids("a"))

    first = track_found(engine, source, ids("a", "b", "b", "c", "a"))
    again = track_found(engine, source, ids("c", "b", "a"))
    none = track_found(engine, source, [])

    assert first == Found(added=2, known=1, kept_out=0)
    assert again == Found(added=0, known=3, kept_out=0)
    assert none == Found(added=0, known=0, kept_out=0)
    assert tracked_now(engine) == ["a", "b", "c"]


def test_who_was_untracked_or_forgotten_stays_out_though_it_is_found(
    engine: Engine, source: SourceId
) -> None:
    track(engine, source, ids("kept", "untracked", "forgotten"))
    untrack(engine, source, ids("untracked", "untracked", "never_tracked"))
    forget(engine, source, "forgotten")

    found = track_found(
        engine, source, ids("kept", "untracked", "never_tracked", "forgotten", "new")
    )

    assert found == Found(added=1, known=1, kept_out=3)
    assert tracked_now(engine) == ["kept", "new"]


def test_who_is_tracked_by_hand_again_is_found_again(
    engine: Engine, source: SourceId
) -> None:
    untrack(engine, source, ids("a", "b"))

    assert track(engine, source, ids("a")) == 1

    assert noted_now(engine) == ["b"]
    assert track_found(engine, source, ids("a", "b")) == Found(added=0, known=1, kept_out=1)


def test_what_one_source_keeps_out_another_tracks(engine: Engine, source: SourceId) -> None:
    other = record_source(engine, name="other", kind="openai", base_url="http://other")
    untrack(engine, source, ids("a"))

    assert track_found(engine, other, ids("a")) == Found(added=1, known=0, kept_out=0)


def test_forgetting_takes_the_note_along_and_no_later_note_names_the_thread(
    engine: Engine, source: SourceId
) -> None:
    untrack(engine, source, ids("a"))

    assert forget(engine, source, "a")
    untrack(engine, source, ids("a"))

    assert noted_now(engine) == []
    assert track_found(engine, source, ids("a")).kept_out == 1
    readmit(engine, source, ids("a"))
    assert track_found(engine, source, ids("a")).added == 1


def test_a_thread_that_is_untracked_while_it_is_found_stays_out(
    engine: Engine, source: SourceId
) -> None:
    track(engine, source, ids("a"))
    finder = Worker(target=track_found, args=(engine, source, ids("a", "b")))
    waits = sa.text(
        "SELECT count(*) FROM pg_locks"
        " WHERE NOT granted AND pg_backend_pid() = ANY (pg_blocking_pids(pid))"
    )
    with engine.begin() as connection:  # what `untrack` does, stopped half-way
        mine = f"SELECT FROM run_sync.sources WHERE source_id = {source} FOR NO KEY UPDATE"
        connection.execute(sa.text(mine))
        finder.start()
        while not connection.scalar(waits):
            pass
        for statement in (
            f"INSERT INTO run_sync.untracked (source_id, thread_id) VALUES ({source}, 'a')",
            "DELETE FROM run_sync.threads",
        ):
            connection.execute(sa.text(statement))
    finder.join()

    assert tracked_now(engine) == ["b"]


def test_threads_that_are_known_need_no_row_to_be_written(
    engine: Engine, source: SourceId
) -> None:
    names = ids(*(f"thread_{number}" for number in range(10_000)))
    track_found(engine, source, names)
    before = query(engine, "SELECT max(xmin::text::bigint) FROM run_sync.threads")

    assert track_found(engine, source, names).known == 10_000

    assert query(engine, "SELECT max(xmin::text::bigint) FROM run_sync.threads") == before


def test_the_command_untracks_for_good_and_tracks_again(
    tmp_path: Path, engine: Engine, source: SourceId, capsys: pytest.CaptureFixture[str]
) -> None:
    runtide = Runtide(tmp_path, engine, capsys)
    runtide.configure("http://demo")
    runtide("track", "a", "b")

    runtide("untrack", "a")
    kept_out = track_found(engine, source, ids("a", "b"))
    runtide("track", "a")
    let_in = track_found(engine, source, ids("a", "b"))

    assert kept_out == Found(added=0, known=1, kept_out=1)
    assert let_in == Found(added=0, known=2, kept_out=0)


@pytest.mark.usefixtures("source")
def test_an_archive_has_no_threads_to_track(
    tmp_path: Path, engine: Engine, capsys: pytest.CaptureFixture[str]
) -> None:
    runtide = Runtide(tmp_path, engine, capsys)
    runtide.configure("http://demo")
    config = tmp_path / "config.toml"
    text = config.read_text()
    config.write_text(text + '\n[[sources]]\nname = "old"\nkind = "archive"\n')

    refused, tracked = runtide("track", "--source", "old", "a"), runtide("track", "b")

    assert (refused.code, tracked.code) == (2, 0)
    assert refused.err == (
        "runtide: Source 'old' is an archive and has no server to ask; `runtide import`"
        " reads its files.\n"
    )
    assert query(engine, "SELECT thread_id FROM run_sync.threads") == [("b",)]
