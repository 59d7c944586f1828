"""What the work costs, counted: bounds that hold whatever machine runs them.

Who raises one says in the same change what it buys.
"""

import cProfile
import pstats
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.engine import Engine

from bench.workload import ASSISTANTS, Workload
from etl.demo.server import DemoServer
from etl.demo.world import World
from etl.domain.batch import Batch, Increment, SourceId, TrackedThread
from etl.domain.bookmark import Bookmark
from etl.domain.run import ThreadId
from etl.extract.client import Answer
from etl.extract.openai import OpenAISource
from etl.load.database import connected
from etl.load.store import Store
from etl.load.tracking import track
from etl.sync import read_thread
from tests.integration.builders import NOW, NOW_SECONDS, a_sync
from tests.integration.syncing import Syncer

RUNS = 100
NO_RUNS = b'{"data":[],"has_more":false}'


class Memory:
    """A client that answers from memory, so that only our own work is counted."""

    traffic = None

    def __init__(self, workload: Workload) -> None:
        self.pages = {
            thread_id: b'{"data":[%b],"has_more":false}'
            % b",".join(workload.payloads(thread, 0, workload.runs))
            for thread, thread_id in enumerate(workload.thread_ids())
        }

    def ask(self, path: str, query: dict[str, str | int]) -> Answer:
        """The one page of a thread, or what follows a cursor."""
        page = self.pages[path.split("/")[1]]
        if "after" in query:
            _, _, rest = page.partition(f'"{query["after"]}"'.encode())
            _, start, following = rest.partition(b'{"id":"run_')
            page = b'{"data":[' + start + following if start else NO_RUNS
        return Answer(page, NOW)


def increments(memory: Memory, *, source_id: int = 1) -> Iterator[Increment]:
    """Read all threads, one after the other."""
    source = OpenAISource(memory, page_size=RUNS)  # type: ignore[arg-type]
    for thread_id in memory.pages:
        thread = TrackedThread(
            source_id=SourceId(source_id),
            thread_id=ThreadId(thread_id),
            bookmark=Bookmark(),
            read_at=None,
        )
        yield from read_thread(thread, source)


@pytest.mark.parametrize(
    ("unknown_fields", "most"), [(False, 45), (True, 95)], ids=["known", "unknown"]
)
def test_a_run_takes_so_many_calls_from_its_page_to_its_increment(
    *, unknown_fields: bool, most: int
) -> None:
    memory = Memory(Workload(threads=20, runs=RUNS, unknown_fields=unknown_fields))
    list(increments(memory))  # what is remembered from now on

    profile = cProfile.Profile()
    read = profile.runcall(lambda: sum(len(each.runs) for each in increments(memory)))

    assert read == 20 * RUNS
    calls: int = pstats.Stats(profile).total_calls  # type: ignore[attr-defined]
    assert calls / read < most


def test_memory_does_not_grow_with_the_threads_that_were_read() -> None:
    few, many = (Memory(Workload(threads=threads, runs=RUNS)) for threads in (5, 40))
    list(increments(many))

    assert peak(many) < 1.1 * peak(few)


def peak(memory: Memory) -> int:
    """The most bytes held at once while all threads are read."""
    tracemalloc.start()
    try:
        for _ in increments(memory):
            pass
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("threads", [2, 20])
def test_a_batch_waits_for_the_database_so_often_whatever_it_holds(
    engine: Engine, source_id: SourceId, tmp_path: Path, threads: int
) -> None:
    workload = Workload(threads=ASSISTANTS + threads, runs=RUNS)
    track(engine, source_id, [ThreadId(each) for each in workload.thread_ids()])
    found = list(increments(Memory(workload), source_id=source_id))
    first, others = found[:ASSISTANTS], found[ASSISTANTS:]
    with connected(engine) as connection:
        store = Store(connection, sync_id=a_sync(connection), now=NOW)
        store.commit(Batch(increments=first))  # makes partitions, stores instructions
        driver: Any = connection.connection.driver_connection
        with (tmp_path / "trace").open("w") as file:
            driver.pgconn.trace(file.fileno())
            store.commit(Batch(increments=others))
            driver.pgconn.untrace()

    round_trips = (tmp_path / "trace").read_text().count("ReadyForQuery")
    assert round_trips == 8


def test_a_thread_takes_one_request(engine: Engine) -> None:
    world = World(threads=60, runs=300, now=NOW_SECONDS)
    with DemoServer(world, now=world.now) as server:
        syncer = Syncer(engine, server.base_url)
        syncer.track(server.thread_ids)

        first, second = syncer.sync(), syncer.sync()

    assert first.pages <= first.requests < first.pages + 40  # which prove the source
    assert second.requests == second.pages == 60
