"""The bookmark rule: how far into a thread nothing can change any more."""

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from etl.domain.bookmark import GRACE, SETTLING, Bookmark, is_stale
from etl.domain.run import DAY, SECOND, Instant, Reject, RejectReason, Run, RunId
from tests.unit.builders import CREATED_AT, CREATED_SECONDS, THREAD, Json, a_run

Entry = Run | Reject

NOW = Instant(CREATED_AT + 60 * SECOND)
TERMINAL = ["completed", "failed", "cancelled", "expired", "incomplete"]
OPEN = ["queued", "in_progress", "requires_action", "cancelling", "a_new_status"]


def settled(number: int, *, second: int = 0) -> Run:
    return numbered(number, second, status="completed")


def still_open(number: int, *, second: int = 0) -> Run:
    return numbered(number, second, status="in_progress")


def stale(number: int, *, second: int = 0) -> Run:
    return numbered(number, second, status="queued", expires_at=CREATED_SECONDS - 86_400)


def numbered(number: int, second: int, **fields: Json) -> Run:
    return a_run(f"run_{number}", created_at=CREATED_SECONDS + second, **fields)


def a_reject(run_id: str | None) -> Reject:
    known = RunId(run_id) if run_id else None
    return Reject(THREAD, known, "{}", RejectReason.NO_STATUS)


def a_bookmark(
    through: str | None = None,
    *,
    at: int | None = None,
    overlap_from: str | None = None,
    watched: tuple[str, ...] = (),
) -> Bookmark:
    return Bookmark(
        synced_through=RunId(through) if through else None,
        synced_through_at=None if at is None else Instant(CREATED_AT + at * SECOND),
        overlap_from=RunId(overlap_from) if overlap_from else None,
        watched=tuple(map(RunId, watched)),
    )


def advanced(
    *entries: Entry, start: Bookmark | None = None, after: str | None = None
) -> Bookmark:
    """The bookmark after a page of these entries."""
    bookmark = a_bookmark() if start is None else start
    return bookmark.advance(entries, after=RunId(after) if after else None, now=NOW)


def reached(
    *entries: Entry, start: str | None = None, after: str | None = None
) -> str | None:
    """Where a bookmark at `start` stands after a page of these entries."""
    return advanced(*entries, start=a_bookmark(start), after=after).synced_through


# How far it moves ------------------------------------------------------------


def test_it_moves_over_settled_runs() -> None:
    assert reached(settled(1), settled(2)) == "run_2"


def test_it_stops_before_the_first_open_run() -> None:
    assert reached(settled(1), still_open(2), settled(3)) == "run_1"


def test_it_stays_where_the_first_run_is_open() -> None:
    assert reached(still_open(4), settled(5), start="run_3", after="run_3") == "run_3"


def test_it_stays_where_nothing_came() -> None:
    assert reached(start="run_3", after="run_3") == "run_3"


def test_a_page_that_does_not_start_at_it_cannot_move_it() -> None:
    assert reached(settled(5), start="run_3", after="run_4") == "run_3"
    assert reached(settled(5), start=None, after="run_4") is None
    assert reached(settled(1), start="run_3", after=None) == "run_3"


def test_a_reject_counts_as_settled() -> None:
    assert reached(settled(1), a_reject("run_2")) == "run_2"


def test_a_reject_without_an_id_is_passed_over() -> None:
    assert reached(settled(1), a_reject(None), settled(3)) == "run_3"
    assert reached(settled(1), a_reject(None)) == "run_1"
    assert reached(a_reject(None)) is None


def test_it_stops_before_a_run_that_was_created_a_moment_ago() -> None:
    young = Instant(CREATED_AT + SETTLING - 1)
    old = Instant(CREATED_AT + SETTLING)

    assert a_bookmark().advance([settled(1)], after=None, now=young).synced_through is None
    assert a_bookmark().advance([settled(1)], after=None, now=old).synced_through == "run_1"


# What it remembers -----------------------------------------------------------


def test_it_knows_when_its_run_was_created() -> None:
    assert advanced(settled(1)).synced_through_at == CREATED_AT


def test_over_a_reject_it_does_not_know_any_instant() -> None:
    moved = advanced(settled(1, second=5), a_reject("run_2"))

    assert moved == a_bookmark("run_2")


def test_a_reject_whose_second_is_not_known_is_no_place_to_begin_from() -> None:
    moved = advanced(settled(1), a_reject("run_2"), settled(3, second=1))

    assert moved == a_bookmark("run_3", at=1)


def test_behind_a_reject_it_remembers_again() -> None:
    page = settled(1), settled(2, second=1), a_reject("run_3"), settled(4, second=2)

    assert advanced(*page).overlap_from == "run_1"
    assert advanced(*page, settled(5, second=3)).overlap_from == "run_4"


def test_it_remembers_the_last_run_of_an_earlier_second() -> None:
    moved = advanced(settled(1), settled(2), settled(3, second=1), settled(4, second=1))

    assert moved == a_bookmark("run_4", at=1, overlap_from="run_2")


def test_within_one_second_it_remembers_what_it_remembered() -> None:
    start = a_bookmark("run_2", at=1, overlap_from="run_1")

    moved = advanced(settled(3, second=1), start=start, after="run_2")

    assert moved == a_bookmark("run_3", at=1, overlap_from="run_1")


def test_in_the_first_second_of_a_thread_there_is_nothing_to_begin_from() -> None:
    assert advanced(settled(1), settled(2)).overlap_from is None


def test_fractions_of_a_second_are_no_later_second() -> None:
    fractions = [
        a_run(f"run_{number}", created_at=CREATED_SECONDS + number / 4)
        for number in (1, 2, 3, 5)
    ]

    assert advanced(*fractions[:3]).overlap_from is None
    assert advanced(*fractions).overlap_from == "run_3"


def test_rewound_it_stands_before_its_last_second_and_watches_on() -> None:
    bookmark = a_bookmark("run_4", at=1, overlap_from="run_2", watched=("run_1",))

    assert bookmark.rewound() == a_bookmark(
        "run_2", overlap_from="run_2", watched=("run_1",)
    )


def test_rewound_and_advanced_over_the_same_runs_it_stands_where_it_stood() -> None:
    page = [settled(1), settled(2), settled(3, second=1), settled(4, second=1)]
    bookmark = advanced(*page)

    assert advanced(*page[2:], start=bookmark.rewound(), after="run_2") == bookmark


# Stale runs ------------------------------------------------------------------


def test_it_moves_over_a_stale_run_and_watches_it() -> None:
    assert advanced(stale(1), settled(2)) == a_bookmark("run_2", at=0, watched=("run_1",))


def test_a_run_that_ended_is_watched_no_more() -> None:
    start = a_bookmark(watched=("run_1", "run_2"))

    assert advanced(settled(1), start=start).watched == ("run_2",)


def test_a_run_that_is_stale_still_is_watched_once() -> None:
    start = a_bookmark(watched=("run_1", "run_2"))

    assert advanced(stale(1), start=start).watched == ("run_2", "run_1")


def test_a_run_is_stale_an_hour_after_it_expired() -> None:
    run = a_run(status="queued", expires_at=CREATED_SECONDS + 600)
    late = Instant(CREATED_AT + 600 * SECOND + GRACE)

    assert not is_stale(run, now=late)
    assert is_stale(run, now=Instant(late + 1))


def test_a_run_that_never_expires_is_stale_an_hour_after_a_day() -> None:
    run = a_run(status="queued", expires_at=None)
    late = Instant(CREATED_AT + DAY + GRACE)

    assert not is_stale(run, now=late)
    assert is_stale(run, now=Instant(late + 1))


def test_what_has_ended_is_never_stale() -> None:
    for entry in (settled(1), a_reject("run_1")):
        assert not is_stale(entry, now=Instant(CREATED_AT + 1_000 * DAY))


@pytest.mark.parametrize("status", TERMINAL)
def test_a_terminal_run_is_not_open(status: str) -> None:
    assert not a_run(status=status).is_open


@pytest.mark.parametrize("status", [*OPEN, "", "COMPLETED"])
def test_a_run_of_any_other_status_is_open(status: str) -> None:
    assert a_run(status=status).is_open


# Properties ------------------------------------------------------------------

numbers = st.integers(1, 9)
pages = st.lists(
    st.builds(settled, numbers, second=st.integers(0, 3))
    | st.builds(still_open, numbers)
    | st.builds(stale, numbers)
    | st.builds(a_reject, st.sampled_from([None, "run_7"])),
    max_size=6,
)
run_ids = st.none() | numbers.map(lambda number: f"run_{number}")


@given(pages, run_ids, run_ids)
@settings(max_examples=150)
def test_it_moves_over_exactly_the_leading_settled_entries(
    page: list[Entry], start: str | None, after: str | None
) -> None:
    moved = reached(*page, start=start, after=after)

    leading = itertools.takewhile(
        lambda entry: not entry.is_open or is_stale(entry, now=NOW), page
    )
    named = [start] + [entry.run_id for entry in leading if entry.run_id]
    assert moved == (named[-1] if after == start else start)


@given(pages, st.integers(0, 6))
@settings(max_examples=150)
def test_two_pages_move_it_as_far_as_one(page: list[Entry], border: int) -> None:
    first = advanced(*page[:border])
    blocked = any(entry.is_open and not is_stale(entry, now=NOW) for entry in page[:border])
    second = (
        first
        if blocked
        else first.advance(page[border:], after=first.synced_through, now=NOW)
    )

    assert second == advanced(*page)


@given(pages)
@settings(max_examples=150)
def test_it_watches_exactly_the_open_runs_it_moved_over(page: list[Entry]) -> None:
    leading = itertools.takewhile(
        lambda entry: not entry.is_open or is_stale(entry, now=NOW), page
    )
    last = {entry.run_id: entry for entry in leading}

    watched = advanced(*page).watched

    assert sorted(watched) == sorted(
        run_id for run_id, entry in last.items() if run_id and entry.is_open
    )
