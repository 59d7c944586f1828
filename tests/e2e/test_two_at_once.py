"""One sync at a time works on a source, whoever starts it, and however it ends."""

import json
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from signal import SIGKILL
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Engine

from etl.demo.world import World
from tests.e2e.conftest import KEY, Command
from tests.e2e.copied import Copied
from tests.e2e.trapping import TrappedApi
from tests.integration.builders import query

WORKERS = 4
THREADS = 40


@pytest.fixture
def world() -> World:
    return World(threads=THREADS, runs=1000, now=int(time.time()))


@pytest.fixture
def command(tmp_path: Path, database_url: str) -> Command:
    return Command(tmp_path, {"RUNTIDE_DATABASE_URL": database_url, "DEMO_KEY": KEY})


@pytest.fixture
def copied(engine: Engine, world: World) -> Copied:
    return Copied(engine, world)


@pytest.fixture
def api(command: Command, world: World) -> Iterator[TrappedApi]:
    """The world's server; the command is configured for it and tracks all threads."""
    api = TrappedApi(world)
    with api.listening() as base_url:
        command.configure(base_url)
        command.tracks(*world.thread_ids)
        yield api


SYNCED = "SELECT trigger, outcome, error FROM run_sync.syncs ORDER BY sync_id"
TWO_SOURCES = """
[[sources]]
name = "second"
base_url = "{base_url}"
api_key_env = "DEMO_KEY"
requests_per_minute = 600000

[sync]
workers = 4
"""


def started(command: Command, *more: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-m", "etl", *(more or ("sync", "--json"))],
        cwd=command.directory,
        env=command.full_environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def one_that_hangs(command: Command, api: TrappedApi) -> "subprocess.Popen[str]":
    """A sync whose workers have asked for pages and get no answer for now."""
    hangs = api.hang(after=0, waiting=2)
    sync = started(command)
    assert hangs.wait(timeout=60)
    return sync


def report_of(sync: "subprocess.Popen[str]") -> dict[str, Any]:
    out, _ = sync.communicate(timeout=120)
    report: dict[str, Any] = json.loads(out)
    assert sync.returncode == {"succeeded": 0, "partial": 3, "failed": 1}[report["outcome"]]
    return report


def all_but_one(syncs: "list[subprocess.Popen[str]]") -> "list[subprocess.Popen[str]]":
    """The processes that end while one goes on."""
    until = time.monotonic() + 60
    while time.monotonic() < until:
        ended = [sync for sync in syncs if sync.poll() is not None]
        if len(ended) == len(syncs) - 1:
            return ended
        time.sleep(0.05)
    raise AssertionError(syncs)


def held_by(sync: "subprocess.Popen[str]", said: str, *, source: str = "demo") -> str:
    """The sentence about a source that a sync holds, as it must be; since when is told."""
    since = re.search(r"since (\S+ \S+) UTC", said)
    assert since is not None, said
    return (
        f"runtide: Source {source} is held by sync 1 (process {sync.pid} on"
        f" {socket.gethostname()}) since {since.group(1)} UTC; one sync at a time works on"
        " a source, so this one did nothing there. `runtide status` shows how far the"
        " other is.\n"
    )


def test_of_three_syncs_at_the_same_instant_exactly_one_runs(
    command: Command, api: TrappedApi, copied: Copied
) -> None:
    hangs = api.hang(after=0, waiting=2)
    syncs = [started(command) for _ in range(3)]
    assert hangs.wait(timeout=60)
    ended = all_but_one(syncs)
    api.recover()
    [runner] = [sync for sync in syncs if sync not in ended]

    assert report_of(runner)["outcome"] == "succeeded"
    for sync in ended:
        out, err = sync.communicate(timeout=60)
        assert (sync.returncode, out) == (75, "")
        assert err == held_by(runner, err)
    assert query(copied.engine, SYNCED) == [("sync", "succeeded", None)]
    assert copied.is_whole(at=api.now)
    copied.check(at=api.now)


@pytest.mark.parametrize(
    "arguments", [("sync",), ("sync", "--json"), ("backfill",), ("replay",)]
)
def test_whoever_writes_is_told_who_holds_the_source(
    command: Command, api: TrappedApi, arguments: tuple[str, ...]
) -> None:
    first = one_that_hangs(command, api)
    answer = command(*arguments)
    api.recover()
    report_of(first)

    assert (answer.code, answer.out) == (75, "")
    assert answer.err == held_by(first, answer.err)


@pytest.mark.parametrize("name", ["sync", "backfill"])
def test_quiet_says_nothing_of_a_source_that_is_held(
    command: Command, api: TrappedApi, name: str
) -> None:
    first = one_that_hangs(command, api)
    answer = command(name, "--quiet")
    api.recover()
    report_of(first)

    assert (answer.code, answer.out, answer.err) == (75, "", "")


def test_a_killed_sync_lets_go_at_once_and_is_shown_as_interrupted(
    command: Command, api: TrappedApi, copied: Copied
) -> None:
    killed = one_that_hangs(command, api)
    killed.kill()
    killed.communicate(timeout=120)
    api.recover()
    answer = command("sync", "--quiet")

    assert killed.returncode == -SIGKILL
    assert (answer.code, answer.out, answer.err) == (0, "", "")
    assert query(copied.engine, SYNCED) == [
        (
            "sync",
            "interrupted",
            (
                f"its process ended without a word (process {killed.pid} on"
                f" {socket.gethostname()}); what it committed stands"
            ),
        ),
        ("sync", "succeeded", None),
    ]
    assert copied.is_whole(at=api.now)


def test_a_sync_that_lost_its_lock_cannot_write_any_more(
    command: Command, api: TrappedApi, copied: Copied
) -> None:
    first = one_that_hangs(command, api)
    with copied.engine.begin() as connection:
        connection.execute(
            sa.text(
                "SELECT pg_terminate_backend(pid) FROM pg_locks"
                " WHERE locktype = 'advisory' AND classid = x'72756e74'::bigint::oid"
                " AND database = (SELECT oid FROM pg_database"
                " WHERE datname = current_database())"
            )
        )
    api.let_others_pass()
    second = command("sync", "--quiet")
    runs = copied.payloads()
    api.recover()
    report = report_of(first)

    assert second.code == 0
    assert report["outcome"] == "failed"
    assert report["errors"][0]["source"] == "database"
    assert copied.payloads() == runs
    assert [row[1] for row in query(copied.engine, SYNCED)] == ["failed", "succeeded"]


def test_a_source_that_nobody_holds_is_synced_beside_one_that_is_held(
    command: Command, world: World, engine: Engine
) -> None:
    api = TrappedApi(world)
    with api.listening() as base_url:
        command.configure(base_url, TWO_SOURCES.format(base_url=base_url))
        command("track", "--source", "demo", *world.thread_ids)
        command("track", "--source", "second", *world.thread_ids)
        hangs = api.hang(after=0, waiting=2)
        first = started(command, "sync", "--json", "--source", "demo")
        assert hangs.wait(timeout=60)
        api.let_others_pass()
        answer = command("sync")
        api.recover()
        report_of(first)

    assert answer.code == 0
    assert answer.err == held_by(first, answer.err)
    assert query(
        engine,
        "SELECT source_ids, outcome FROM run_sync.syncs ORDER BY sync_id",
    ) == [([1], "succeeded"), ([2], "succeeded")]
