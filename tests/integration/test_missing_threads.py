"""A 404 is not a deletion: what becomes of threads that a server does not know."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy.engine import Engine

from etl.domain.outcome import Outcome
from etl.sync.triage import ENOUGH_MISSING
from tests.integration.builders import execute, query
from tests.integration.commands import Runtide
from tests.integration.look_alikes import NOW, LookAlike, apart
from tests.integration.raw_serving import Answer, Request, an_answer
from tests.integration.syncing import Syncer

WORLD = {f"thread_{number}": (12, apart) for number in range(5)}
GONE, *OTHERS = WORLD


@pytest.fixture
def engine(swept_engine: Engine) -> Engine:
    return swept_engine


class Forgetful(LookAlike):
    """Does not know some threads, or does not know them when asked with a cursor."""

    def __init__(self) -> None:
        super().__init__(WORLD)
        self.gone: set[str] = set()
        self.asked: list[Request] = []

    def answer(self, request: Request) -> Answer:
        self.asked.append(request)
        if request.thread_id in self.gone:
            return not_found(f"No thread found with id '{request.thread_id}'.")
        return super().answer(request)

    def unknown_cursor(self, cursor: str) -> Answer:
        return not_found(f"No run found with id '{cursor}'.")


def not_found(message: str) -> Answer:
    return an_answer({"error": {"message": message}}, status=404)


class World:
    """A server, its copy, and what the registry says of the threads."""

    def __init__(self, engine: Engine, server: Forgetful, base_url: str) -> None:
        self.engine = engine
        self.server = server
        self.syncer = Syncer(engine, base_url)
        self.syncer.track(list(server.threads))

    def sync(self) -> tuple[Outcome, set[str | None]]:
        """How a sync ended, and which threads failed."""
        self.server.asked.clear()
        report = self.syncer.sync()
        return report.outcome, {failure.thread for failure in report.errors}

    def wait(self, *, minutes: int = 61) -> None:
        """Move the registry's instants into the past."""
        earlier = f"missing_since - interval '{minutes} min'"
        statement = f"UPDATE run_sync.threads SET missing_since = {earlier}"
        execute(self.engine, statement)

    def marked(self) -> dict[str, str]:
        """The threads that are missing, or gone."""
        return {
            thread_id: "gone" if is_gone else "missing"
            for thread_id, is_gone in query(
                self.engine,
                "SELECT thread_id, gone_at IS NOT NULL FROM run_sync.threads"
                " WHERE missing_since IS NOT NULL OR gone_at IS NOT NULL",
            )
        }


@pytest.fixture
def server() -> Forgetful:
    return Forgetful()


@pytest.fixture
def world(engine: Engine, server: Forgetful) -> Iterator[World]:
    """All threads synced once."""
    with server.listening() as base_url:
        world = World(engine, server, base_url)
        assert world.sync() == (Outcome.SUCCEEDED, set())
        yield world


# A source that was switched off ------------------------------------------------------


def test_where_every_thread_is_missing_no_thread_is_marked_and_the_source_is_named(
    engine: Engine, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    threads = [f"thread_{number}" for number in range(3_000)]
    asked = []

    class SwitchedOff(LookAlike):
        def answer(self, request: Request) -> Answer:
            asked.append(request)
            return not_found("Invalid URL (GET /v1/threads)")

    runtide = Runtide(tmp_path, engine, capsys)
    with SwitchedOff({}).listening() as base_url:
        Syncer(engine, base_url).track(threads)
        runtide.configure(base_url)
        printed = runtide("sync", "--quiet")

    assert printed.code == 1
    assert printed.err.startswith("runtide: demo: ")
    assert "threads asked are unknown to the server" in printed.err
    assert "HTTP 404 Invalid URL (GET /v1/threads) (request id req_of_test)" in printed.err
    assert printed.err.endswith("so no thread was marked as missing\n")
    assert printed.err.count("\n") == 1
    assert ENOUGH_MISSING <= len(asked) < 2 * ENOUGH_MISSING + 40
    assert query(
        engine,
        "SELECT count(*), count(missing_since), count(gone_at), sum(consecutive_errors)"
        " FROM run_sync.threads",
    ) == [(3_000, 0, 0, 0)]


def test_a_source_that_is_switched_off_later_keeps_threads_and_runs(
    world: World, server: Forgetful
) -> None:
    before = world.syncer.payloads()
    server.gone = set(server.threads)

    for _ in range(2):
        assert world.sync() == (Outcome.FAILED, {None})
        world.wait()

    assert world.marked() == {}
    assert world.syncer.payloads() == before


def test_where_most_threads_are_missing_none_is_marked(
    world: World, server: Forgetful
) -> None:
    server.gone = {GONE, *OTHERS[:2]}

    for _ in range(2):
        assert world.sync() == (Outcome.PARTIAL, {None})
        world.wait()

    assert world.marked() == {}


def test_a_thread_that_is_missing_alone_is_not_marked(
    engine: Engine, server: Forgetful
) -> None:
    server.gone = {GONE}
    server.threads = {GONE: []}
    with server.listening() as base_url:
        world = World(engine, server, base_url)
        for _ in range(2):
            assert world.sync() == (Outcome.FAILED, {GONE})
            world.wait()

    assert world.marked() == {}


# A thread that is gone ---------------------------------------------------------------


def test_a_thread_is_gone_after_two_syncs_an_hour_apart_that_others_answered(
    world: World, server: Forgetful
) -> None:
    before = world.syncer.payloads()
    server.gone = {GONE}

    assert world.sync() == (Outcome.PARTIAL, {GONE})
    assert world.marked() == {GONE: "missing"}
    world.wait()
    assert world.sync() == (Outcome.PARTIAL, {GONE})

    assert world.marked() == {GONE: "gone"}
    assert world.sync() == (Outcome.SUCCEEDED, set())
    assert world.syncer.payloads() == before


def test_two_syncs_within_an_hour_are_not_enough(world: World, server: Forgetful) -> None:
    server.gone = {GONE}

    world.sync()
    world.wait(minutes=58)
    world.sync()

    assert world.marked() == {GONE: "missing"}


def test_a_sync_in_which_the_source_was_off_does_not_count(
    world: World, server: Forgetful
) -> None:
    server.gone = {GONE}
    world.sync()
    world.wait()
    server.gone = set(server.threads)

    assert world.sync() == (Outcome.FAILED, {None})

    assert world.marked() == {GONE: "missing"}


def test_a_thread_that_answers_in_between_is_missing_no_more(
    world: World, server: Forgetful
) -> None:
    server.gone = {GONE}
    world.sync()
    world.wait()
    server.gone = set()
    assert world.sync() == (Outcome.SUCCEEDED, set())
    assert world.marked() == {}
    server.gone = {GONE}
    world.sync()

    assert world.marked() == {GONE: "missing"}


def test_a_tombstone_that_answers_again_comes_back_to_life(
    world: World, server: Forgetful
) -> None:
    server.gone = {GONE}
    for _ in range(2):
        world.sync()
        world.wait()
    assert world.marked() == {GONE: "gone"}
    server.gone = set()
    server.grow(GONE, [NOW - 60])

    assert world.sync() == (Outcome.SUCCEEDED, set())

    assert world.marked() == {}
    assert str(server.threads[GONE][-1]["id"]) in world.syncer.payloads()


# The cursor's run may be what is gone ------------------------------------------------


def test_a_404_with_a_cursor_is_asked_again_without_it(
    world: World, server: Forgetful
) -> None:
    del server.threads[GONE][:]
    server.grow(GONE, [NOW - 60])

    assert world.sync() == (Outcome.SUCCEEDED, set())

    queries = [each.query for each in server.asked if each.thread_id == GONE]
    assert ["after" in query for query in queries] == [True, False]
    assert world.marked() == {}
    assert str(server.threads[GONE][0]["id"]) in world.syncer.payloads()


def test_a_thread_is_called_missing_only_where_it_is_missing_without_a_cursor_too(
    world: World, server: Forgetful
) -> None:
    server.gone = {GONE}

    world.sync()

    queries = [each.query for each in server.asked if each.thread_id == GONE]
    assert ["after" in query for query in queries] == [True, False]
    assert world.marked() == {GONE: "missing"}
