"""The list of threads: every id once, and no page that leads nowhere."""

from collections.abc import Sequence
from typing import Any

import httpx
import pytest

from etl.domain.errors import ContractError, DiscoveryError, SyncError
from etl.extract.thread_list import ThreadList
from tests.unit.test_client import Script, a_client, error, saying


def a_page(*ids: object, has_more: object = False, **more: Any) -> httpx.Response:
    """Foundry's envelope: no `object`, no `first_id`."""
    data = [{"id": each, "object": "thread", "created_at": 1} for each in ids]
    last = {"last_id": ids[-1]} if ids else {}
    return saying(200, {"data": data, "has_more": has_more, **last, **more})


def pages(*answers: httpx.Response) -> list[Sequence[str]]:
    return list(ThreadList(a_client(Script(*answers))).thread_pages())


def failure(*answers: httpx.Response) -> SyncError:
    with pytest.raises(SyncError) as caught:
        pages(*answers)
    return caught.value


def test_pages_are_asked_for_newest_first_and_from_the_last_id_that_was_told() -> None:
    server = Script(a_page("t3", "t2", has_more=True, last_id="cursor_2"), a_page("t1"))

    found = list(ThreadList(a_client(server)).thread_pages())

    assert found == [("t3", "t2"), ("t1",)]
    asked = [dict(each.url.params) for each in server.requests]
    assert asked == [
        {"limit": "100", "order": "desc"},
        {"limit": "100", "order": "desc", "after": "cursor_2"},
    ]


def test_without_a_last_id_the_last_thread_is_the_cursor() -> None:
    server = Script(a_page("t3", "t2", has_more=True, last_id=None), a_page("t1"))

    list(ThreadList(a_client(server)).thread_pages())

    assert server.requests[1].url.params["after"] == "t2"


def test_whoever_stops_early_asks_for_no_more_pages() -> None:
    server = Script(a_page("t3", has_more=True), a_page("t2", has_more=True))

    assert next(ThreadList(a_client(server)).thread_pages()) == ("t3",)

    assert len(server.requests) == 1


def test_ids_that_cannot_be_used_are_left_out() -> None:
    assert pages(a_page("t1", None, "", 7, {}, "t1", "a\0b")) == [("t1", "7")]


def test_an_empty_project_has_one_empty_page() -> None:
    assert pages(a_page()) == [()]


def test_what_came_on_the_page_before_is_not_told_again() -> None:
    assert pages(a_page("t3", "t2", has_more=True), a_page("t2", "t1")) == [
        ("t3", "t2"),
        ("t1",),
    ]


@pytest.mark.parametrize(
    ("answers", "place"),
    [
        ([a_page("t2", has_more=True), a_page("t2", has_more=True)], "t2"),
        ([a_page("t2", has_more=True), a_page("t1", has_more=True, last_id="t2")], "t2"),
        ([a_page(has_more=True)], "its first page"),
        ([a_page("t2", has_more=True), a_page(has_more=True, last_id="t1")], "t2"),
    ],
    ids=["the same page", "the same cursor", "empty from the start", "empty later"],
)
def test_a_list_that_goes_nowhere_is_an_error_and_no_loop(
    answers: list[httpx.Response], place: str
) -> None:
    found = failure(*answers)

    assert isinstance(found, ContractError)
    assert str(found) == (
        f"after {place} the list of threads promises more but does not go on: the cursor"
        " stands still"
    )


def test_a_list_that_is_not_sorted_is_an_error_for_who_stops_early_would_miss_threads() -> (
    None
):
    data = [{"id": "old", "created_at": 1}, {"id": "new", "created_at": 2}]

    found = failure(saying(200, {"data": data, "has_more": False}, x_request_id="req_1"))

    assert str(found) == (
        "thread new is out of order: the server does not list the newest threads first"
        " (request id req_1)"
    )


def test_a_server_without_such_a_list_discovers_nothing() -> None:
    found = failure(saying(404, error("Resource not found")))

    assert isinstance(found, DiscoveryError)
    assert str(found) == (
        "the server has no list of threads: HTTP 404 Resource not found; check base_url,"
        " which ends in /api/projects/ and the project's name, or set list_threads ="
        " false"
    )


def test_an_answer_that_is_no_list_is_told_as_one() -> None:
    found = failure(saying(200, {"error": {"message": "no"}}))

    assert isinstance(found, ContractError)
    assert str(found).startswith("the answer is no list of threads (it begins with")
