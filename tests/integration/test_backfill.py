"""Reading from the start: what it finds, and what an interruption cannot spoil."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from sqlalchemy.engine import Engine

from etl.config import SyncConfig
from etl.domain.outcome import Outcome, SyncReport
from etl.domain.run import ThreadId
from etl.load import ledger
from etl.wiring import run_backfill
from tests.integration.builders import comparable, execute, query
from tests.integration.commands import Runtide
from tests.integration.raw_serving import Answer, Request, an_answer
from tests.integration.raw_threads import RawThreads, a_run_of
from tests.integration.syncing import Syncer, Unwatched

Json = Any
THREADS = [f"thread_{number}" for number in range(6)]
ONE = THREADS[0]
RUNS = 5


@pytest.fixture
def engine(swept_engine: Engine) -> Engine:
    return swept_engine


@pytest.fixture
def server() -> RawThreads:
    """Six threads of five runs each; the last run of each is still open."""
    server = RawThreads()
    for thread in THREADS:
        server.fill(thread, RUNS - 1)
        last = a_run_of(thread, RUNS - 1, status="in_progress", usage=None)
        server.put(thread, last["id"], last | {"expires_at": 4_000_000_000})
    return server


@pytest.fixture
def base_url(server: RawThreads) -> Iterator[str]:
    with server.listening() as base_url:
        yield base_url


@pytest.fixture
def syncer(engine: Engine, base_url: str) -> Syncer:
    """Of all threads, each read once; two runs on a page."""
    syncer = Syncer(engine, base_url, page_size=2)
    syncer.track(THREADS)
    assert syncer.sync().outcome is Outcome.SUCCEEDED
    return syncer


@pytest.fixture
def runtide(
    tmp_path: Path, engine: Engine, base_url: str, capsys: pytest.CaptureFixture[str]
) -> Runtide:
    runtide = Runtide(tmp_path, engine, capsys)
    runtide.configure(base_url, page_size=2)
    return runtide


def asked_by(server: RawThreads, act: Callable[[], object]) -> set[str]:
    """The threads that were read from their start meanwhile."""
    before = len(server.requests)
    act()
    return {
        request.thread_id
        for request in server.requests[before:]
        if "after" not in request.query and request.run_id is None
    }


def retag(server: RawThreads) -> None:
    """Change the metadata of the first run of each thread, long after it ended."""
    for thread in THREADS:
        server.change(thread, f"{thread}_run_0", metadata={"tag": "new"})


def tagged(syncer: Syncer) -> set[str]:
    """The threads whose first run has its new metadata."""
    payloads = syncer.payloads()
    return {
        thread
        for thread in THREADS
        if payloads[f"{thread}_run_0"]["metadata"] == {"tag": "new"}
    }


def triggers(engine: Engine) -> list[tuple[Any, ...]]:
    return query(engine, "SELECT trigger, outcome FROM run_sync.syncs ORDER BY sync_id")


def bookmarks(engine: Engine) -> list[tuple[Any, ...]]:
    return query(
        engine, "SELECT thread_id, synced_through FROM run_sync.threads ORDER BY thread_id"
    )


def test_a_backfill_finds_what_changed_after_a_run_had_ended_and_a_sync_does_not(
    engine: Engine, server: RawThreads, syncer: Syncer, runtide: Runtide
) -> None:
    retag(server)
    before = bookmarks(engine)
    syncer.sync()
    found_by_sync = tagged(syncer)

    printed = runtide("backfill", "--json")

    assert found_by_sync == set()
    assert tagged(syncer) == set(THREADS)
    assert syncer.payloads() == comparable(server.payloads())
    assert bookmarks(engine) == before
    report = json.loads(printed.out)
    assert (printed.code, report["outcome"]) == (0, "succeeded")
    assert (report["threads"], report["runs_updated"]) == (len(THREADS), len(THREADS))
    assert triggers(engine)[-1] == ("backfill", "succeeded")


def test_a_backfill_of_one_thread_reads_no_other(
    engine: Engine, server: RawThreads, syncer: Syncer, runtide: Runtide
) -> None:
    retag(server)

    asked = asked_by(server, lambda: runtide("backfill", "--thread", ONE))

    assert asked == tagged(syncer) == {ONE}
    assert triggers(engine)[-1] == (f"backfill of thread {ONE}", "succeeded")


def test_a_backfill_of_a_thread_that_is_not_tracked_is_wrong_usage(
    syncer: Syncer, runtide: Runtide
) -> None:
    printed = runtide("backfill", "--thread", "thread_9")

    assert printed == (
        2,
        "",
        "runtide: Thread thread_9 is not tracked; run `runtide track thread_9` first.\n",
    )


def test_a_backfill_of_one_source_reads_no_other(
    engine: Engine, server: RawThreads, syncer: Syncer, runtide: Runtide, base_url: str
) -> None:
    other = Syncer(engine, base_url, name="other")
    other.track(THREADS)
    other.sync()
    retag(server)

    runtide("backfill", "--source", "demo")

    assert tagged(syncer) == set(THREADS)
    assert tagged(other) == set()
    assert triggers(engine)[-1] == ("backfill of demo", "succeeded")


def test_since_leaves_out_threads_without_a_run_created_since_then(
    engine: Engine, server: RawThreads, syncer: Syncer, runtide: Runtide
) -> None:
    later = a_run_of(ONE, RUNS) | {"created_at": 1_796_000_000}  # 2026-11-30
    server.put(ONE, later["id"], later)
    syncer.sync()
    retag(server)

    runtide("backfill", "--since", "2026-11-30")

    assert tagged(syncer) == {ONE}
    assert triggers(engine)[-1] == ("backfill since 2026-11-30 00:00:00", "succeeded")


def test_a_date_that_is_none_is_wrong_usage(runtide: Runtide) -> None:
    printed = runtide("backfill", "--since", "yesterday")

    assert printed.code == 2
    assert "'yesterday' does not match the formats" in printed.err


def test_a_run_found_in_a_backfill_holds_the_bookmark_as_in_a_sync(
    engine: Engine, server: RawThreads, syncer: Syncer, runtide: Runtide
) -> None:
    """Else its later end would be missed."""
    runtide("backfill", "--quiet")
    last = f"{ONE}_run_{RUNS - 1}"
    server.change(ONE, last, status="completed", usage={"total_tokens": 9})

    syncer.sync()

    assert syncer.runs()[last].total_tokens == 9


# Interruptions


@pytest.mark.parametrize(("left", "goes_on"), [(5, True), (0, False)])
def test_a_backfill_whose_window_was_too_short_is_gone_on_with(
    engine: Engine, left: int, *, goes_on: bool
) -> None:
    execute(
        engine,
        "INSERT INTO run_sync.syncs (trigger, started_at, outcome, threads_left)"
        f" VALUES ('backfill', now() - interval '2 hours', 'succeeded', {left})",
    )
    [(began,)] = query(engine, "SELECT started_at FROM run_sync.syncs")

    since = ledger.unfinished_since(engine, trigger="backfill")

    assert (since == began) is goes_on


class Interrupted:
    """Backfills that end in the middle: a stop, or a server that fails for good."""

    def __init__(self, syncer: Syncer, server: RawThreads) -> None:
        self._syncer = syncer
        self._server = server

    def stopped_after(self, requests: int) -> SyncReport:
        """Ask the backfill to stop when it has sent so many requests."""
        stop = threading.Event()
        left = iter(range(requests))

        def ask(_: Request) -> None:
            if next(left, None) is None:
                stop.set()

        self._server.interrupt = ask
        report = self.backfill(stop)
        self._server.interrupt = lambda _: None
        return report

    def refused_after(self, requests: int) -> SyncReport:
        """Refuse everything with a billing error after so many requests."""
        left = iter(range(requests))
        error = {"error": {"code": "insufficient_quota", "message": "Pay first."}}

        def refuse(_: Request) -> Answer | None:
            return None if next(left, None) is not None else an_answer(error, status=429)

        self._server.interrupt = refuse
        report = self.backfill(threading.Event())
        self._server.interrupt = lambda _: None
        return report

    def backfill(self, stop: threading.Event, thread: str | None = None) -> SyncReport:
        return run_backfill(
            self._syncer.settings,
            source=None,
            thread=ThreadId(thread) if thread else None,
            since=None,
            watch=lambda: nullcontext(Unwatched()),
            stop=stop,
        )


@pytest.fixture
def interrupted(syncer: Syncer, server: RawThreads) -> Interrupted:
    """One worker, so that threads end one after the other."""
    return Interrupted(one_worker(syncer), server)


def one_worker(syncer: Syncer) -> Syncer:
    sync = SyncConfig(workers=1, page_size=2)
    config = replace(syncer.settings.config, sync=sync)
    syncer.settings = replace(syncer.settings, config=config)
    return syncer


def walked(engine: Engine) -> set[str]:
    """Threads that the last backfill has read to their end."""
    found = query(
        engine,
        "SELECT thread_id FROM run_sync.threads WHERE walked_at >="
        " (SELECT min(started_at) FROM run_sync.syncs WHERE trigger LIKE 'backfill%')",
    )
    return {thread for (thread,) in found}


def test_a_backfill_that_was_stopped_goes_on_where_it_was(
    engine: Engine, server: RawThreads, syncer: Syncer, interrupted: Interrupted
) -> None:
    retag(server)
    first = interrupted.stopped_after(10)
    before = walked(engine)

    asked = asked_by(server, lambda: interrupted.backfill(threading.Event()))

    assert first.outcome is Outcome.INTERRUPTED
    assert 0 < len(before) < len(THREADS)
    assert asked == set(THREADS) - before
    assert tagged(syncer) == set(THREADS)
    assert triggers(engine)[-2:] == [
        ("backfill", "interrupted"),
        ("backfill", "succeeded"),
    ]


def test_a_backfill_whose_source_failed_goes_on_too(
    engine: Engine, server: RawThreads, interrupted: Interrupted
) -> None:
    first = interrupted.refused_after(10)
    before = walked(engine)
    execute(engine, "UPDATE run_sync.syncs SET outcome = NULL")  # as if it was killed

    asked = asked_by(server, lambda: interrupted.backfill(threading.Event()))

    assert first.outcome is Outcome.PARTIAL
    assert 0 < len(before) < len(THREADS)
    assert asked == set(THREADS) - before


def test_a_backfill_that_ended_begins_anew(
    server: RawThreads, interrupted: Interrupted
) -> None:
    interrupted.stopped_after(10)
    interrupted.backfill(threading.Event())

    asked = asked_by(server, lambda: interrupted.backfill(threading.Event()))

    assert asked == set(THREADS)


def test_a_backfill_that_was_given_up_is_not_gone_on_with_after_a_week(
    engine: Engine, server: RawThreads, interrupted: Interrupted
) -> None:
    interrupted.stopped_after(10)
    execute(
        engine,
        "UPDATE run_sync.syncs SET started_at = started_at - interval '8 days'",
        "UPDATE run_sync.threads SET walked_at = walked_at - interval '8 days'",
    )

    asked = asked_by(server, lambda: interrupted.backfill(threading.Event()))

    assert asked == set(THREADS)


def test_a_backfill_of_one_thread_is_no_part_of_one_of_all(
    server: RawThreads, interrupted: Interrupted
) -> None:
    """Neither does its end end the other, nor does the other skip what it has begun."""
    interrupted.stopped_after(10)
    interrupted.backfill(threading.Event(), thread=ONE)

    asked = asked_by(server, lambda: interrupted.backfill(threading.Event()))

    assert 0 < len(asked) < len(THREADS)


@settings(
    max_examples=8,
    deadline=None,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],  # shrinking takes minutes
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    st.lists(
        st.tuples(st.sampled_from(["stopped", "refused"]), st.integers(0, 24)),
        min_size=1,
        max_size=3,
    )
)
def test_after_any_interruption_a_sync_still_completes_and_nothing_got_worse(
    engine: Engine,
    server: RawThreads,
    syncer: Syncer,
    interrupted: Interrupted,
    endings: list[tuple[str, int]],
) -> None:
    for ending, requests in endings:
        seen = syncer.payloads()
        if ending == "refused":
            interrupted.refused_after(requests)
        else:
            interrupted.stopped_after(requests)
        assert seen.items() <= syncer.payloads().items()
    new = a_run_of(ONE, len(server.threads[ONE]))
    server.put(ONE, new["id"], new)

    report = syncer.sync()

    assert (report.outcome, report.errors) == (Outcome.SUCCEEDED, [])
    assert syncer.payloads() == comparable(server.payloads())
    assert all(
        through in {f"{thread}_run_{RUNS - 2}", f"{thread}_run_{RUNS}"}
        for thread, through in bookmarks(engine)
    )


# Tombstones


def bury(engine: Engine) -> None:
    """Make a tombstone of one thread."""
    execute(
        engine,
        "UPDATE run_sync.threads SET missing_since = now(), gone_at = now()"
        " WHERE thread_id = 'thread_0'",
    )


def test_a_backfill_asks_for_a_young_tombstone_and_wakes_it(
    engine: Engine, server: RawThreads, syncer: Syncer, runtide: Runtide
) -> None:
    bury(engine)

    asked = asked_by(server, lambda: runtide("backfill"))

    assert asked == set(THREADS)
    assert query(engine, "SELECT 1 FROM run_sync.threads WHERE gone_at IS NOT NULL") == []


def test_a_tombstone_that_stays_gone_is_no_failure_and_keeps_its_rows(
    engine: Engine, server: RawThreads, syncer: Syncer, runtide: Runtide
) -> None:
    before = syncer.payloads()
    del server.threads[ONE]
    bury(engine)

    printed = runtide("backfill")

    assert (printed.code, printed.err) == (0, "")
    assert syncer.payloads() == before


# Walks that come of themselves


@pytest.fixture
def nightly(runtide: Runtide, base_url: str) -> Runtide:
    """A sync that reads each thread from its start every 28 days."""
    runtide.configure(base_url, page_size=2, sync='full_walk_every = "28d"')
    return runtide


def age(engine: Engine, days: int) -> None:
    """Let the last walk of every thread lie some days further back."""
    execute(
        engine,
        f"UPDATE run_sync.threads SET walked_at = walked_at - interval '{days} days',"
        f" tracked_at = tracked_at - interval '{days} days'",
    )


def test_without_the_setting_no_sync_walks(
    engine: Engine, server: RawThreads, syncer: Syncer, runtide: Runtide
) -> None:
    age(engine, 10_000)

    assert asked_by(server, lambda: runtide("sync")) == set()


def test_a_walk_comes_between_half_of_the_interval_and_the_whole(
    engine: Engine, server: RawThreads, syncer: Syncer, nightly: Runtide
) -> None:
    retag(server)
    age(engine, 13)
    too_early = asked_by(server, lambda: nightly("sync"))
    age(engine, 15)

    printed = nightly("sync", "--json")

    assert too_early == set()
    assert tagged(syncer) == set(THREADS)
    assert json.loads(printed.out)["runs_updated"] == len(THREADS)
    assert asked_by(server, lambda: nightly("sync")) == set()


def test_threads_that_were_walked_together_are_spread_over_the_nights(
    engine: Engine, base_url: str, nightly: Runtide
) -> None:
    server, many = RawThreads(), [f"thread_{number}" for number in range(70)]
    for thread in many:
        server.fill(thread, 2)
    with server.listening() as elsewhere:
        syncer = Syncer(engine, elsewhere)
        syncer.track(many)
        syncer.sync()
        nightly.configure(elsewhere, sync='full_walk_every = "28d"')
        age(engine, 13)
        nights = []
        for _ in range(15):
            age(engine, 1)
            nights.append(len(asked_by(server, lambda: nightly("sync", "--quiet"))))

    assert sum(nights) == len(many)
    assert max(nights) <= 15  # of 5 on average


def test_a_thread_whose_first_pass_was_interrupted_has_its_walk_too(
    engine: Engine, server: RawThreads, syncer: Syncer, nightly: Runtide
) -> None:
    """It was read in two passes; no single one went through all of it."""
    execute(engine, "UPDATE run_sync.threads SET walked_at = NULL")
    assert asked_by(server, lambda: nightly("sync")) == set()
    age(engine, 29)

    assert asked_by(server, lambda: nightly("sync")) == set(THREADS)
