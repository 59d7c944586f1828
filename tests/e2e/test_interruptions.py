"""SIGINT and SIGTERM end a sync in order: what was begun is finished, nothing is lost."""

import json
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from signal import SIGINT, SIGTERM, Signals
from threading import Timer

import pytest
from sqlalchemy.engine import Engine

from etl.demo.world import World
from etl.domain.shown import SHORTEST_CUT
from etl.load.database import opened
from tests.e2e.conftest import KEY, Command
from tests.e2e.copied import Copied
from tests.e2e.trapping import TrappedApi
from tests.integration.builders import query

HOUR = 3600
THREADS = 40
PAGE_SIZE = 20
WORKERS = 4
PATIENCE_SECONDS = 20
"""Four times what is promised: a test is not decided by how busy the machine is."""


@dataclass
class Scene:
    """A command whose server can be made to hang, and the tables it fills."""

    command: Command
    api: TrappedApi
    base_url: str
    engine: Engine
    copied: Copied

    @property
    def ledger(self) -> list[tuple[object, ...]]:
        """How each sync ended, and what it had created by then."""
        return query(
            self.engine,
            "SELECT outcome, finished_at IS NOT NULL, runs_created, error"
            " FROM run_sync.syncs ORDER BY sync_id",
        )

    def hanging_sync(self, *, after: int) -> "subprocess.Popen[str]":
        """A sync that waits for an answer that does not come."""
        hangs = self.api.hang(after=after)
        sync = started(self.command)
        assert hangs.wait(timeout=60)
        return sync


@pytest.fixture
def runs() -> int:
    return 1000


@pytest.fixture
def scene(tmp_path: Path, database_url: str, engine: Engine, runs: int) -> Iterator[Scene]:
    world = World(threads=THREADS, runs=runs, now=int(time.time()))
    api = TrappedApi(world)
    with api.listening() as base_url:
        command = a_command(tmp_path, database_url, base_url, world)
        yield Scene(command, api, base_url, engine, Copied(engine, world))


def a_command(directory: Path, database_url: str, base_url: str, world: World) -> Command:
    command = Command(directory, {"RUNTIDE_DATABASE_URL": database_url, "DEMO_KEY": KEY})
    command.configure(base_url, f"\n[sync]\npage_size = {PAGE_SIZE}\nworkers = {WORKERS}\n")
    command.tracks(*world.thread_ids)
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


@pytest.mark.parametrize("number", [SIGINT, SIGTERM])
def test_a_signal_ends_a_sync_in_order_though_the_server_hangs(
    scene: Scene, number: Signals, record_property: Callable[[str, object], None]
) -> None:
    sync = scene.hanging_sync(after=THREADS // 2)

    sync.send_signal(number)
    signalled_at = time.monotonic()
    out, err = sync.communicate(timeout=PATIENCE_SECONDS)
    record_property("seconds_to_end", round(time.monotonic() - signalled_at, 2))

    assert (sync.returncode, err) == (130, "")
    report = json.loads(out)
    assert report["outcome"] == "interrupted"
    assert report["runs_created"] > 0
    assert scene.ledger == [("interrupted", True, report["runs_created"], None)]
    scene.copied.check(at=scene.api.now)
    assert len(scene.copied.payloads()) == report["runs_created"]

    scene.api.recover()
    assert scene.command("sync", "--quiet").code == 0
    assert scene.copied.is_whole(at=scene.api.now)


@pytest.mark.parametrize("runs", [200])
def test_every_page_that_was_answered_before_the_signal_is_committed(scene: Scene) -> None:
    """Each thread is short enough that no answer waits to be confirmed by another."""
    world, now = scene.api.world, scene.api.now
    lengths = {each: len(world.payloads(each, at=now)) for each in world.thread_ids}
    longer = [each for each, length in lengths.items() if length >= SHORTEST_CUT]
    scene.command("untrack", *longer)
    answered = THREADS - len(longer) - WORKERS
    sync = scene.hanging_sync(after=answered)

    sync.send_signal(SIGINT)
    out, _ = sync.communicate(timeout=PATIENCE_SECONDS)

    tests_of_cursors = range(WORKERS + 1)  # answers too, but no pages
    assert answered - json.loads(out)["pages"] in tests_of_cursors
    scene.copied.check(at=now)


def test_whoever_asks_twice_is_obeyed_at_once(scene: Scene) -> None:
    sync = scene.hanging_sync(after=THREADS // 2)

    sync.send_signal(SIGINT)
    with suppress(subprocess.TimeoutExpired):
        sync.wait(timeout=0.5)
    sync.send_signal(SIGINT)
    out, err = sync.communicate(timeout=PATIENCE_SECONDS)

    assert sync.returncode == 130
    assert "Traceback" not in out + err
    assert [outcome for outcome, *_ in scene.ledger] == ["interrupted"]
    scene.copied.check(at=scene.api.now)


@pytest.mark.parametrize(
    ("seed", "interruptions"), [(1, 3), pytest.param(2, 40, marks=pytest.mark.slow)]
)
def test_syncs_that_are_interrupted_end_where_undisturbed_ones_do(
    tmp_path: Path, scene: Scene, second_database_url: str, seed: int, interruptions: int
) -> None:
    dice = random.Random(seed)  # noqa: S311  # any instant will do
    for _ in range(interruptions):
        interrupt_a_sync(scene, dice)
        scene.copied.check(at=scene.api.now)
        scene.api.now += HOUR // (interruptions + 1)
    assert scene.command("sync", "--quiet").code == 0
    scene.copied.check(at=scene.api.now)

    (tmp_path / "in_peace").mkdir()
    world = scene.api.world
    other = a_command(tmp_path / "in_peace", second_database_url, scene.base_url, world)
    assert other("sync", "--quiet").code == 0
    with opened(second_database_url) as other_engine:
        assert scene.copied.everything() == Copied(other_engine, world).everything()
    assert scene.copied.is_whole(at=scene.api.now)
    outcomes = [outcome for outcome, *_ in scene.ledger]
    assert outcomes == ["interrupted"] * interruptions + ["succeeded"]


def interrupt_a_sync(scene: Scene, dice: random.Random) -> None:
    """Ask a sync to stop while it reads; it has threads left to ask for by then."""
    delay, number = dice.uniform(0, 0.01), dice.choice([SIGINT, SIGTERM])
    sync = started(scene.command)
    scene.api.set_trap(
        after=dice.randint(1, THREADS // 2),
        spring=lambda: Timer(delay, sync.send_signal, [number]).start(),
    )
    out, err = sync.communicate(timeout=60)
    assert (sync.returncode, err) == (130, "")
    assert json.loads(out)["outcome"] == "interrupted"
