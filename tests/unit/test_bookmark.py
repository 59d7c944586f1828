"""The bookmark rule: nothing behind the bookmark can change any more."""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from etl.domain.batch import Increment, TrackedThread
from etl.domain.bookmark import Bookmark
from etl.domain.page import Page
from etl.domain.run import Instant, Reject, RejectReason, Run, RunId, ThreadId, is_terminal
from etl.sync.reading import read_thread
from tests.unit.builders import (
    CREATED_AT,
    CREATED_SECONDS,
    THREAD,
    a_page,
    a_payload,
    a_run,
)

Entry = Run | Reject

TERMINAL = ["completed", "failed", "cancelled", "expired", "incomplete"]
OPEN = ["queued", "in_progress", "requires_action", "cancelling", "a_new_status"]


def settled(number: int) -> Run:
    return a_run(f"run_{number}", status="completed")


def still_open(number: int) -> Run:
    return a_run(f"run_{number}", status="in_progress")


def a_reject(run_id: str | None) -> Reject:
    known = RunId(run_id) if run_id else None
    return Reject(THREAD, known, "{}", RejectReason.NO_STATUS)


def reached(
    *entries: Entry, start: str | None = None, after: str | None = None
) -> str | None:
    """Where a bookmark at `start` stands after a page of these entries."""
    bookmark = Bookmark(synced_through=RunId(start) if start else None)
    return bookmark.advance(entries, after=RunId(after) if after else None).synced_through


def test_it_moves_over_settled_runs():
    assert reached(settled(1), settled(2)) == "run_2"


def test_it_stops_before_the_first_open_run():
    assert reached(settled(1), still_open(2), settled(3)) == "run_1"


def test_it_stays_where_the_first_run_is_open():
    assert reached(still_open(4), settled(5), start="run_3", after="run_3") == "run_3"


def test_it_stays_where_nothing_came():
    assert reached(start="run_3", after="run_3") == "run_3"


def test_a_page_that_does_not_start_at_it_cannot_move_it():
    assert reached(settled(5), start="run_3", after="run_4") == "run_3"
    assert reached(settled(5), start=None, after="run_4") is None
    assert reached(settled(1), start="run_3", after=None) == "run_3"


def test_a_reject_counts_as_settled():
    assert reached(settled(1), a_reject("run_2")) == "run_2"


def test_a_reject_without_an_id_is_passed_over():
    assert reached(settled(1), a_reject(None), settled(3)) == "run_3"
    assert reached(settled(1), a_reject(None)) == "run_1"
    assert reached(a_reject(None)) is None


def test_it_knows_when_its_run_was_created():
    moved = Bookmark().advance([settled(1)], after=None)

    assert moved.synced_through_at == CREATED_AT


def test_over_a_reject_it_keeps_the_last_known_instant():
    moved = Bookmark().advance([settled(1), a_reject("run_2")], after=None)

    assert (moved.synced_through, moved.synced_through_at) == ("run_2", CREATED_AT)


def test_over_a_reject_alone_it_keeps_the_instant_it_had():
    before = Bookmark(synced_through=RunId("run_1"), synced_through_at=Instant(7))
    moved = before.advance([a_reject("run_2")], after=RunId("run_1"))

    assert (moved.synced_through, moved.synced_through_at) == ("run_2", 7)


@pytest.mark.parametrize("status", TERMINAL)
def test_a_terminal_run_is_settled(status: str):
    assert a_run(status=status).is_settled


@pytest.mark.parametrize("status", [*OPEN, "", "COMPLETED"])
def test_a_run_of_any_other_status_is_not(status: str):
    assert not a_run(status=status).is_settled


entries = st.lists(
    st.one_of(
        st.builds(settled, st.integers(1, 99)),
        st.builds(still_open, st.integers(1, 99)),
        st.builds(a_reject, st.sampled_from([None, "run_7"])),
    ),
    max_size=6,
)
run_ids = st.none() | st.integers(1, 99).map(lambda number: RunId(f"run_{number}"))


@given(entries, run_ids, run_ids)
@settings(max_examples=150)
def test_it_moves_over_exactly_the_leading_settled_entries(
    page: list[Entry], start: RunId | None, after: RunId | None
):
    bookmark = Bookmark(synced_through=start)

    moved = bookmark.advance(page, after=after)

    leading = itertools.takewhile(lambda entry: entry.is_settled, page)
    named = [start] + [entry.run_id for entry in leading if entry.run_id]
    assert moved.synced_through == (named[-1] if after == start else start)


# A thread's life -------------------------------------------------------------

Event = tuple[int, str]
"""The n-th run takes a status, if it has not ended; beyond the last, one is created."""

UNREADABLE = "unreadable"
"""A run whose payload has no status: it is rejected, and so settled."""

events = st.lists(
    st.tuples(
        st.integers(0, 12), st.sampled_from([*OPEN, *TERMINAL, *TERMINAL, UNREADABLE])
    ),
    max_size=4,
)
quiet_or_busy = st.lists(events, max_size=6)


@dataclass
class World:
    """A thread on a server; `later` happens piece by piece, before every answer."""

    statuses: list[str] = field(default_factory=list)
    page_size: int = 5
    later: list[list[Event]] = field(default_factory=list)
    fails_at_page: int | None = None

    def happen(self, events: list[Event]) -> None:
        for number, status in events:
            if number >= len(self.statuses):
                self.statuses.append(status)
            elif not self.is_settled(number):
                self.statuses[number] = status

    def is_settled(self, number: int) -> bool:
        status = self.statuses[number]
        return status == UNREADABLE or is_terminal(status)

    def pages(self, thread_id: ThreadId, *, after: RunId | None) -> Iterator[Page]:
        for served in itertools.count():
            if served == self.fails_at_page:
                raise ConnectionError
            if self.later:
                self.happen(self.later.pop(0))
            start = number_of(after) + 1
            numbers = range(start, len(self.statuses))[: self.page_size]
            has_more = start + len(numbers) < len(self.statuses)
            yield a_page(*map(self.payload, numbers), after=after, has_more=has_more)
            if not has_more:
                return
            after = RunId(f"run_{numbers[-1]}")

    def payload(self, number: int) -> dict[str, object]:
        status = self.statuses[number]
        return a_payload(
            f"run_{number}",
            created_at=CREATED_SECONDS + number // 2,  # several in a second
            status=None if status == UNREADABLE else status,
        )

    @property
    def traffic(self) -> "World":
        return self

    requests = retries = 0


def number_of(run_id: RunId | None) -> int:
    return int(run_id.removeprefix("run_")) if run_id else -1


@dataclass
class Copy:
    """What was committed of a thread."""

    thread: TrackedThread
    statuses: dict[int, str] = field(default_factory=dict)
    bookmarks: list[Bookmark] = field(default_factory=list)

    def read(self, world: World) -> None:
        """One pass; a fault ends it, and what was committed stands."""
        try:
            for increment in read_thread(self.thread, world):
                self.commit(increment)
        except ConnectionError:
            pass

    def commit(self, increment: Increment) -> None:
        assert increment.read_before == self.thread.read_at
        assert self.thread.read_at is None or increment.read_at > self.thread.read_at
        self.statuses |= {number_of(run.run_id): run.status for run in increment.runs}
        self.statuses |= {number_of(r.run_id): UNREADABLE for r in increment.rejects}
        self.bookmarks.append(increment.bookmark)
        self.thread = TrackedThread(
            source_id=self.thread.source_id,
            thread_id=self.thread.thread_id,
            bookmark=increment.bookmark,
            read_at=increment.read_at,
        )

    @property
    def through(self) -> int:
        return number_of(self.thread.bookmark.synced_through)


def nothing_yet() -> Copy:
    return Copy(a_thread())


Pass = tuple[int, list[list[Event]], int | None]
"""The page size, what happens before each page, and the page that cannot be had."""

one_pass = st.tuples(st.integers(1, 5), quiet_or_busy, st.none() | st.integers(0, 4))
lives = st.lists(one_pass, min_size=1, max_size=6)


def lived(life: list[Pass]) -> Iterator[tuple[World, Copy]]:
    """A thread and its copy after each pass."""
    world, copy = World(), nothing_yet()
    for page_size, later, fails_at_page in life:
        world.page_size, world.fails_at_page = page_size, fails_at_page
        world.later = list(later)
        copy.read(world)
        yield world, copy
        world.happen([event for before_a_page in world.later for event in before_a_page])


def unbroken(world: World) -> World:
    """The same thread, where nothing happens and nothing fails."""
    return World(list(world.statuses), world.page_size)


@given(lives)
@settings(max_examples=200)
def test_every_run_behind_the_bookmark_is_settled_and_copied(life: list[Pass]):
    for world, copy in lived(life):
        for number in range(copy.through + 1):
            assert world.is_settled(number)
            assert copy.statuses[number] == world.statuses[number]


@given(lives)
@settings(max_examples=150)
def test_no_later_change_is_ever_missed(life: list[Pass]):
    for world, copy in lived(life):
        pass
    copy.read(unbroken(world))

    assert copy.statuses == dict(enumerate(world.statuses))


@given(lives)
@settings(max_examples=100)
def test_the_bookmark_never_moves_back(life: list[Pass]):
    for _, copy in lived(life):
        through = [number_of(bookmark.synced_through) for bookmark in copy.bookmarks]
        assert through == sorted(through)


@given(lives)
@settings(max_examples=100)
def test_after_an_unbroken_pass_the_next_run_is_open(life: list[Pass]):
    for world, copy in lived(life):
        pass
    copy.read(unbroken(world))

    beyond = range(copy.through + 1, len(world.statuses))
    assert not beyond or not world.is_settled(beyond[0])


@given(lives, st.integers(0, 4), st.integers(1, 5))
@settings(max_examples=150)
def test_a_broken_pass_resumed_ends_where_an_unbroken_one_ends(
    life: list[Pass], fails_at_page: int, page_size: int
):
    for world, copy in lived(life):
        pass
    still = World(list(world.statuses), page_size)
    straight = Copy(copy.thread, dict(copy.statuses))
    straight.read(still)

    still.fails_at_page = fails_at_page
    copy.read(still)
    still.fails_at_page = None
    copy.read(still)

    assert copy.statuses == straight.statuses
    assert copy.thread.bookmark == straight.thread.bookmark
