"""Whole syncs over HTTP: from the demo's living world into a real Postgres."""

import time
from collections.abc import Iterator
from itertools import count
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from sqlalchemy.engine import Engine

from etl.demo.listener import Reply
from etl.demo.server import DemoServer
from etl.demo.world import World
from etl.domain.outcome import Outcome
from etl.domain.run import is_terminal
from tests.integration.builders import comparable, query, row_versions, rows
from tests.integration.serving import listening
from tests.integration.syncing import KEY, Syncer

WORLD = World(threads=12, runs=300, now=int(time.time()))  # open runs are not stale
LONGEST, EMPTY = WORLD.thread_ids[0], WORLD.thread_ids[-1]
HOUR = 3600


@pytest.fixture
def engine(swept_engine: Engine) -> Engine:
    return swept_engine


@pytest.fixture
def server() -> Iterator[DemoServer]:
    with DemoServer(WORLD, now=WORLD.now, api_key=KEY) as server:
        yield server


@pytest.fixture
def syncer(engine: Engine, server: DemoServer) -> Syncer:
    """Of all threads, none of them read yet."""
    syncer = Syncer(engine, server.base_url, key=KEY)
    syncer.track(server.thread_ids)
    return syncer


def world_at(at: int) -> dict[str, Any]:
    """Every payload of the world, ready to be compared, by id."""
    return {run["id"]: comparable(run) for run in WORLD.all_payloads(at=at)}


def test_the_first_sync_makes_the_tables_equal_the_world(
    engine: Engine, syncer: Syncer, server: DemoServer
) -> None:
    report = syncer.sync()

    expected = world_at(server.now)
    assert syncer.payloads() == expected
    assert (report.outcome, report.errors) == (Outcome.SUCCEEDED, [])
    assert (report.threads, report.threads_failed) == (12, 0)
    assert report.runs_created == report.runs_read == len(expected)
    assert (report.runs_updated, report.runs_unchanged, report.rejects) == (0, 0, 0)
    assert report.requests == server.requests.count
    assert report.pages <= report.requests <= 2 * report.pages
    assert query(
        engine,
        "SELECT trigger, outcome, threads, pages, requests, runs_read, runs_created, error"
        " FROM run_sync.syncs WHERE finished_at > started_at",
    ) == [
        (
            "sync",
            "succeeded",
            12,
            report.pages,
            report.requests,
            len(expected),
            len(expected),
            None,
        )
    ]


def test_a_second_sync_with_nothing_new_asks_once_a_thread_and_writes_no_run(
    engine: Engine, syncer: Syncer, server: DemoServer
) -> None:
    syncer.sync()
    before = row_versions(engine, "run_history"), rows(engine, "run_history")
    asked = server.requests.count

    report = syncer.sync()

    assert server.requests.count - asked == len(WORLD.thread_ids) == report.requests
    assert (report.outcome, report.runs_created, report.runs_updated) == (
        Outcome.SUCCEEDED,
        0,
        0,
    )
    assert (row_versions(engine, "run_history"), rows(engine, "run_history")) == before


def test_a_run_seen_open_gets_its_usage_when_it_has_ended_in_the_same_row(
    engine: Engine, syncer: Syncer, server: DemoServer
) -> None:
    open_ids = set(WORLD.open_run_ids(at=server.now))
    syncer.sync()
    before = syncer.runs()
    server.advance(2 * HOUR)

    report = syncer.sync()

    after = syncer.runs()
    assert open_ids
    for run_id in open_ids:
        assert not is_terminal(before[run_id].status)
        assert before[run_id].total_tokens is None
        assert is_terminal(after[run_id].status)
        assert after[run_id].total_tokens is not None
    assert report.runs_updated == len(open_ids)
    assert report.runs_created == len(after) - len(before)


def test_a_new_run_appears(syncer: Syncer, server: DemoServer) -> None:
    syncer.sync()
    before = world_at(server.now)
    server.advance(2 * HOUR)
    now = world_at(server.now)
    assert len(now) > len(before)

    report = syncer.sync()

    assert report.runs_created == len(now) - len(before)
    assert syncer.payloads() == now


def test_an_empty_thread_is_read_and_has_no_bookmark(
    engine: Engine, syncer: Syncer
) -> None:
    syncer.sync()

    ((read, bookmark),) = query(
        engine,
        "SELECT last_pass_at IS NOT NULL, synced_through FROM run_sync.threads"
        " WHERE thread_id = :id",
        id=EMPTY,
    )
    assert (read, bookmark) == (True, None)


def test_one_threads_failure_is_its_own(
    engine: Engine, syncer: Syncer, server: DemoServer
) -> None:
    syncer.track(["thread_that_nobody_knows"])

    report = syncer.sync()

    assert report.outcome is Outcome.PARTIAL
    assert [failure.thread for failure in report.errors] == ["thread_that_nobody_knows"]
    assert (report.threads, report.threads_failed) == (13, 1)
    assert syncer.payloads() == world_at(server.now)
    assert query(
        engine,
        "SELECT thread_id, consecutive_errors FROM run_sync.threads"
        " WHERE last_error IS NOT NULL",
    ) == [("thread_that_nobody_knows", 1)]


def everything(engine: Engine) -> str:
    """All that stands in any table."""
    return "\n".join(row for found in rows(engine).values() for row in found)


def test_the_key_of_a_sync_that_succeeds_stands_nowhere(
    engine: Engine, syncer: Syncer
) -> None:
    report = syncer.sync()

    assert report.outcome is Outcome.SUCCEEDED
    assert KEY not in everything(engine) + repr(report)


@pytest.mark.parametrize("status", [400, 401, 404, 429])
def test_the_key_stands_nowhere_even_if_a_server_says_it_back(
    engine: Engine, status: int
) -> None:
    def say_back(_line: str, _target: str, authorization: str | None) -> Reply:
        message = f"Incorrect API key provided: {authorization}"
        error = {"message": message, "code": "insufficient_quota"}
        return Reply(status, {"error": error})

    with listening(say_back) as base_url:
        syncer = Syncer(engine, base_url, key=KEY)
        syncer.track(["thread_1", "thread_2"])
        report = syncer.sync()

    assert report.outcome is Outcome.FAILED
    assert "Incorrect API key provided" in everything(engine)
    assert KEY not in everything(engine) + repr(report)


@pytest.fixture
def numbers_of_examples() -> Iterator[int]:
    return count()


@settings(
    max_examples=8,
    deadline=None,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],  # shrinking takes minutes
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    seed=st.integers(0, 10_000),
    steps=st.lists(st.sampled_from([0, 1, 5, 20, 60, 300, 900]), max_size=6),
    page_size=st.sampled_from([1, 2, 7, 100]),
)
def test_however_the_world_moves_between_syncs_the_last_makes_the_tables_equal_it(
    engine: Engine,
    numbers_of_examples: Iterator[int],
    seed: int,
    steps: list[int],
    page_size: int,
) -> None:
    world = World(seed=seed, threads=6, runs=40, now=WORLD.now)
    name = f"example_{next(numbers_of_examples)}"
    with DemoServer(world, now=world.now) as server:
        syncer = Syncer(engine, server.base_url, name=name, page_size=page_size)
        syncer.track(server.thread_ids)
        for step in steps:
            syncer.sync()
            server.advance(step)
        report = syncer.sync()

        assert report.outcome is Outcome.SUCCEEDED
        assert syncer.payloads() == {
            run["id"]: comparable(run) for run in world.all_payloads(at=server.now)
        }
