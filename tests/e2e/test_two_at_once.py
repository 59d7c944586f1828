"""Two syncs of the same threads at the same time: one of them wins each thread."""

import json
import subprocess
import sys
import time
from pathlib import Path
from signal import SIGKILL
from typing import Any

import pytest
from sqlalchemy.engine import Engine

from etl.demo.world import World
from etl.sync.tally import OVERTAKEN
from tests.e2e.conftest import KEY, Command
from tests.e2e.copied import Copied
from tests.e2e.trapping import TrappedApi

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


def two_that_have_begun(
    command: Command, api: TrappedApi
) -> "tuple[subprocess.Popen[str], subprocess.Popen[str]]":
    """Two syncs, each of whose workers has asked for a page and got no answer yet."""
    hangs = api.hang(after=0, waiting=2 * WORKERS)
    first, second = started(command), started(command)
    assert hangs.wait(timeout=60)
    return first, second


def started(command: Command) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-m", "etl", "sync", "--json"],
        cwd=command.directory,
        env=command.full_environment(),
        stdout=subprocess.PIPE,
        text=True,
    )


def report_of(sync: "subprocess.Popen[str]") -> dict[str, Any]:
    out, _ = sync.communicate(timeout=120)
    report: dict[str, Any] = json.loads(out)
    assert sync.returncode == {"succeeded": 0, "partial": 3, "failed": 1}[report["outcome"]]
    return report


def test_two_syncs_at_once_leave_exactly_the_world(
    command: Command, world: World, copied: Copied
) -> None:
    api = TrappedApi(world)
    with api.listening() as base_url:
        command.configure(base_url, f"\n[sync]\npage_size = 20\nworkers = {WORKERS}\n")
        command("track", *world.thread_ids)
        both = two_that_have_begun(command, api)
        api.recover()
        reports = [report_of(sync) for sync in both]

        assert copied.is_whole(at=api.now)
        copied.check(at=api.now)
        overtaken = [error for report in reports for error in report["errors"]]
        assert {error["message"] for error in overtaken} == {OVERTAKEN}
        assert {error["thread"] for error in overtaken} <= set(world.thread_ids)
        assert len(overtaken) >= WORKERS

        api.now += 1800
        assert command("sync", "--quiet").code == 0
        assert copied.is_whole(at=api.now)
        copied.check(at=api.now)


def test_one_of_two_syncs_may_be_killed(
    command: Command, world: World, copied: Copied
) -> None:
    api = TrappedApi(world)
    with api.listening() as base_url:
        command.configure(base_url, f"\n[sync]\npage_size = 20\nworkers = {WORKERS}\n")
        command("track", *world.thread_ids)
        killed, other = two_that_have_begun(command, api)
        api.set_trap(after=THREADS, spring=killed.kill)
        api.recover()
        report_of(other)
        killed.communicate(timeout=120)
        copied.check(at=api.now)

        assert killed.returncode == -SIGKILL
        assert command("sync", "--quiet").code == 0
        assert copied.is_whole(at=api.now)
        copied.check(at=api.now)
