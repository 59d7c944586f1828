"""Syncs that a scheduler makes, night after night: outages, and no growing memory."""

import subprocess
import sys
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import pytest
from sqlalchemy.engine import Engine

from etl.cli.scheduling import sync_by_schedule
from etl.config import Config, DatabaseConfig, ScheduleConfig, Settings, SourceConfig
from etl.demo.server import DemoServer
from etl.demo.world import World
from etl.domain.run import ThreadId
from etl.load.database import opened
from etl.load.embedded import EmbeddedPostgres
from etl.load.threads import record_source
from etl.load.tracking import track
from etl.operations.afterwards import look_around
from etl.operations.incidents import Incidents, Notice
from etl.operations.scheduling import Scheduler, Tasks
from tests.conftest import as_text
from tests.e2e.copied import Copied
from tests.e2e.trapping import TrappedApi
from tests.integration.builders import query

PATIENCE = 60.0
NEVER = ScheduleConfig(cron="0 0 29 2 *", on_start=True)


def settings_for(url: str, base_url: str) -> Settings:
    source = SourceConfig(name="demo", base_url=base_url, requests_per_minute=10_000_000)
    return Settings(
        path=Path("config.toml"),
        config=Config(database=DatabaseConfig(url=url), sources=(source,)),
        environment={},
    )


def track_all(engine: Engine, settings: Settings, world: World) -> None:
    [source] = settings.sources()
    source_id = record_source(
        engine, name=source.name, kind=source.kind, base_url=source.base_url
    )
    track(engine, source_id, [ThreadId(each) for each in world.thread_ids])


def a_scheduler(settings: Settings, told: list[Notice]) -> Scheduler:
    """A scheduler as the command makes it, that tries again soon."""

    tasks = Tasks(
        sync=partial(sync_by_schedule, settings, threading.Event()),
        look=lambda: look_around(settings, [NEVER]),
        incidents=Incidents(told.append, now=now),
        now=now,
    )
    return Scheduler([NEVER], tasks, retries=[0.2])


def now() -> datetime:
    return datetime.now(UTC)


def test_after_an_outage_of_the_database_the_next_sync_completes_the_data(
    own_postgres: tuple[EmbeddedPostgres, str],
) -> None:
    server, url = own_postgres
    world = World(threads=20, runs=300, now=int(time.time()))
    api, told = TrappedApi(world), list[Notice]()
    with api.listening() as base_url:
        settings = settings_for(url, base_url)
        with opened(url) as engine:
            track_all(engine, settings, world)
        hangs = api.hang(after=5)
        scheduler = a_scheduler(settings, told)
        scheduler.start()
        try:
            assert hangs.wait(PATIENCE)
            server.stop_now()
            api.recover()
            wait_until(lambda: len(told) == 1 and len(scheduler.unready()) == 1)
            server.start()
            wait_until(lambda: len(told) == 2 and not scheduler.unready())
        finally:
            scheduler.stop()

    assert [notice.event for notice in told] == ["failed", "recovered"]
    with opened(url) as engine:
        assert Copied(engine, world).is_whole(at=api.now)
        ended = query(engine, "SELECT outcome FROM run_sync.syncs ORDER BY sync_id")
    assert (ended[0], ended[-1]) == (("interrupted",), ("succeeded",))


def wait_until(condition: Callable[[], bool]) -> None:
    until = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.02)


MANY_SYNCS = """
import sys
from tests.integration.test_many_syncs import a_scheduler, settings_for

def kilobytes():
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("VmRSS"))

url, base_url, first, all_of_them = sys.argv[1:]
scheduler = a_scheduler(settings_for(url, base_url), [])
for number in range(int(all_of_them)):
    if number == int(first):
        before = kilobytes()
    scheduler._sync(0)
print(kilobytes() - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="memory is read from /proc")
@pytest.mark.parametrize("syncs", [30, pytest.param(500, marks=pytest.mark.slow)])
def test_memory_does_not_grow_with_the_number_of_syncs(
    engine: Engine, syncs: int, record_property: Callable[[str, object], None]
) -> None:
    world = World(threads=12, runs=200, now=int(time.time()))
    with DemoServer(world, now=world.now) as server:
        settings = settings_for(as_text(engine.url), server.base_url)
        track_all(engine, settings, world)
        done = subprocess.run(
            [
                sys.executable,
                "-c",
                MANY_SYNCS,
                as_text(engine.url),
                server.base_url,
                "20",
                str(syncs),
            ],
            capture_output=True,
            text=True,
            check=True,
            timeout=600,
        )

    grown = int(done.stdout)
    record_property("kilobytes_grown", grown)
    assert grown < 5_000  # kilobytes
    made = query(engine, "SELECT outcome, count(*) FROM run_sync.syncs GROUP BY 1")
    assert made == [("succeeded", syncs)]
