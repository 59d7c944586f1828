"""`runtide schedule`: it works by itself, beside others, and through outages."""

import json
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from signal import SIGINT, SIGTERM
from typing import Any
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest
from sqlalchemy.engine import Engine

from etl.demo.server import DemoServer
from etl.demo.world import World
from etl.load.database import opened
from etl.load.embedded import EmbeddedPostgres
from tests.e2e.conftest import KEY, Command
from tests.e2e.copied import Copied
from tests.e2e.trapping import TrappedApi
from tests.integration.builders import query

NEVER = '\n[schedule]\ncron = "0 0 29 2 *"\n'
EVERY_MINUTE = '\n[schedule]\ncron = "* * * * *"\n'
PATIENCE = 60.0
SYNCED = "SELECT trigger, outcome FROM run_sync.syncs ORDER BY sync_id"


class Running:
    """The scheduler as a process; its log is read line by line."""

    def __init__(self, command: Command, *arguments: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "etl", "schedule", *arguments],
            cwd=command.directory,
            env=command.full_environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def wait_for(self, message: str) -> dict[str, Any]:
        """Read its log up to a message; answer the line."""
        assert self.process.stderr is not None
        passed = []
        for line in self.process.stderr:
            told: dict[str, Any] = json.loads(line)
            if told["message"] == message:
                return told
            passed.append(line)
        raise AssertionError(message, self.process.wait(PATIENCE), passed)

    def end(self, number: int = SIGTERM) -> int:
        self.process.send_signal(number)
        self.process.communicate(timeout=PATIENCE)
        return self.process.returncode


@pytest.fixture
def running(runtide: Command) -> Iterator[list[Running]]:
    """Schedulers that a test has started; they end with it."""
    started: list[Running] = []
    yield started
    for each in started:
        with each.process:  # which closes its pipes, however it ended
            each.process.kill()


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port: int = taken.getsockname()[1]
        return port


def test_two_schedulers_and_a_cron_call_at_the_same_instant_make_one_sync(
    runtide: Command, engine: Engine, running: list[Running]
) -> None:
    world = World(threads=12, runs=80, now=int(time.time()))
    api = TrappedApi(world)
    with api.listening() as base_url:
        runtide.configure(base_url, NEVER)
        runtide.tracks(*world.thread_ids)
        hangs = api.hang(after=0, waiting=2)
        running += [Running(runtide, "--on-start"), Running(runtide, "--on-start")]
        assert hangs.wait(PATIENCE)
        cron = runtide("sync", "--quiet")
        api.recover()
        messages = [left_or_ended(each) for each in running]
        codes = [each.end() for each in running]

    assert cron.code == 75
    assert sorted(messages) == ["sync ended", "sync left to another"]
    assert query(engine, SYNCED) == [("schedule", "succeeded")]
    assert Copied(engine, world).is_whole(at=api.now)
    assert codes == [0, 0]


def left_or_ended(scheduler: Running) -> str:
    """How the first sync of a scheduler came out."""
    assert scheduler.process.stderr is not None
    for line in scheduler.process.stderr:
        message: str = json.loads(line)["message"]
        if message in {"sync ended", "sync left to another"}:
            return message
    raise AssertionError


@pytest.mark.parametrize("number", [SIGTERM, SIGINT])
def test_asked_to_stop_it_ends_the_batch_in_hand(
    runtide: Command, engine: Engine, running: list[Running], number: int
) -> None:
    world = World(threads=12, runs=80, now=int(time.time()))
    api = TrappedApi(world)
    with api.listening() as base_url:
        runtide.configure(base_url, NEVER)
        runtide.tracks(*world.thread_ids)
        hangs = api.hang(after=4)
        running.append(Running(runtide, "--on-start"))
        assert hangs.wait(PATIENCE)
        code = running[0].end(number)
        api.recover()

    assert code == 0
    assert query(engine, SYNCED) == [("schedule", "interrupted")]
    Copied(engine, world).check(at=api.now)


def test_it_tells_machines_how_it_is(
    runtide: Command, api: DemoServer, running: list[Running]
) -> None:
    runtide.configure(api.base_url, NEVER)
    runtide.tracks(*api.thread_ids)
    port = free_port()
    running.append(Running(runtide, "--on-start", "--metrics-addr", f"127.0.0.1:{port}"))
    running[0].wait_for("sync ended")
    complete = f'runtide_threads{{source="demo",state="complete"}} {len(api.thread_ids)}.0'

    while complete not in told(port, "/metrics")[1]:  # until it has looked around
        time.sleep(0.05)
    assert told(port, "/healthz") == (200, "ok\n")
    assert told(port, "/readyz") == (200, "ok\n")
    assert told(port, "/") == (404, "There is /metrics, /healthz and /readyz.\n")
    assert running[0].end() == 0


def told(port: int, path: str) -> tuple[int, str]:
    """The status and the text of one of its pages."""
    try:
        with urlopen(f"http://127.0.0.1:{port}{path}", timeout=PATIENCE) as answer:
            return answer.status, answer.read().decode()
    except HTTPError as error:
        return error.code, error.read().decode()


def test_it_refuses_what_a_person_must_put_right(runtide: Command, api: DemoServer) -> None:
    runtide.configure(api.base_url, EVERY_MINUTE)
    taken = socket.socket()
    taken.bind(("127.0.0.1", 0))
    taken.listen()
    port = taken.getsockname()[1]

    in_use = runtide("schedule", "--metrics-addr", f"127.0.0.1:{port}")
    no_key = runtide("schedule", DEMO_KEY="")
    taken.close()

    assert (in_use.code, no_key.code) == (2, 2)
    assert in_use.err.splitlines()[-1] == (
        f"runtide: Metrics cannot be served at 127.0.0.1:{port}: Address already in use;"
        " choose another host:port."
    )
    assert "The environment variable DEMO_KEY" in no_key.err


@pytest.mark.parametrize("address", [":9464", "127.0.0.1", "127.0.0.1:http"])
def test_an_address_that_is_none_is_refused(
    runtide: Command, api: DemoServer, address: str
) -> None:
    runtide.configure(api.base_url)

    answer = runtide("schedule", "--metrics-addr", address, "--log-format", "off")

    assert (answer.code, answer.err) == (
        2,
        (
            f"runtide: Metrics cannot be served at {address!r}; write a host and a port"
            " such as 127.0.0.1:9464.\n"
        ),
    )


def test_a_schema_that_is_missing_ends_it_at_once(
    api: DemoServer, tmp_path: Path, empty_database_url: str
) -> None:
    command = Command(
        tmp_path, {"RUNTIDE_DATABASE_URL": empty_database_url, "DEMO_KEY": KEY}
    )
    command.configure(api.base_url)

    answer = command("schedule")

    assert (answer.code, answer.out, answer.err) == (
        1,
        "",
        "runtide: The database has no runtide schema yet; run `runtide db upgrade`.\n",
    )


@pytest.mark.slow
def test_the_database_goes_away_for_a_minute_and_the_next_sync_completes_the_data(
    tmp_path: Path, own_postgres: tuple[EmbeddedPostgres, str], running: list[Running]
) -> None:
    server, url = own_postgres
    world = World(threads=40, runs=1000, now=int(time.time()))
    api = TrappedApi(world)
    command = Command(tmp_path, {"RUNTIDE_DATABASE_URL": url, "DEMO_KEY": KEY})
    with api.listening() as base_url:
        command.configure(base_url, "\n[sync]\npage_size = 20\n" + EVERY_MINUTE)
        command.tracks(*world.thread_ids)
        hangs = api.hang(after=30)
        running.append(Running(command, "--on-start"))
        assert hangs.wait(PATIENCE)
        server.stop_now()
        api.recover()
        failed = running[0].wait_for("sync ended")
        away = running[0].wait_for("database is away")
        time.sleep(60)
        server.start()
        running[0].wait_for("database is back")
        ended = running[0].wait_for("sync ended")
        running[0].end()

    assert (failed["outcome"], ended["outcome"]) == ("failed", "succeeded")
    assert "cannot be reached" in away["error"]
    with opened(url) as engine:
        assert Copied(engine, world).is_whole(at=api.now)
        assert query(engine, SYNCED)[0] == ("schedule", "interrupted")
