"""`runtide sync` as people, cron and scripts see it."""

import json
import os
import pty
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import sqlalchemy as sa
from sqlalchemy.engine import Engine

from etl.demo.server import DemoServer
from etl.demo.world import World
from tests.e2e.conftest import KEY, Command

JSON_KEYS = [
    "sync_id",
    "outcome",
    "threads_due",
    "threads_left",
    "threads",
    "threads_refused",
    "threads_failed",
    "threads_found",
    "pages",
    "requests",
    "retries",
    "runs_read",
    "runs_created",
    "runs_updated",
    "runs_unchanged",
    "rejects",
    "seconds",
    "errors",
    "held",
]


def test_json_is_one_object_with_the_promised_keys_and_nothing_else(
    ready: Command, api: DemoServer, world: World
) -> None:
    answer = ready("sync", "--json")

    report = json.loads(answer.out)
    assert (answer.code, answer.err) == (0, "")
    assert list(report) == JSON_KEYS
    assert (report["outcome"], report["errors"], report["held"]) == ("succeeded", [], [])
    assert report["threads"] == len(api.thread_ids)
    assert report["runs_created"] == len(list(world.all_payloads(at=world.now)))


def test_open_runs_get_their_tokens_in_the_second_sync(
    ready: Command, api: DemoServer, world: World, engine: Engine
) -> None:
    still_open = sorted(world.open_run_ids(at=world.now))
    tokens = sa.text(
        "SELECT run_id, total_tokens FROM run_history.runs"
        " WHERE run_id = ANY(:ids) ORDER BY run_id"
    )
    ready("sync")
    with engine.connect() as connection:
        before = connection.execute(tokens, {"ids": still_open}).all()
    api.advance(3600)

    ready("sync")

    with engine.connect() as connection:
        after = connection.execute(tokens, {"ids": still_open}).all()
    assert [tuple(row) for row in before] == [(run_id, None) for run_id in still_open]
    assert [row.run_id for row in after] == still_open
    assert all(row.total_tokens is not None for row in after)


def test_a_pipe_gets_plain_lines_and_quiet_gets_none(ready: Command) -> None:
    plain = ready("sync")
    quiet = ready("sync", "--quiet")

    assert plain.out.startswith("syncing 12 threads\n")
    assert "succeeded" in plain.out
    assert "\x1b" not in plain.out
    assert (quiet.code, quiet.out, quiet.err) == (0, "", "")


def test_a_terminal_gets_a_progress_bar_and_a_short_table(ready: Command) -> None:
    screen = on_a_terminal(ready, "sync")

    assert "requests left this minute" in screen
    assert "12/12" in screen
    assert "outcome" in screen.rpartition("12/12")[2]


def test_one_unknown_thread_fails_alone(ready: Command, world: World) -> None:
    ready("track", "thread_unknown", "oddly-named")

    answer = ready("sync", "--json")

    report = json.loads(answer.out)
    assert answer.code == 3
    assert report["outcome"] == "partial"
    assert report["threads_failed"] == 2
    assert {error["thread"] for error in report["errors"]} == {
        "thread_unknown",
        "oddly-named",
    }
    assert report["runs_created"] == len(list(world.all_payloads(at=world.now)))


def test_one_thread_can_be_synced_alone(ready: Command, api: DemoServer) -> None:
    answer = ready("sync", "--json", "--thread", api.thread_ids[1])

    assert json.loads(answer.out)["threads"] == 1


def test_sigterm_ends_the_sync_in_order(ready: Command, engine: Engine) -> None:
    with a_server_that_never_answers() as (base_url, asked):
        ready.configure(base_url)
        sync = subprocess.Popen(
            [sys.executable, "-m", "etl", "sync", "--json"],
            cwd=ready.directory,
            env=ready.full_environment(),
            stdout=subprocess.PIPE,
            text=True,
        )
        assert asked.wait(timeout=60)
        sync.send_signal(signal.SIGTERM)
        out, _ = sync.communicate(timeout=60)

    assert sync.returncode == 130
    assert json.loads(out)["outcome"] == "interrupted"
    with engine.connect() as connection:
        ledger = connection.execute(
            sa.text("SELECT outcome, finished_at IS NOT NULL AS ended FROM run_sync.syncs")
        )
        assert [tuple(row) for row in ledger] == [("interrupted", True)]


def test_the_api_key_shows_up_nowhere(ready: Command, engine: Engine) -> None:
    wrong = "sk-wrong-fedcba9876543210"
    answers = [
        ready("sync", "--debug"),
        ready("sync", "--debug", DEMO_KEY=wrong),
        ready("sync", "--json", DEMO_KEY=wrong),
        ready("status", "--json"),
        ready("threads"),
    ]

    assert answers[1].code == 1
    for answer in answers:
        for secret in (KEY, wrong):
            assert secret not in answer.out + answer.err
    tables = everything_in(engine)
    assert KEY not in tables
    assert wrong not in tables


def everything_in(engine: Engine) -> str:
    """Every row of every table of ours, as text."""
    names = sa.text(
        "SELECT format('%I.%I', schemaname, tablename) FROM pg_tables"
        " WHERE schemaname LIKE 'run%'"
    )
    with engine.connect() as connection:
        tables = list(connection.scalars(names))
        rows = [
            row
            for table in tables
            for row in connection.scalars(sa.text(f"SELECT t::text FROM {table} t"))
        ]
    assert rows
    return "\n".join(rows)


def on_a_terminal(command: Command, *arguments: str) -> str:
    """Run the command on a pseudo-terminal; answer all it wrote there."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "etl", *arguments],
        cwd=command.directory,
        env=command.full_environment(TERM="xterm"),
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    written = b""
    try:
        while part := os.read(ours, 65536):
            written += part
    except OSError:  # Linux says so when the other side has closed
        pass
    finally:
        os.close(ours)
    assert process.wait(timeout=60) == 0
    return written.decode()


@contextmanager
def a_server_that_never_answers() -> Iterator[tuple[str, threading.Event]]:
    """Accepts requests and keeps silent; the event tells that one has come."""
    asked = threading.Event()
    connections: list[socket.socket] = []

    def accept() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            connections.append(connection)
            connection.recv(1)
            asked.set()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        worker = threading.Thread(target=accept, daemon=True)
        worker.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/v1", asked
        listener.shutdown(socket.SHUT_RDWR)
    worker.join()
    for connection in connections:
        connection.close()
