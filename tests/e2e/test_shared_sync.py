"""Many processes on one sync: whatever becomes of them, the tables are those of one."""

import json
import os
import subprocess
import sys
import time
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from signal import SIGCONT, SIGKILL, SIGSTOP
from threading import Event, Lock
from typing import Any

import pytest
from sqlalchemy.engine import Engine

from etl.demo.api import answer
from etl.demo.listener import Reply
from etl.demo.refusal import RefusedError
from etl.demo.world import World
from etl.load.database import opened
from tests.e2e.conftest import Command
from tests.e2e.copied import Copied
from tests.integration.builders import query
from tests.integration.serving import listening

THREADS = 60
WORKERS = 2
BUDGET = 1_800
SLOW_BUDGET = 300
"""Of which a sync takes some minutes."""
STRANGE = "strange"
"""The key of another project, to which the server says that it knows no thread."""

MOST_UNCOMMITTED = 20 + WORKERS
"""Pages that one process holds at most: those in its outbox, and one a worker."""

SHARED = """
[[sources]]
name = "demo"
base_url = "{base_url}"
api_key_env = "DEMO_KEY"
requests_per_minute = {budget}

[sync]
page_size = 20
workers = {workers}
lease = "2s"
"""


@dataclass
class WatchedApi:
    """A world's server that knows who asks, by the key, and when; may hold some back."""

    world: World
    asked: list[tuple[float, str]] = field(default_factory=list)
    traps: dict[str, tuple[int, Callable[[], object]]] = field(default_factory=dict)
    held: dict[str, Event] = field(default_factory=dict)
    _lock: Lock = field(default_factory=Lock)

    @contextmanager
    def listening(self) -> Iterator[str]:
        """Serve until the end; lends the base URL."""
        with listening(self._reply) as base_url:
            try:
                yield base_url
            finally:
                for event in self.held.values():
                    event.set()

    @property
    def requests(self) -> Counter[str]:
        """How many requests came, by key."""
        return Counter(key for _, key in self.asked)

    def trap(self, key: str, after: int, spring: Callable[[], object]) -> None:
        """Call `spring` when so many requests have come with a key."""
        self.traps[key] = (after, spring)

    def _reply(self, _line: str, target: str, authorization: str | None) -> Reply:
        key = (authorization or "").removeprefix("Bearer ")
        with self._lock:
            self.asked.append((time.monotonic(), key))
            after, spring = self.traps.get(key, (0, Event))
            springs = self.requests[key] == after
        if springs:
            spring()
        if key in self.held:
            self.held[key].wait()
        if key == STRANGE:
            refusal = RefusedError(404, "No thread found with that id.")
            return Reply(404, refusal.payload())
        return Reply(200, answer(self.world, target, at=self.world.now))


@pytest.fixture
def world() -> World:
    return World(threads=THREADS, runs=1_500, now=int(time.time()))


@pytest.fixture
def api(world: World) -> WatchedApi:
    return WatchedApi(world)


def tracking(
    directory: Path, database_url: str, base_url: str, api: WatchedApi, budget: int
) -> Command:
    """The command in a directory of its own, tracking all threads of the world."""
    directory.mkdir()
    command = Command(directory, {"RUNTIDE_DATABASE_URL": database_url})
    text = SHARED.format(base_url=base_url, budget=budget, workers=WORKERS)
    (directory / "config.toml").write_text(text)
    command.tracks(*api.world.thread_ids)
    return command


def joining(command: Command, key: str) -> "subprocess.Popen[str]":
    """A process that shares the sync; the server knows it by its key."""
    return subprocess.Popen(
        [sys.executable, "-m", "etl", "sync", "--join", "--json"],
        cwd=command.directory,
        env=command.full_environment(DEMO_KEY=key),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def report_of(sync: "subprocess.Popen[str]", *, seconds: float = 120) -> dict[str, Any]:
    out, err = sync.communicate(timeout=seconds)
    assert (sync.returncode, err) == (0, "")
    report: dict[str, Any] = json.loads(out)
    return report


def most_in_a_minute(instants: list[float]) -> int:
    """The most requests in any sliding minute."""
    ordered = sorted(instants)
    ends = (bisect_left(ordered, start + 60) for start in ordered)
    return max(end - begin for begin, end in enumerate(ends))


def test_one_that_was_paused_and_one_that_was_killed_change_nothing(
    tmp_path: Path, database_url: str, second_database_url: str, api: WatchedApi
) -> None:
    with (
        api.listening() as base_url,
        opened(database_url) as engine,
        opened(second_database_url) as other_engine,
    ):
        alone = tracking(tmp_path / "alone", second_database_url, base_url, api, 600_000)
        by_itself = json.loads(alone("sync", "--json", DEMO_KEY="alone").out)
        together = tracking(tmp_path / "together", database_url, base_url, api, BUDGET)

        paused, killed, steady = three_at_once(together, api)
        last = report_of(steady)
        api.held["paused"].set()
        os.kill(paused.pid, SIGCONT)
        woken = report_of(paused)
        killed.communicate(timeout=60)

        assert killed.returncode == -SIGKILL
        assert woken["threads_refused"] >= 1, "it was not refused what it had read"
        assert (last["threads_refused"], last["outcome"]) == (0, "succeeded")
        assert_same(engine, other_engine, api.world)
        assert ledger_of(engine) == [("sync", "succeeded", None, THREADS, 0)]
        assert query(engine, "SELECT count(*) FROM run_sync.leases") == [(0,)]

        shared = {key: n for key, n in api.requests.items() if key != "alone"}
        most = by_itself["requests"] + 2 * MOST_UNCOMMITTED  # of two that lost theirs
        assert sum(shared.values()) <= most, (shared, by_itself["requests"])
        sent = [at for at, key in api.asked if key in shared]
        assert most_in_a_minute(sent) <= BUDGET


@pytest.mark.slow
def test_three_at_once_keep_to_one_budget_in_any_minute(
    tmp_path: Path, database_url: str, second_database_url: str
) -> None:
    api = WatchedApi(World(threads=400, runs=8_000, now=int(time.time())))
    with (
        api.listening() as base_url,
        opened(database_url) as engine,
        opened(second_database_url) as other_engine,
    ):
        alone = tracking(tmp_path / "alone", second_database_url, base_url, api, 600_000)
        by_itself = json.loads(alone("sync", "--json", DEMO_KEY="alone").out)
        together = tracking(tmp_path / "together", database_url, base_url, api, SLOW_BUDGET)

        keys = ("one", "two", "three")
        syncs = [joining(together, key) for key in keys]
        reports = [report_of(each, seconds=600) for each in syncs]

        assert all(each["threads_refused"] == 0 for each in reports)
        assert_same(engine, other_engine, api.world)
        sent = {key: [at for at, by in api.asked if by == key] for key in keys}
        assert all(sent.values()), "one of them had nothing to do"
        total = sum(map(len, sent.values()))
        assert total > 2 * SLOW_BUDGET, "this is no more than a minute or two"
        assert total <= by_itself["requests"] + len(keys) * MOST_UNCOMMITTED
        assert most_in_a_minute(list(chain(*sent.values()))) <= SLOW_BUDGET


def test_one_whose_key_knows_no_thread_marks_none_as_missing(
    tmp_path: Path, database_url: str, api: WatchedApi
) -> None:
    with api.listening() as base_url, opened(database_url) as engine:
        command = tracking(tmp_path / "both", database_url, base_url, api, BUDGET)
        has_begun, goes_on = Event(), Event()

        def hold() -> None:
            api.held["steady"] = goes_on
            has_begun.set()

        api.trap("steady", 70, hold)
        api.trap(STRANGE, 5, goes_on.set)
        steady = joining(command, "steady")
        assert has_begun.wait(60)
        strange = joining(command, STRANGE)
        out, _ = strange.communicate(timeout=120)
        assert strange.returncode != 0
        errors = json.loads(out)["errors"]
        assert errors
        steady.communicate(timeout=120)

        marked = "SELECT count(*) FROM run_sync.threads WHERE missing_since IS NOT NULL"
        assert query(engine, marked) == [(0,)]
        assert json.loads(command("sync", "--json", DEMO_KEY="any").out)["errors"] == []
        Copied(engine, api.world).check(at=api.world.now)


def three_at_once(
    command: Command, api: WatchedApi
) -> "tuple[subprocess.Popen[str], subprocess.Popen[str], subprocess.Popen[str]]":
    """One is paused while the server owes it an answer, one is killed, one works on.

    The last two are at work together before.
    """
    owed, has_begun = Event(), Event()
    api.held["paused"] = Event()
    api.trap("paused", 1, owed.set)
    paused = joining(command, "paused")
    assert owed.wait(60)
    os.kill(paused.pid, SIGSTOP)
    api.trap("killed", 1, has_begun.set)
    killed = joining(command, "killed")
    assert has_begun.wait(60)
    api.trap("killed", 15, killed.kill)
    steady = joining(command, "steady")
    killed.wait(60)
    return paused, killed, steady


def assert_same(engine: Engine, other: Engine, world: World) -> None:
    """Two databases hold the same copy of a world, and it is whole."""
    copied, undisturbed = Copied(engine, world), Copied(other, world)
    assert undisturbed.is_whole(at=world.now)
    copied.check(at=world.now)
    assert copied.everything() == undisturbed.everything()


def ledger_of(engine: Engine) -> list[tuple[Any, ...]]:
    return query(
        engine,
        "SELECT trigger, outcome, error, threads_due, threads_left FROM run_sync.syncs"
        " ORDER BY sync_id",
    )
