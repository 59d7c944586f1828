"""A pass over a living thread: no later change of a run is ever missed.

The thread lives on a made-up server that keeps the API's rules; everything
between its answers and the increments is the real thing.
"""

import itertools
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from etl.domain.batch import Increment, TrackedThread
from etl.domain.bookmark import SETTLING, Bookmark
from etl.domain.errors import ContractError, RetryableError
from etl.domain.page import Page, Payload
from etl.domain.run import SECOND, Instant, RunId, ThreadId, is_terminal
from etl.extract.budget import Budget
from etl.extract.client import Client
from etl.extract.openai import OpenAISource
from etl.extract.retry import RetryPolicy
from etl.extract.untrusted import UntrustedSource
from etl.sync.ports import Source
from etl.sync.reading import MOST_RETRIEVED, read_thread, read_untrusted_thread
from tests.unit.builders import (
    CREATED_AT,
    CREATED_SECONDS,
    Json,
    a_page,
    a_payload,
    a_thread,
    an_answer,
)

TERMINAL = ["completed", "failed", "cancelled", "expired", "incomplete"]
OPEN = ["queued", "in_progress", "requires_action", "cancelling", "a_new_status"]
LATER = CREATED_AT + SETTLING
"""When the builders' runs are old enough for a bookmark."""

UNREADABLE = "unreadable"
"""A run whose payload has no status: it is rejected, and so settled."""

# The living thread -----------------------------------------------------------


@dataclass
class LivingRun:
    """One run, as the server knows it at the moment."""

    run_id: str
    created_at: int
    status: str

    @property
    def place(self) -> tuple[int, str]:
        """Its place in the list; ids that ascend with time are nobody's promise."""
        return self.created_at, self.run_id

    @property
    def is_settled(self) -> bool:
        return self.status == UNREADABLE or is_terminal(self.status)

    def payload(self) -> dict[str, Json]:
        is_open = not self.is_settled
        return a_payload(
            self.run_id,
            created_at=self.created_at,
            status=None if self.status == UNREADABLE else self.status,
            expires_at=self.created_at + 600 if is_open else None,
        )


Event = tuple[str, int, str]
"""What happens: `run`: the n-th one takes a status unless it has ended, beyond the
last one is created; `wait`: so many seconds pass."""

moments = st.one_of(
    st.tuples(
        st.just("run"),
        st.integers(0, 12),
        st.sampled_from([*OPEN, *TERMINAL, *TERMINAL, UNREADABLE]),
    ),
    st.tuples(st.just("wait"), st.sampled_from([1, 1, 5, 9_000, 100_000]), st.just("")),
)
events = st.lists(moments, max_size=4)


@dataclass
class World:
    """A thread on a server; `later` happens piece by piece, before every answer."""

    runs: list[LivingRun] = field(default_factory=list)
    now: int = CREATED_SECONDS
    later: list[list[Event]] = field(default_factory=list)
    fails_at_request: int | None = None

    def happen(self, events: list[Event]) -> None:
        for kind, number, status in events:
            if kind == "wait":
                self.now += number
            elif number >= len(self.runs):
                self.create(status)
            elif not self.runs[number].is_settled:
                self.runs[number].status = status

    def create(self, status: str) -> None:
        """A new run; ties within a second are broken by names that do not ascend."""
        shuffled = len(self.runs) * 37 % 100
        name = f"run_{shuffled:02}_{len(self.runs)}"
        self.runs.append(LivingRun(name, self.now, status))

    def __call__(self, request: httpx.Request) -> httpx.Response:
        if self.fails_at_request is not None:
            self.fails_at_request -= 1
            if self.fails_at_request < 0:
                raise httpx.ReadError("the line is cut")
        if self.later:
            self.happen(self.later.pop(0))
        *_, last = request.url.path.split("/")
        if last != "runs":
            return self.retrieved(last)
        return httpx.Response(200, content=self.listed(dict(request.url.params)))

    def retrieved(self, run_id: str) -> httpx.Response:
        if run_id not in self.statuses():
            return httpx.Response(404)
        return httpx.Response(200, json=self.found(run_id).payload())

    def listed(self, query: dict[str, Any]) -> bytes:
        runs = sorted(self.runs, key=lambda run: run.place)
        if query["order"] == "desc":
            runs.reverse()
        if "after" in query:
            runs = runs[runs.index(self.found(query["after"])) + 1 :]
        page = runs[: int(query["limit"])]
        return an_answer(*(run.payload() for run in page), has_more=len(runs) > len(page))

    def found(self, run_id: str) -> LivingRun:
        return next(run for run in self.runs if run.run_id == run_id)

    def statuses(self) -> dict[str, str]:
        return {run.run_id: run.status for run in self.runs}

    def quiet(self) -> "World":
        """The same thread, where nothing happens and nothing fails."""
        return World([replace(run) for run in self.runs], self.now)


def a_source(world: World, page_size: int) -> OpenAISource:
    client = Client(
        httpx.MockTransport(world),
        "https://h/v1/",
        {},
        api_key=None,
        budget=Budget(60_000, sleep=lambda seconds: None, clock=lambda: 0.0),
        policy=RetryPolicy(attempts=1, first_attempts=1),
        now=lambda: Instant(world.now * SECOND),
        sleep=lambda seconds: None,
    )
    return OpenAISource(client, page_size=page_size)


Reader = Callable[[TrackedThread, World, int], Iterator[Increment]]


def trusting(thread: TrackedThread, world: World, page_size: int) -> Iterator[Increment]:
    return read_thread(thread, a_source(world, page_size))


def doubting(thread: TrackedThread, world: World, page_size: int) -> Iterator[Increment]:
    return read_untrusted_thread(thread, UntrustedSource(a_source(world, page_size)))


# Its copy --------------------------------------------------------------------


@dataclass
class Copy:
    """What was committed of a thread."""

    thread: TrackedThread
    statuses: dict[str, str] = field(default_factory=dict)

    def read(self, reader: Reader, world: World, page_size: int) -> bool:
        """One pass; answer whether it came to its end. What it committed stands.

        Where a page cannot hold what happens within one second, the walk looks as
        if the server skipped runs, and the pass ends there.
        """
        completed = False
        with suppress(RetryableError, ContractError):
            for increment in reader(self.thread, world, page_size):
                assert not completed
                self.commit(increment)
                completed = increment.completes
        return completed

    def commit(self, increment: Increment) -> None:
        assert increment.read_before == self.thread.read_at
        assert self.thread.read_at is None or increment.read_at > self.thread.read_at
        self.statuses |= {run.run_id: run.status for run in increment.runs}
        self.statuses |= {str(reject.run_id): UNREADABLE for reject in increment.rejects}
        self.thread = replace(
            self.thread, bookmark=increment.bookmark, read_at=increment.read_at
        )

    @property
    def bookmark(self) -> Bookmark:
        return self.thread.bookmark

    def twin(self) -> "Copy":
        return Copy(self.thread, dict(self.statuses))


Pass = tuple[int, list[list[Event]], int | None]
"""The page size, what happens before each answer, and the one that is not given."""

one_pass = st.tuples(
    st.integers(1, 5), st.lists(events, max_size=6), st.none() | st.integers(0, 5)
)
lives = st.lists(one_pass, min_size=1, max_size=6)
readers = pytest.mark.parametrize("reader", [trusting, doubting])


def lived(reader: Reader, life: list[Pass]) -> Iterator[tuple[World, Copy]]:
    """A thread and its copy after each pass."""
    world, copy = World(), Copy(a_thread())
    for page_size, later, fails_at_request in life:
        world.later, world.fails_at_request = list(later), fails_at_request
        copy.read(reader, world, page_size)
        yield world, copy
        for before_an_answer in world.later:
            world.happen(before_an_answer)


def outlived(reader: Reader, life: list[Pass]) -> tuple[World, Copy]:
    """A thread and its copy after all passes, and what happened after the last one."""
    *_, last = lived(reader, life)
    return last


def is_behind(run: LivingRun, world: World, bookmark: Bookmark) -> bool:
    """Whether the next pass will not see the run: it begins before the last second.

    Where it does not meet the bookmark's own run, it begins at the thread's start.
    """
    if bookmark.overlap_from is None or bookmark.synced_through is None:
        return False
    start, through = map(world.found, (bookmark.overlap_from, bookmark.synced_through))
    return run.place <= start.place < through.place


# What must hold --------------------------------------------------------------


@readers
@given(life=lives)
@settings(max_examples=60, deadline=None)
def test_every_run_behind_the_bookmark_is_settled_or_watched(
    reader: Reader, life: list[Pass]
) -> None:
    for world, copy in lived(reader, life):
        for run in world.runs:
            if is_behind(run, world, copy.bookmark):
                assert run.run_id in copy.statuses
                assert (
                    run.run_id in copy.bookmark.watched
                    or copy.statuses[run.run_id] == run.status
                )
                assert run.run_id in copy.bookmark.watched or run.is_settled


@readers
@given(life=lives, page_size=st.integers(1, 5))
@settings(max_examples=60, deadline=None)
def test_no_later_change_is_ever_missed(
    reader: Reader, life: list[Pass], page_size: int
) -> None:
    world, copy = outlived(reader, life)

    assert copy.read(reader, world.quiet(), page_size)

    assert copy.statuses == world.statuses()


@readers
@given(life=lives, page_size=st.integers(1, 5), fails_at_request=st.integers(0, 5))
@settings(max_examples=60, deadline=None)
def test_a_broken_pass_resumed_ends_where_an_unbroken_one_ends(
    reader: Reader, life: list[Pass], page_size: int, fails_at_request: int
) -> None:
    world, copy = outlived(reader, life)
    straight = copy.twin()
    assert straight.read(reader, world.quiet(), page_size)

    breaking = world.quiet()
    breaking.fails_at_request = fails_at_request
    copy.read(reader, breaking, page_size)
    assert copy.read(reader, world.quiet(), page_size)

    assert copy.statuses == straight.statuses
    for each in (copy, straight):  # a bookmark that moved back is itself again
        assert each.read(reader, world.quiet(), page_size)
    if reader is trusting:
        assert place_of(copy) == place_of(straight)


def place_of(copy: Copy) -> tuple[object, ...]:
    """The bookmark; in which order it watches runs is of no account."""
    bookmark = copy.bookmark
    return bookmark.synced_through, bookmark.overlap_from, set(bookmark.watched)


@given(life=lives, page_size=st.integers(1, 5))
@settings(max_examples=60, deadline=None)
def test_after_an_unbroken_pass_the_next_run_is_open(
    life: list[Pass], page_size: int
) -> None:
    world, copy = outlived(trusting, life)
    assert copy.read(trusting, world.quiet(), page_size)

    in_order = sorted(world.runs, key=lambda run: run.place)
    old = world.now - SETTLING // SECOND
    settled = itertools.takewhile(
        lambda run: (
            (run.created_at <= old or run.status == UNREADABLE)
            and (run.is_settled or run.run_id in copy.bookmark.watched)
        ),
        in_order,
    )
    last = [None, *(run.run_id for run in settled)][-1]
    assert copy.bookmark.synced_through == last


@readers
@given(life=lives, page_size=st.integers(1, 5))
@settings(max_examples=30, deadline=None)
def test_a_thread_at_rest_stays_as_it_is(
    reader: Reader, life: list[Pass], page_size: int
) -> None:
    world, copy = outlived(reader, life)
    for _ in range(2):  # a bookmark that had to move back is itself again after two
        assert copy.read(reader, world.quiet(), page_size)
    before = copy.twin()

    assert copy.read(reader, world.quiet(), page_size)

    assert copy.statuses == before.statuses
    if reader is trusting:
        assert place_of(copy) == place_of(before)


def test_a_run_that_comes_before_a_reject_of_its_second_is_not_missed() -> None:
    second = CREATED_SECONDS + 1
    world = World(
        [
            LivingRun("run_a", CREATED_SECONDS, "completed"),
            LivingRun("run_m", second, UNREADABLE),
            LivingRun("run_z", second, "completed"),
        ],
        now=second,
    )
    copy = Copy(a_thread())
    copy.read(trusting, world, 100)

    world.runs.append(LivingRun("run_b", second, "completed"))
    copy.read(trusting, world, 100)

    assert copy.statuses == world.statuses()


# One pass --------------------------------------------------------------------


@dataclass
class ScriptedSource:
    """A source that gives these pages, and retrieves no run."""

    given: tuple[Page, ...]
    asked: list[Bookmark] = field(default_factory=list)
    requests: int = 0
    retries: int = 0

    @property
    def traffic(self) -> "ScriptedSource":
        return self

    def pages(self, thread_id: ThreadId, *, bookmark: Bookmark) -> Iterator[Page]:
        self.asked.append(bookmark)
        yield from self.given

    def retrieve(self, thread_id: ThreadId, run_id: RunId) -> tuple[Payload, Instant]:
        raise NotImplementedError


def increments(thread: TrackedThread, *pages: Page) -> list[Increment]:
    source: Source = ScriptedSource(pages)
    return list(read_thread(thread, source))


def test_a_pass_asks_for_what_follows_the_bookmark() -> None:
    source, thread = ScriptedSource(()), a_thread(through="run_7")

    list(read_thread(thread, source))

    assert source.asked == [thread.bookmark]


def test_each_increment_builds_on_the_one_before() -> None:
    first, second = increments(
        a_thread(read_at=5),
        a_page(a_payload("run_1"), has_more=True, observed_at=LATER),
        a_page(a_payload("run_2"), after="run_1", observed_at=LATER + 20),
    )

    assert (first.read_before, first.read_at, first.completes) == (5, LATER, False)
    assert (second.read_before, second.read_at, second.completes) == (
        LATER,
        LATER + 20,
        True,
    )
    assert second.bookmark == Bookmark(
        synced_through=RunId("run_2"), synced_through_at=CREATED_AT
    )


def test_the_first_increment_of_a_new_thread_builds_on_nothing() -> None:
    (only,) = increments(a_thread(), a_page(observed_at=10))

    assert (only.read_before, only.read_at) == (None, 10)


def test_a_clock_that_was_set_back_does_not_set_a_thread_back() -> None:
    first, second = increments(
        a_thread(read_at=50), a_page(has_more=True, observed_at=10), a_page(observed_at=11)
    )

    assert (first.read_before, first.read_at) == (50, 51)
    assert (second.read_before, second.read_at) == (51, 52)


def test_runs_and_rejects_are_told_apart() -> None:
    page = a_page(a_payload("run_1"), a_payload("run_2", status=None))

    (only,) = increments(a_thread(), page)

    assert [run.run_id for run in only.runs] == ["run_1"]
    assert [reject.run_id for reject in only.rejects] == ["run_2"]
    assert only.payloads == page.payloads


# Watched runs ----------------------------------------------------------------


LATE = CREATED_SECONDS + 1_000_000


def a_stale_world(*statuses: str) -> World:
    """A thread whose open runs should have ended long ago."""
    runs = [
        LivingRun(f"run_{number:02}", CREATED_SECONDS + number, status)
        for number, status in enumerate(statuses)
    ]
    return World(runs, now=LATE)


def test_a_stale_run_does_not_hold_the_bookmark_and_its_end_is_seen() -> None:
    world, copy = a_stale_world("completed", "queued", "completed"), Copy(a_thread())
    copy.read(trusting, world, 100)
    assert copy.bookmark.synced_through == "run_02"
    assert copy.bookmark.watched == ("run_01",)

    world.runs[1].status = "failed"
    copy.read(trusting, world, 100)

    assert copy.statuses["run_01"] == "failed"
    assert not copy.bookmark.watched


def test_watched_runs_have_their_turn_some_in_each_pass() -> None:
    most = MOST_RETRIEVED + 5
    world, copy = a_stale_world(*["queued"] * most, "completed"), Copy(a_thread())
    copy.read(trusting, world, 100)
    assert len(copy.bookmark.watched) == most

    for run in world.runs[:-1]:
        run.status = "expired"
    copy.read(trusting, world, 100)
    assert len(copy.bookmark.watched) == 5
    copy.read(trusting, world, 100)

    assert not copy.bookmark.watched
    assert copy.statuses == world.statuses()


def test_a_watched_run_that_is_gone_is_watched_no_more() -> None:
    world = a_stale_world("completed", "completed")
    thread = replace(
        a_thread(),
        bookmark=Bookmark(
            synced_through=RunId("run_01"),
            overlap_from=RunId("run_00"),
            watched=(RunId("run_gone"),),
        ),
    )
    copy = Copy(thread)

    assert copy.read(trusting, world, 100)

    assert not copy.bookmark.watched


class Forgetful(World):
    """A server that lists runs, and retrieves none."""

    def retrieved(self, run_id: str) -> httpx.Response:
        return httpx.Response(404)


@readers
def test_a_watched_run_that_only_seems_gone_is_found_in_the_list(reader: Reader) -> None:
    world, copy = a_stale_world("completed", "queued", "completed"), Copy(a_thread())
    copy.read(reader, world, 100)

    assert copy.read(reader, Forgetful(world.runs, world.now), 100)
    assert copy.bookmark.watched == ("run_01",)

    world.runs[1].status = "failed"
    assert copy.read(reader, Forgetful(world.runs, world.now), 100)
    assert copy.statuses["run_01"] == "failed"
    assert not copy.bookmark.watched


# What may still change -------------------------------------------------------


@pytest.mark.parametrize(
    ("statuses", "unsettled"),
    [
        ([], False),
        (["completed"], False),
        (["completed", "in_progress"], True),
        (["in_progress", "completed"], True),
        (["completed", UNREADABLE], False),
    ],
)
@pytest.mark.parametrize("page_size", [2, 100])
@readers
def test_a_pass_tells_whether_something_may_still_change(
    reader: Reader, page_size: int, statuses: list[str], *, unsettled: bool
) -> None:
    world = World()
    for status in statuses:
        world.create(status)
        world.now += 30

    *_, last = reader(a_thread(), world, page_size)

    assert (last.completes, last.unsettled) == (True, unsettled)
