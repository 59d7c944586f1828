"""`kill -9` of a sync, and of Postgres: nothing is lost, nothing is there twice.

After each kill the tables are looked at; after the last one a sync that nobody disturbs
makes them what they would be had nobody ever disturbed one.
"""

import os
import random
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from signal import SIGKILL
from threading import Timer

import pytest
from sqlalchemy.engine import Engine

from etl.demo.world import World
from etl.load.database import connected, opened
from etl.load.embedded import EmbeddedPostgres
from etl.load.schema import upgrade
from tests.conftest import as_text
from tests.e2e.conftest import KEY, Command
from tests.e2e.copied import Copied
from tests.e2e.trapping import TrappedApi
from tests.integration.builders import query

HOUR = 3600
THREADS = 60
DIED = "its process ended without a word (HOLDER); what it committed stands"
SETTINGS = "\n[sync]\npage_size = 20\nworkers = 4\n"


def a_world(seed: int) -> World:
    """Several thousand runs; those that are open end within the hour."""
    return World(seed=seed, threads=THREADS, runs=3000, now=int(time.time()))


def a_command(directory: Path, database_url: str, base_url: str, world: World) -> Command:
    """The command in a directory of its own, with all threads tracked."""
    directory.mkdir()
    command = Command(directory, {"RUNTIDE_DATABASE_URL": database_url, "DEMO_KEY": KEY})
    command.configure(base_url, SETTINGS)
    command.tracks(*world.thread_ids)
    return command


def started(command: Command) -> "subprocess.Popen[str]":
    """A sync that works while the test goes on."""
    return subprocess.Popen(
        [sys.executable, "-m", "etl", "sync", "--quiet"],
        cwd=command.directory,
        env=command.full_environment(),
        stderr=subprocess.PIPE,
        text=True,
    )


# kill -9 of the sync ------------------------------------------------------------


@pytest.mark.parametrize("seed", [1])
def test_after_kills_a_clean_sync_ends_where_an_undisturbed_one_does(
    tmp_path: Path, database_url: str, second_database_url: str, seed: int
) -> None:
    kill_and_compare(tmp_path, database_url, second_database_url, seed=seed, kills=4)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(10, 20))
def test_after_many_kills_a_clean_sync_ends_where_an_undisturbed_one_does(
    tmp_path: Path, database_url: str, second_database_url: str, seed: int
) -> None:
    """Two hundred kills in all."""
    kill_and_compare(tmp_path, database_url, second_database_url, seed=seed, kills=20)


def kill_and_compare(
    directory: Path, database_url: str, other_url: str, *, seed: int, kills: int
) -> None:
    """Sync a world while time goes on in it, killed again and again; then in peace."""
    world, dice = a_world(seed), random.Random(seed)  # noqa: S311  # any instant will do
    api = TrappedApi(world)
    with (
        api.listening() as base_url,
        opened(database_url) as engine,
        opened(other_url) as other_engine,
    ):
        command = a_command(directory / "killed", database_url, base_url, world)
        copied = Copied(engine, world)
        for _ in range(kills):
            kill_a_sync(command, api, dice)
            copied.check(at=api.now)
            api.now += HOUR // (kills + 1)
        assert command("sync", "--quiet").code == 0
        copied.check(at=api.now)

        other = a_command(directory / "in_peace", other_url, base_url, world)
        assert other("sync", "--quiet").code == 0
        undisturbed = Copied(other_engine, world)
        assert undisturbed.is_whole(at=api.now)
        assert copied.everything() == undisturbed.everything()
        assert outcomes(engine) == {("interrupted", DIED): kills, ("succeeded", None): 1}


def kill_a_sync(command: Command, api: TrappedApi, dice: random.Random) -> None:
    """End a sync a moment after a request; every sync makes one for each thread."""
    delay = dice.choice([0.0, dice.uniform(0, 0.03)])
    after = dice.randint(1, THREADS)
    sync = started(command)
    api.set_trap(after=after, spring=lambda: Timer(delay, sync.kill).start())
    _, said = sync.communicate(timeout=60)
    assert (sync.returncode, said) == (-SIGKILL, "")


def outcomes(engine: Engine) -> Counter[tuple[str, str | None]]:
    """How many syncs of the ledger ended in which way, and what it says of them."""
    rows = query(engine, "SELECT outcome, error, holder FROM run_sync.syncs")
    return Counter(
        (outcome, error and error.replace(holder, "HOLDER"))
        for outcome, error, holder in rows
    )


# kill -9 of Postgres ------------------------------------------------------------


@pytest.mark.parametrize("kills", [1, pytest.param(15, marks=pytest.mark.slow)])
def test_postgres_may_die_under_a_sync_and_come_back(
    tmp_path: Path, second_database_url: str, kills: int
) -> None:
    world, dice = a_world(seed=kills), random.Random(kills)  # noqa: S311
    api = TrappedApi(world)
    with a_cluster() as folder, api.listening() as base_url:
        with up(folder) as engine:
            with connected(engine) as connection:
                upgrade(connection)
            url = as_text(engine.url)
            command = a_command(tmp_path / "killed", url, base_url, world)
        copied = Copied(engine, world)
        for _ in range(kills):
            with up(folder) as copied.engine:
                copied.check(at=api.now)
                api.now += HOUR // (kills + 1)
                kill_postgres_under_a_sync(command, api, folder, dice)
        with up(folder) as copied.engine:
            copied.check(at=api.now)
            assert command("sync", "--quiet").code == 0
            copied.check(at=api.now)

            other = a_command(tmp_path / "in_peace", second_database_url, base_url, world)
            assert other("sync", "--quiet").code == 0
            with opened(second_database_url) as other_engine:
                assert copied.everything() == Copied(other_engine, world).everything()
            assert copied.is_whole(at=api.now)


@contextmanager
def a_cluster() -> Iterator[Path]:
    """The folder of a Postgres of our own.

    Not below pytest's directory: as root, every new test run closes that to others.
    """
    with tempfile.TemporaryDirectory(prefix="runtide-kill-", dir="/tmp") as folder:
        yield Path(folder) / "postgres"


@contextmanager
def up(folder: Path) -> Iterator[Engine]:
    """Have the server of a folder up."""
    with EmbeddedPostgres(folder).hold() as url, opened(url) as engine:
        yield engine


def kill_postgres_under_a_sync(
    command: Command, api: TrappedApi, folder: Path, dice: random.Random
) -> None:
    """Kill the server after a request; the sync ends with one sentence."""
    pid = int((folder / "cluster" / "postmaster.pid").read_text().split()[0])
    sync = started(command)
    api.set_trap(after=dice.randint(1, THREADS), spring=lambda: os.kill(pid, SIGKILL))
    _, said = sync.communicate(timeout=60)
    assert sync.returncode == 1
    assert re.fullmatch(r"runtide: database: The database at postgresql://\S+ .+\.\n", said)
