"""A sync that loses its database ends, and whoever started it goes on."""

import threading
import time
from collections.abc import Iterator

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Engine

from etl.demo.api import answer
from etl.demo.listener import Reply
from etl.demo.world import World
from etl.domain.outcome import Outcome
from tests.integration.builders import comparable, query
from tests.integration.serving import listening
from tests.integration.syncing import Syncer

WORLD = World(threads=12, runs=100, now=int(time.time()))  # open runs are not stale
END_THE_HOLDER = sa.text(
    "SELECT pg_terminate_backend(pid, 10000) FROM pg_locks WHERE locktype = 'advisory'"
    " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
)


class Outage:
    """Serves the world, but first ends the connection of the sync that asks."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._lock = threading.Lock()
        self.ended: list[bool] = []

    def reply(self, _line: str, target: str, _authorization: str | None) -> Reply:
        with self._lock:
            if not self.ended:
                with self._engine.connect() as connection:
                    self.ended = list(connection.scalars(END_THE_HOLDER))
        return Reply(200, answer(WORLD, target, at=WORLD.now))


@pytest.fixture
def outage(engine: Engine) -> Outage:
    return Outage(engine)


@pytest.fixture
def syncer(engine: Engine, outage: Outage) -> Iterator[Syncer]:
    with listening(outage.reply) as base_url:
        syncer = Syncer(engine, base_url)
        syncer.track(WORLD.thread_ids)
        yield syncer


def test_a_sync_that_loses_its_database_asks_nobody_else_to_stop(
    engine: Engine, outage: Outage, syncer: Syncer
) -> None:
    stop = threading.Event()

    lost = syncer.sync(stop)
    assert not stop.is_set()
    again = syncer.sync(stop)

    assert outage.ended == [True]
    assert (lost.outcome, again.outcome) == (Outcome.FAILED, Outcome.SUCCEEDED)
    assert [failure.source for failure in lost.errors] == ["database"]
    assert syncer.payloads() == {
        run["id"]: comparable(run) for run in WORLD.all_payloads(at=WORLD.now)
    }
    assert query(engine, "SELECT outcome FROM run_sync.syncs ORDER BY sync_id") == [
        ("failed",),
        ("succeeded",),
    ]
