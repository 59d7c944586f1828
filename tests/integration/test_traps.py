"""Servers that break the API's rules: complete data or a named error, never silence."""

from itertools import count
from typing import Any

import pytest
from sqlalchemy.engine import Engine

import etl.wiring.sources
from etl.extract.retry import RetryPolicy
from tests.integration.builders import comparable, query
from tests.integration.look_alikes import (
    MOST_REQUESTS,
    NOW,
    OPEN_TOO,
    STUCK,
    WORLD,
    AlwaysAscends,
    AlwaysDescends,
    AlwaysPromises,
    BareEnvelope,
    ComparesIds,
    ComparesIdsAndPromisesNothing,
    ComparesSeconds,
    ComparesSecondsWithFixedTies,
    ComparesUnorderedIds,
    FailsAfterUnknown,
    IgnoresCursor,
    IgnoresThread,
    IsInclusive,
    KnowsNothingAfterUnknown,
    LookAlike,
    Myla,
    MylaInSeconds,
    NamesAnotherLast,
    NumbersRuns,
    OpenAssistant,
    Prism,
    PromisesMoreThanNothing,
    PromisesNothing,
    SendsShortPages,
    SendsShortPagesAndPromisesNothing,
    TellsMilliseconds,
    World,
    apart,
    at_once,
)
from tests.integration.syncing import Syncer


@pytest.fixture
def engine(swept_engine: Engine) -> Engine:
    return swept_engine


@pytest.fixture(autouse=True)
def _hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Retries do not wait."""
    hasty = RetryPolicy(shortest_seconds=0, longest_seconds=0)
    monkeypatch.setattr(etl.wiring.sources, "RetryPolicy", lambda: hasty)


def lacking(server: LookAlike, syncer: Syncer) -> dict[str, int]:
    """How many runs of which threads are not in the tables as they are now."""
    stored = syncer.payloads()
    lost = {
        thread_id: sum(stored.get(str(run["id"])) != comparable(run) for run in runs)
        for thread_id, runs in server.threads.items()
    }
    return {thread_id: count for thread_id, count in lost.items() if count}


def sync(server: LookAlike, syncer: Syncer) -> set[str]:
    """Sync once; answer the threads that failed, having checked the promise.

    The promise: what is not complete is named, and no thread is asked for ever.
    """
    server.requests.clear()
    report = syncer.sync()
    assert all(failure.thread for failure in report.errors), report.errors
    assert max(server.requests.values()) <= MOST_REQUESTS
    named = {str(failure.thread) for failure in report.errors}
    lost = lacking(server, syncer)
    assert lost.keys() <= named, {thread: lost[thread] for thread in lost.keys() - named}
    return named


def a_syncer(engine: Engine, server: LookAlike, base_url: str, *, trusted: bool) -> Syncer:
    """Tracks the server's threads."""
    name = f"{type(server).__name__}_{next(NUMBERS)}"
    syncer = Syncer(engine, base_url, name=name, trusted=trusted)
    syncer.track(list(server.threads))
    return syncer


NUMBERS = count()


def lived_with(trap: type[LookAlike], engine: Engine, *, trusted: bool) -> set[str]:
    """The threads that failed in the first sync; the promise holds in later ones too."""
    server = trap()
    server.open_some()
    with server.listening() as base_url:
        syncer = a_syncer(engine, server, base_url, trusted=trusted)
        failed = sync(server, syncer)
        if failed:
            assert sync(server, syncer) == failed
        live_on(server)
        sync(server, syncer)
    return failed


def named(value: object) -> str | None:
    """A trap's name, for pytest."""
    return value.__name__ if isinstance(value, type) else ""


def live_on(server: LookAlike) -> None:
    """Threads grow by a little or by more than a page; open runs end or go back."""
    runs = server.threads["pages"]
    runs[STUCK] |= {"status": "expired", "expires_at": None}
    runs[OPEN_TOO] |= {"status": "queued"}
    runs[-1] |= {"status": "completed", "usage": {"total_tokens": 7}}
    for thread_id, grows_by in GROWTH.items():
        server.grow(thread_id, [NOW - 3600 + number // 2 for number in range(grows_by)])


GROWTH = dict.fromkeys(WORLD, 3) | {"one": 1, "a_page": 1, "most_of_a_page": 150}
ALL = set(WORLD)
SHORT = {"none", "one", "five_at_once"}
LONG = {"pages", "sevens", "crowd"}

UNTRUSTED: list[tuple[type[LookAlike], set[str]]] = [
    (LookAlike, set()),
    (PromisesNothing, set()),
    (ComparesSeconds, {"crowd"}),
    (ComparesSecondsWithFixedTies, {"crowd"}),
    (ComparesIds, LONG),
    (ComparesUnorderedIds, LONG),
    (KnowsNothingAfterUnknown, set()),
    (FailsAfterUnknown, set()),
    (NamesAnotherLast, set()),
    (PromisesMoreThanNothing, {"none"}),
    (AlwaysPromises, SHORT | LONG),
    (IgnoresCursor, LONG),
    (IsInclusive, {"crowd"}),
    (IgnoresThread, ALL),
    (AlwaysDescends, set()),
    (AlwaysAscends, set()),
    (SendsShortPages, set()),
    (BareEnvelope, set()),
    (TellsMilliseconds, set()),
    (NumbersRuns, set()),
    (Myla, set()),
    (MylaInSeconds, {"crowd"}),
    (OpenAssistant, LONG),
    (Prism, SHORT | LONG),
    (ComparesIdsAndPromisesNothing, LONG),
    (SendsShortPagesAndPromisesNothing, set()),
]
"""Every trap, and the threads of which nobody could tell whether they are complete."""


@pytest.mark.parametrize(("trap", "failing"), UNTRUSTED, ids=named)
def test_an_untrusted_server_ends_in_complete_data_or_in_a_named_error(
    engine: Engine, trap: type[LookAlike], failing: set[str]
) -> None:
    assert lived_with(trap, engine, trusted=False) == failing


TRUSTED: list[Any] = [
    (LookAlike, set()),
    (PromisesNothing, set()),
    (ComparesSeconds, {"crowd"}),
    (ComparesSecondsWithFixedTies, {"crowd"}),
    (KnowsNothingAfterUnknown, set()),
    (FailsAfterUnknown, set()),
    (NamesAnotherLast, set()),
    (PromisesMoreThanNothing, {"none"}),
    (AlwaysPromises, ALL),
    (IgnoresCursor, LONG | {"a_page_and_one"}),
    (IsInclusive, {"crowd"}),
    (IgnoresThread, ALL),
    (AlwaysDescends, ALL - SHORT),
    (AlwaysAscends, set()),
    (SendsShortPages, set()),
    (BareEnvelope, set()),
    (TellsMilliseconds, set()),
    (NumbersRuns, set()),
    (Myla, set()),
    (MylaInSeconds, {"crowd"}),
    (Prism, ALL),
    (SendsShortPagesAndPromisesNothing, set()),
]
"""Every trap, and the threads of which the server must be told not to be trusted."""


@pytest.mark.parametrize(("trap", "failing"), TRUSTED, ids=named)
def test_a_trusted_server_that_breaks_a_rule_is_named(
    engine: Engine, trap: type[LookAlike], failing: set[str]
) -> None:
    assert lived_with(trap, engine, trusted=True) == failing


@pytest.mark.parametrize(
    "trap",
    [ComparesIds, ComparesUnorderedIds, OpenAssistant, ComparesIdsAndPromisesNothing],
    ids=named,
)
def test_a_trusted_server_whose_cursors_go_by_id_is_stopped(
    engine: Engine, trap: type[LookAlike]
) -> None:
    server = trap()
    with server.listening() as base_url:
        syncer = a_syncer(engine, server, base_url, trusted=True)
        for _ in range(3):
            assert is_stopped(syncer)
            live_on(server)


def is_stopped(syncer: Syncer) -> bool:
    """Whether a sync ends with the sentence about cursors that go by id."""
    errors = [str(failure) for failure in syncer.sync().errors]
    return any("its cursors go by id" in error for error in errors)


# Worlds of their own -----------------------------------------------------------------

EITHER_WAY = pytest.mark.parametrize("trusted", [False, True], ids=["untrusted", "trusted"])


@EITHER_WAY
@pytest.mark.parametrize("runs", [2, 100, 248])
@pytest.mark.parametrize(
    "trap", [LookAlike, PromisesNothing, ComparesSeconds, MylaInSeconds], ids=named
)
def test_a_thread_whose_runs_share_one_second_is_complete_or_named(
    engine: Engine,
    trap: type[LookAlike],
    runs: int,
    trusted: bool,  # noqa: FBT001  # a parameter
) -> None:
    server = trap({"thread": (runs, at_once)})
    with server.listening() as base_url:
        syncer = a_syncer(engine, server, base_url, trusted=trusted)
        first, second = sync(server, syncer), sync(server, syncer)

    is_told_apart = runs < 100 or trap in {LookAlike, PromisesNothing}
    assert first == second == (set() if is_told_apart else {"thread"})


SMALL: World = {"few": (12, apart), "a_page_and_one": (101, apart), "pages": (248, apart)}
KEEPING_COUNT = [LookAlike, KnowsNothingAfterUnknown, FailsAfterUnknown, Myla]


@EITHER_WAY
@pytest.mark.parametrize("trap", KEEPING_COUNT, ids=named)
def test_where_the_bookmarks_run_is_gone_nothing_is_missed(
    engine: Engine,
    trap: type[LookAlike],
    trusted: bool,  # noqa: FBT001  # a parameter
) -> None:
    server = trap(SMALL)
    with server.listening() as base_url:
        syncer = a_syncer(engine, server, base_url, trusted=trusted)
        assert sync(server, syncer) == set()
        for thread_id, runs in server.threads.items():
            del runs[-1]
            server.grow(thread_id, [NOW - 3600])

        assert sync(server, syncer) == set()


@EITHER_WAY
@pytest.mark.parametrize("trap", KEEPING_COUNT, ids=named)
def test_where_all_ids_are_new_nothing_is_missed_and_what_was_there_stays(
    engine: Engine,
    trap: type[LookAlike],
    trusted: bool,  # noqa: FBT001  # a parameter
) -> None:
    server = trap(SMALL)
    with server.listening() as base_url:
        syncer = a_syncer(engine, server, base_url, trusted=trusted)
        sync(server, syncer)
        before = syncer.payloads()
        server.forget_all()
        failing = sync(server, syncer)

        assert before.items() <= syncer.payloads().items()
    fails = trusted and issubclass(trap, FailsAfterUnknown)
    assert failing == (set(SMALL) if fails else set())


@pytest.mark.parametrize("runs", [2, 3, 12])
def test_a_new_run_with_a_lower_id_is_not_missed_by_a_pass_that_goes_on(
    engine: Engine, runs: int
) -> None:
    grown_with_unordered_ids(engine, runs)


def test_a_run_after_a_full_page_is_not_missed_where_its_id_is_lower_and_none_is_promised(
    engine: Engine,
) -> None:
    server = ComparesIdsAndPromisesNothing({f"thread_{n}": (101, apart) for n in range(12)})
    with server.listening() as base_url:
        assert sync(server, a_syncer(engine, server, base_url, trusted=False)) == set()


@pytest.mark.parametrize("runs", [1, 2, 3, 12])
def test_a_new_run_with_a_lower_id_stops_a_trusted_server(
    engine: Engine, runs: int
) -> None:
    world = {f"thread_{runs}_{number}": (runs, apart) for number in range(20)}
    server = ComparesUnorderedIds(world)
    with server.listening() as base_url:
        syncer = a_syncer(engine, server, base_url, trusted=True)
        assert is_stopped(syncer) == (runs > 1)
        for thread_id in world:
            server.grow(thread_id, [NOW - 3600])

        assert is_stopped(syncer)


def grown_with_unordered_ids(engine: Engine, runs: int) -> None:
    """Twenty threads that grow by one run, wherever its id falls."""
    world = {f"thread_{runs}_{number}": (runs, apart) for number in range(20)}
    server = ComparesUnorderedIds(world)
    with server.listening() as base_url:
        syncer = a_syncer(engine, server, base_url, trusted=False)
        sync(server, syncer)
        for thread_id in world:
            server.grow(thread_id, [NOW - 3600])

        assert sync(server, syncer) == set()


def test_a_run_that_goes_back_and_one_that_is_stuck_end_in_the_tables_as_they_end(
    engine: Engine,
) -> None:
    server = LookAlike()
    server.open_some()
    with server.listening() as base_url:
        syncer = a_syncer(engine, server, base_url, trusted=False)
        sync(server, syncer)
        assert query(
            engine,
            "SELECT watched_run_ids FROM run_sync.threads WHERE thread_id = 'pages'",
        ) == [([server.threads["pages"][STUCK]["id"]],)]
        for status in ("queued", "in_progress", "completed"):
            server.threads["pages"][OPEN_TOO] |= {"status": status}
            assert sync(server, syncer) == set()
