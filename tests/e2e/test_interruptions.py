"""SIGINT and SIGTERM end a sync in order: what was begun is finished, nothing is lost."""

import json
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from signal import SIGINT, SIGTERM, Signals
from threading import Timer

import pytest
from sqlalchemy.engine import Engine

from etl.demo.world import World
from etl.load.database import opened
from tests.e2e.conftest import KEY, Command
from tests.e2e.copied import Copied
from tests.e2e.trapping import TrappedApi
from tests.integration.builders import query

HOUR = 3600
THREADS = 40
PATIENCE_SECONDS = 20
"""Four times what is promised: a test is not decided by how busy the machine is."""


@pytest.fixture
def world() -> World:
    return World(threads=THREADS, runs=1200, now=int(time.time()))


@pytest.fixture
def api(world: World) -> TrappedApi:
    return TrappedApi(world)


@pytest.fixture
def base_url(api: TrappedApi) -> Iterator[str]:
    with api.listening() as base_url:
        yield base_url


@pytest.fixture
def ready(tmp_path: Path, database_url: str, base_url: str, world: World) -> Command:
    """The command, with all threads tracked."""
    return a_command(tmp_path, database_url, base_url, world)


@pytest.fixture
def copied(engine: Engine, world: World) -> Copied:
    return Copied(engine, world)


def a_command(directory: Path, database_url: str, base_url: str, world: World) -> Command:
    command = Command(directory, {"RUNTIDE_DATABASE_URL": database_url, "DEMO_KEY": KEY})
    command.configure(base_url, "\n[sync]\npage_size = 20\nworkers = 4\n")
    assert command("track", *world.thread_ids).code == 0
    return command


def started(command: Command) -> "subprocess.Popen[str]":
    """A sync that works while the test goes on."""
    return subprocess.Popen(
        [sys.executable, "-m", "etl", "sync", "--json"],
        cwd=command.directory,
        env=command.full_environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def ledger(engine: Engine) -> list[tuple[object, ...]]:
    """How each sync ended, and what it had created by then."""
    return query(
        engine,
        "SELECT outcome, finished_at IS NOT NULL, runs_created, error"
        " FROM run_sync.syncs ORDER BY sync_id",
    )


@pytest.mark.parametrize("number", [SIGINT, SIGTERM])
def test_a_signal_ends_a_sync_in_order_though_the_server_hangs(
    ready: Command,
    api: TrappedApi,
    engine: Engine,
    copied: Copied,
    number: Signals,
    record_property: Callable[[str, object], None],
) -> None:
    hangs = api.hang(after=THREADS // 2)
    sync = started(ready)
    assert hangs.wait(timeout=60)

    sync.send_signal(number)
    signalled_at = time.monotonic()
    out, err = sync.communicate(timeout=PATIENCE_SECONDS)
    record_property("seconds_to_end", round(time.monotonic() - signalled_at, 2))

    assert (sync.returncode, err) == (130, "")
    report = json.loads(out)
    assert report["outcome"] == "interrupted"
    assert report["runs_created"] > 0
    assert ledger(engine) == [("interrupted", True, report["runs_created"], None)]
    copied.check(at=api.now)
    assert len(copied.payloads()) == report["runs_created"]

    api.recover()
    assert ready("sync", "--quiet").code == 0
    assert copied.is_whole(at=api.now)


def test_every_page_that_was_answered_before_the_signal_is_committed(
    ready: Command, api: TrappedApi, world: World, copied: Copied
) -> None:
    """Each thread fits a page, so that no answer waits to be confirmed by another."""
    short = [
        each for each in world.thread_ids if 0 < len(world.payloads(each, at=api.now)) < 20
    ]
    ready("untrack", *(each for each in world.thread_ids if each not in short))
    hangs = api.hang(after=len(short) - 4)
    sync = started(ready)
    assert hangs.wait(timeout=60)

    sync.send_signal(SIGINT)
    out, _ = sync.communicate(timeout=PATIENCE_SECONDS)

    assert json.loads(out)["pages"] == len(short) - 4
    copied.check(at=api.now)


def test_whoever_insists_with_ctrl_c_is_obeyed_at_once(
    ready: Command, api: TrappedApi, engine: Engine, copied: Copied
) -> None:
    hangs = api.hang(after=THREADS // 2)
    sync = started(ready)
    assert hangs.wait(timeout=60)

    insist(sync)
    _, err = sync.communicate(timeout=PATIENCE_SECONDS)

    assert sync.returncode == 130
    assert "Traceback" not in err
    assert [outcome for outcome, *_ in ledger(engine)] == ["interrupted"]
    copied.check(at=api.now)


def insist(sync: "subprocess.Popen[str]") -> None:
    """Press Ctrl-C until it ends."""
    for _ in range(PATIENCE_SECONDS * 10):
        sync.send_signal(SIGINT)
        try:
            sync.wait(timeout=0.1)
        except subprocess.TimeoutExpired:
            continue
        return


@pytest.mark.parametrize(
    ("seed", "interruptions"), [(1, 4), pytest.param(2, 40, marks=pytest.mark.slow)]
)
def test_syncs_that_are_interrupted_end_where_undisturbed_ones_do(
    tmp_path: Path,
    ready: Command,
    api: TrappedApi,
    base_url: str,
    world: World,
    copied: Copied,
    engine: Engine,
    second_database_url: str,
    seed: int,
    interruptions: int,
) -> None:
    dice = random.Random(seed)  # noqa: S311  # any instant will do
    for _ in range(interruptions):
        interrupt_a_sync(ready, api, dice)
        copied.check(at=api.now)
        api.now += HOUR // (interruptions + 1)
    assert ready("sync", "--quiet").code == 0
    copied.check(at=api.now)

    (tmp_path / "in_peace").mkdir()
    other = a_command(tmp_path / "in_peace", second_database_url, base_url, world)
    assert other("sync", "--quiet").code == 0
    with opened(second_database_url) as other_engine:
        assert copied.everything() == Copied(other_engine, world).everything()
    assert copied.is_whole(at=api.now)
    outcomes = [outcome for outcome, *_ in ledger(engine)]
    assert outcomes == ["interrupted"] * interruptions + ["succeeded"]


def interrupt_a_sync(command: Command, api: TrappedApi, dice: random.Random) -> None:
    """Ask a sync to stop while it reads; it has threads left to ask for by then."""
    delay, number = dice.uniform(0, 0.01), dice.choice([SIGINT, SIGTERM])
    sync = started(command)
    api.set_trap(
        after=dice.randint(1, THREADS // 2),
        spring=lambda: Timer(delay, sync.send_signal, [number]).start(),
    )
    out, err = sync.communicate(timeout=60)
    assert (sync.returncode, err) == (130, "")
    assert json.loads(out)["outcome"] == "interrupted"
