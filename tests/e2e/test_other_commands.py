"""init, track, threads, status, db and demo as a new user meets them."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from etl.demo.server import DemoServer
from tests.e2e.conftest import Command


@pytest.fixture
def stranger() -> Iterator[Command]:
    """The command in an empty directory, on the embedded database.

    Not below pytest's own: as root, every new test run closes that to all other users,
    the server's among them, maybe while the cluster is made.
    """
    with tempfile.TemporaryDirectory(prefix="runtide-test-", dir="/tmp") as directory:
        yield Command(Path(directory))


def test_init_writes_a_configuration_once_and_makes_the_tables(stranger: Command) -> None:
    first = stranger("init")
    (stranger.directory / "config.toml").write_text(
        (stranger.directory / "config.toml").read_text() + "\n# mine\n"
    )
    second = stranger("init")

    assert (first.code, second.code) == (0, 0)
    assert "config.toml is written." in first.out
    assert "The schema went from revision none to 0010." in first.out
    assert "config.toml is there already and stays as it is." in second.out
    assert (stranger.directory / "config.toml").read_text().endswith("# mine\n")


def test_threads_come_from_a_file_or_standard_input_once_each(ready: Command) -> None:
    (ready.directory / "ids.txt").write_text("thread_1\n\n  thread_2  \nthread_1\n")

    by_file = ready("track", "--file", "ids.txt")
    by_pipe = ready("track", "--file", "-", stdin="thread_2\nthread_3\n")
    piped = ready("track", stdin="thread_3\nthread_4\n")
    gone = ready("untrack", "thread_1", "thread_9")

    assert by_file.out == "2 new threads tracked.\n"
    assert by_pipe.out == "1 new thread tracked, 1 tracked already.\n"
    assert piped.out == "1 new thread tracked, 1 tracked already.\n"
    assert gone.out == "1 thread untracked, the runs stay, 1 not tracked anyway.\n"
    listed = ready("threads").out
    assert "thread_2" in listed
    assert "thread_1\t" not in listed


def test_an_id_with_control_characters_changes_nothing(ready: Command) -> None:
    answer = ready("track", "thread_good", "thread_\x07bad")

    assert answer.code == 2
    assert "is no thread id" in answer.err
    assert "thread_good" not in ready("threads").out


def test_status_counts_what_is_there(ready: Command, api: DemoServer) -> None:
    ready("sync")

    shown, found = ready("status"), json.loads(ready("status", "--json").out)

    [source] = found["sources"]
    assert source["threads"] == len(api.thread_ids)
    assert found["runs"]["runs"] > 0
    assert found["syncs"][0]["outcome"] == "succeeded"
    assert f"{found['runs']['runs']:,} runs" in shown.out


def test_the_embedded_server_stays_up_between_start_and_stop(stranger: Command) -> None:
    made = stranger("init")
    assert (made.code, made.err) == (0, "")
    try:
        assert stranger("db", "start").code == 0
        url = stranger("db", "url").out.strip()
        with psycopg.connect(url) as connection:
            row = connection.execute("SELECT count(*) FROM run_history.runs").fetchone()
        shell = stranger("db", "shell", "--", "-Atc", "SELECT 6 * 7")
    finally:
        stopped = stranger("db", "stop")

    assert row == (0,)
    assert (shell.code, shell.out) == (0, "42\n")
    assert stopped.out == "The embedded server is stopped.\n"
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(url)


def test_the_demo_ends_with_a_report_and_leaves_nothing_running(
    stranger: Command, without_extra: str
) -> None:
    first, again = stranger("demo", PYTHONPATH=without_extra), stranger("demo")
    report = stranger.directory / ".runtide/demo/runtide-report.html"

    assert (
        "A report with charts needs more packages: pip install '.[report]'.\n"
    ) in first.out
    assert (
        "A report with charts, for any browser: .runtide/demo/runtide-report.html\n"
    ) in again.out
    assert "gpt-4o" in report.read_text(encoding="utf-8")
    for answer in (first, again):
        assert (answer.code, answer.err) == (0, "")
        assert "open runs have ended, their tokens arrive" in answer.out
        assert "gpt-4o" in answer.out
        assert " init" in answer.out.splitlines()[-1]
    look = stranger("db", "url", "--config", ".runtide/demo/config.toml").out.strip()
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(look)


def test_a_reader_that_leaves_early_is_no_error_of_ours(ready: Command) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    process = subprocess.run(
        [sys.executable, "-m", "etl", "threads"],
        cwd=ready.directory,
        env=ready.full_environment(),
        stdout=writing,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    os.close(writing)

    assert process.stderr == ""
