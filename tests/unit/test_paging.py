"""Paging: every walk proves that it moves, and every page that it is the one asked for."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from etl.domain.errors import ContractError
from etl.domain.page import Page
from etl.domain.run import Instant, RunId
from etl.extract import paging
from etl.extract.client import Answer
from etl.extract.envelope import id_of
from etl.extract.paging import Direction, Fetch, Walk
from etl.transform import flatten
from tests.unit.builders import CREATED_SECONDS, THREAD, Json, a_payload, an_answer

SENT_AT = Instant(17)
NEVER = 1_000
"""More runs than any page here has: no page is doubted."""


def run(number: int, **fields: Json) -> Json:
    """A run created in the second that its number says."""
    return a_payload(f"run_{number}", **{"created_at": CREATED_SECONDS + number} | fields)


def script(*bodies: bytes) -> Fetch:
    """A server that answers with these bodies, one after the other."""
    left = iter(bodies)
    return lambda cursor: Answer(next(left), SENT_AT)


def walk(
    fetch: Fetch,
    *,
    after: str | None = None,
    doubted_from: int = NEVER,
    direction: Direction = Direction.ASCENDING,
) -> Walk:
    cursor = RunId(after) if after else None
    return Walk(fetch, THREAD, cursor, doubted_from.__le__, direction)


def read(*bodies: bytes, after: str | None = None) -> Iterator[Page]:
    return walk(script(*bodies), after=after).pages()


def ids(page: Page) -> list[str | None]:
    return [payload.run_id for payload in page.payloads]


def all_ids(pages: Iterator[Page]) -> list[str | None]:
    return [run_id for page in pages for run_id in ids(page)]


def complaint(*bodies: bytes, after: str | None = None) -> str:
    with pytest.raises(ContractError) as caught:
        list(read(*bodies, after=after))
    return str(caught.value)


# Pages that follow the rules -------------------------------------------------


def test_pages_follow_each_other_to_the_end() -> None:
    first, second = read(
        an_answer(run(1), run(2), has_more=True), an_answer(run(2), run(3))
    )

    assert (ids(first), first.after, first.has_more) == (["run_1", "run_2"], None, True)
    assert (ids(second), second.after, second.has_more) == (["run_3"], "run_2", False)


def test_a_page_knows_its_thread_and_when_it_was_asked_for() -> None:
    (page,) = read(an_answer(run(1)), after="run_0")

    assert (page.thread_id, page.observed_at, page.after) == (THREAD, SENT_AT, "run_0")


def cursors(*bodies: bytes) -> list[RunId | None]:
    """What a walk asks for."""
    asked: list[RunId | None] = []
    answer = script(*bodies)

    def fetch(cursor: RunId | None) -> Answer:
        asked.append(cursor)
        return answer(cursor)

    list(walk(fetch, after="run_0").pages())
    return asked


def test_the_next_cursor_is_the_last_run_of_an_earlier_second() -> None:
    two, three = run(2, created_at=5), run(3, created_at=5)
    first = an_answer(run(1, created_at=4), two, three, has_more=True)

    assert cursors(first, an_answer(two, three, run(4))) == ["run_0", "run_1"]


def test_a_page_full_of_one_second_is_left_from_its_middle() -> None:
    one, two, three = (run(number, created_at=5) for number in (1, 2, 3))
    first = an_answer(one, two, three, has_more=True)

    assert cursors(first, an_answer(three, run(4))) == ["run_0", "run_2"]


def test_an_empty_thread_has_one_empty_page() -> None:
    (page,) = read(b'{"object":"list","data":[],"first_id":null,"has_more":false}')

    assert (page.payloads, page.has_more) == ((), False)


def test_nothing_is_asked_before_the_first_page_is_wanted() -> None:
    read()


def test_a_promised_page_is_not_asked_for_before_this_one_is_handed_on() -> None:
    assert ids(next(read(an_answer(run(1), has_more=True)))) == ["run_1"]


def test_descending_pages_are_walked_too() -> None:
    fetch = script(an_answer(run(3), run(2), has_more=True), an_answer(run(2), run(1)))

    pages = walk(fetch, direction=Direction.DESCENDING).pages()

    assert all_ids(pages) == ["run_3", "run_2", "run_1"]


def test_a_walk_counts_its_requests_and_knows_how_far_its_first_page_reached() -> None:
    second = an_answer(run(2), run(3))
    walked = walk(script(an_answer(run(1), run(2), has_more=True), second))

    list(walked.pages())

    assert (walked.answers, walked.first_page_ends_at) == (2, CREATED_SECONDS + 2)


# Pages that are doubted ------------------------------------------------------


def test_a_full_page_is_not_believed_to_be_the_last() -> None:
    fetch = script(an_answer(run(1), run(2)), an_answer(run(2), run(3)), an_answer(run(3)))

    first, second = walk(fetch, doubted_from=2).pages()

    assert (ids(first), first.has_more) == (["run_1", "run_2"], True)
    assert (ids(second), second.has_more) == (["run_3"], False)


def test_a_full_page_that_is_the_last_is_handed_on_once() -> None:
    fetch = script(an_answer(run(1), run(2)), an_answer(run(2)))

    (only,) = walk(fetch, doubted_from=2).pages()

    assert (ids(only), only.has_more) == (["run_1", "run_2"], False)


def test_a_page_that_is_not_full_is_believed() -> None:
    (only,) = walk(script(an_answer(run(1))), doubted_from=2).pages()

    assert not only.has_more


def test_a_doubted_empty_page_is_the_end() -> None:
    (only,) = walk(script(an_answer()), doubted_from=1).pages()

    assert ids(only) == []


# Damaged payloads ------------------------------------------------------------


def test_a_damaged_payload_does_not_spoil_the_page() -> None:
    bad = b'{"id":"run_2","x":NaN}'

    (page,) = read(an_answer(run(1), bad, run(3)))

    assert ids(page) == ["run_1", "run_2", "run_3"]
    assert page.payloads[1].text == bad


def test_a_damaged_payload_can_be_the_cursor() -> None:
    assert cursors(
        an_answer(b'{"id":"run_2","x":NaN}', has_more=True), an_answer(run(3))
    ) == ["run_0", "run_2"]


def test_a_payload_without_an_id_is_no_cursor_and_comes_once() -> None:
    first, second = read(
        an_answer(run(1), {"x": 1}, 5, has_more=True), an_answer({"x": 1}, 5, run(3))
    )

    assert ids(first) == ["run_1", None, None]
    assert ids(second) == ["run_3"]
    assert second.after == "run_1"


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        ("run_1", "run_1"),
        (17, "17"),
        (0, "0"),
        ("", None),
        (None, None),
        (True, None),
        (1.5, None),
        ([], None),
        ("run_\0", None),
    ],
)
def test_an_id_is_a_text_or_an_integer_that_can_be_stored(
    told: Json, expected: str | None
) -> None:
    assert id_of(told) == expected


@pytest.mark.parametrize(
    "told", ["run_1", 17, 0, -1, 10**30, "", None, True, 1.5, [], "17", "\0"], ids=repr
)
def test_paging_and_flattening_read_the_same_id(told: Json) -> None:
    (page,) = read(an_answer(a_payload(told)))

    entry = flatten(page.payloads[0], thread_id=THREAD)

    assert entry.run_id == page.payloads[0].run_id


# Pages that break the rules --------------------------------------------------


def test_a_cursor_that_stands_still_is_an_error_not_a_loop() -> None:
    stuck = an_answer(run(1), has_more=True)

    assert complaint(stuck, stuck) == (
        "after run_1 the server promises more runs but sends none that are new: the"
        " cursor stands still"
    )


def test_an_ignored_cursor_is_an_error_not_a_loop() -> None:
    always = an_answer(run(1), run(2), has_more=True)

    assert "the cursor stands still" in complaint(always, always)


def test_an_ignored_cursor_is_noticed_where_no_run_says_when_it_was_created() -> None:
    always = an_answer({"id": "run_1"}, {"id": "run_2"}, has_more=True)

    assert "the cursor stands still" in complaint(always, always)


def test_a_list_that_goes_round_is_an_error_not_a_loop() -> None:
    first, second = an_answer(run(1), has_more=True), an_answer(run(2), has_more=True)

    assert "run_1 is out of order" in complaint(first, second, first)


def test_an_endless_list_is_an_error_not_a_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paging, "MOST_PAGES", 3)
    bodies = [an_answer(run(number), has_more=True) for number in range(9)]

    assert complaint(*bodies) == "the list does not end after 3 pages"


def test_an_inclusive_cursor_does_no_harm() -> None:
    first, second, third = (
        an_answer(run(0), run(1), run(2), has_more=True),
        an_answer(run(1), run(2), run(3), has_more=True),
        an_answer(run(2), run(3), run(4)),
    )

    assert all_ids(read(first, second, third, after="run_0")) == [
        "run_1",
        "run_2",
        "run_3",
        "run_4",
    ]


def test_descending_order_is_an_error() -> None:
    assert complaint(an_answer(run(2), run(1))) == (
        "run run_1 is out of order: the server does not sort as asked"
    )


def test_ascending_order_is_an_error_where_descending_was_asked() -> None:
    pages = walk(script(an_answer(run(1), run(2))), direction=Direction.DESCENDING).pages()

    with pytest.raises(ContractError, match="run_2 is out of order"):
        list(pages)


def test_order_is_checked_across_pages() -> None:
    assert "run_1 is out of order" in complaint(
        an_answer(run(2), has_more=True), an_answer(run(1))
    )


def test_runs_of_one_second_are_in_order_whatever_their_ids() -> None:
    (page,) = read(an_answer(a_payload("run_b"), a_payload("run_a")))

    assert ids(page) == ["run_b", "run_a"]


@pytest.mark.parametrize("told", [None, "2026-01-02T03:04:05Z", [], "soon"])
def test_a_run_that_does_not_say_when_it_was_created_is_passed_over(told: Json) -> None:
    (page,) = read(an_answer(run(1), run(2, created_at=told), run(3)))
    assert len(page.payloads) == 3

    assert "run_1 is out of order" in complaint(
        an_answer(run(2), run(3, created_at=told), run(1))
    )


def test_a_run_of_another_thread_is_an_error() -> None:
    assert complaint(an_answer(run(1), run(2, thread_id="thread_x"))) == (
        "run run_2 belongs to thread thread_x: the server ignores which thread it is"
        " asked for"
    )


@pytest.mark.parametrize("told", [None, "", [], 1.5])
def test_a_run_that_does_not_name_its_thread_is_believed(told: Json) -> None:
    (page,) = read(an_answer(run(1, thread_id=told)))

    assert ids(page) == ["run_1"]


def test_more_promised_but_nothing_there_is_an_error_not_a_loop() -> None:
    assert "after run_7 the server promises more runs but sends none" in complaint(
        an_answer(has_more=True), after="run_7"
    )


def test_a_promise_that_is_not_kept_is_an_error() -> None:
    first = an_answer(run(1), run(2), has_more=True)

    assert "after run_2 the server promises more runs but sends none" in complaint(
        first, an_answer(run(2))
    )


def test_runs_from_before_the_cursor_are_an_error() -> None:
    first = an_answer(run(1), run(2), run(3), has_more=True)

    assert complaint(first, an_answer(run(1), run(3), run(4))) == (
        "run run_1 came back on a page that should follow it: the server's cursors do"
        " not go by creation"
    )


def test_a_second_that_is_skipped_at_a_page_border_is_an_error() -> None:
    first = an_answer(run(1, created_at=5), run(2, created_at=5), has_more=True)

    assert "the server's cursors skip runs" in complaint(first, an_answer(run(6)))


def test_a_short_page_without_ids_is_believed_to_be_the_last() -> None:
    nameless = an_answer({"id": None})

    (page,) = walk(script(nameless), doubted_from=1).pages()

    assert (len(page.payloads), page.has_more) == (1, False)


def test_more_promised_by_a_page_without_ids_is_an_error() -> None:
    assert complaint(an_answer({}, {"id": None}, has_more=True)) == (
        "the server promises more runs but names none of these"
    )


def test_runs_that_do_not_come_back_are_an_error() -> None:
    assert complaint(an_answer(run(1), run(2), has_more=True), an_answer(run(3))) == (
        "runs around run_2 did not come back on the next page: the server's cursors"
        " skip runs"
    )


def test_a_page_that_breaks_the_rules_is_not_handed_on() -> None:
    reading = read(an_answer(run(1), has_more=True), an_answer(run(0), has_more=True))

    assert ids(next(reading)) == ["run_1"]
    with pytest.raises(ContractError):
        next(reading)


# Servers ---------------------------------------------------------------------

Runs = Sequence[Json]
Following = Callable[[Runs, RunId], Runs]
"""The runs that a server takes for those that follow a cursor."""


def place(runs: Runs, cursor: RunId) -> int:
    return [each["id"] for each in runs].index(cursor)


def honest(runs: Runs, cursor: RunId) -> Runs:
    return runs[place(runs, cursor) + 1 :]


def inclusive(runs: Runs, cursor: RunId) -> Runs:
    return runs[place(runs, cursor) :]


def ignoring(runs: Runs, cursor: RunId) -> Runs:
    return runs


def answering_nothing(runs: Runs, cursor: RunId) -> Runs:
    return []


def a_server(
    runs: Runs, page_size: int, following: Following, *, promises: bool = True
) -> Fetch:
    """A server with a notion of its own of what follows a cursor."""

    def fetch(cursor: RunId | None) -> Answer:
        left = runs if cursor is None else following(runs, cursor)
        page = left[:page_size]
        has_more = promises and len(left) > len(page)
        return Answer(an_answer(*page, has_more=has_more), SENT_AT)

    return fetch


threads = st.lists(st.integers(0, 1), max_size=12).map(
    lambda steps: [
        run(number, created_at=CREATED_SECONDS + sum(steps[:number]))
        for number in range(len(steps))
    ]
)
"""Threads in which several runs share a second."""


@given(threads, st.integers(1, 5), st.booleans())
@settings(max_examples=150)
def test_every_run_comes_exactly_once_and_in_order(
    runs: Runs,
    page_size: int,
    promises: bool,  # noqa: FBT001  # drawn
) -> None:
    fetch = a_server(runs, page_size, honest, promises=promises)

    pages = list(walk(fetch, doubted_from=page_size).pages())

    assert all_ids(iter(pages)) == [each["id"] for each in runs]
    assert [page.has_more for page in pages] == [*[True] * (len(pages) - 1), False]


@given(threads, st.integers(1, 5), st.sampled_from([inclusive, ignoring]))
@settings(max_examples=150)
def test_a_server_that_does_not_move_on_is_never_believed(
    runs: Runs, page_size: int, following: Following
) -> None:
    with suppress(ContractError):
        read_ids = all_ids(walk(a_server(runs, page_size, following)).pages())
        assert read_ids == [each["id"] for each in runs]


@given(st.integers(0, 12), st.integers(2, 5), st.booleans())
@settings(max_examples=100)
def test_a_server_that_does_not_know_its_cursors_is_never_believed(
    count: int,
    page_size: int,
    promises: bool,  # noqa: FBT001  # drawn
) -> None:
    runs = [run(number) for number in range(count)]
    fetch = a_server(runs, page_size, answering_nothing, promises=promises)

    with suppress(ContractError):
        read_ids = all_ids(walk(fetch, doubted_from=page_size).pages())
        assert read_ids == [each["id"] for each in runs]
