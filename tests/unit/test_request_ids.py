"""Every failure names the request whose answer caused it, if the server named that."""

import logging
from collections.abc import Iterator

import httpx
import pytest

from etl.domain.bookmark import Bookmark
from etl.domain.errors import ContractError, SyncError
from etl.domain.run import ThreadId
from etl.extract.failures import LONGEST_REQUEST_ID
from etl.extract.openai import OpenAISource
from etl.extract.untrusted import UntrustedSource
from tests.unit.builders import CREATED_SECONDS, THREAD, Json, a_payload, an_answer
from tests.unit.test_client import KEY, Script, a_client


def run(number: int, **fields: Json) -> Json:
    return a_payload(f"run_{number}", **{"created_at": CREATED_SECONDS + number} | fields)


def numbered(*bodies: bytes, name: str = "req_{}") -> Script:
    """A server whose answers are called req_1, req_2 …"""
    named = enumerate(bodies, start=1)
    return Script(
        *(
            httpx.Response(200, headers={"x-request-id": name.format(n)}, content=body)
            for n, body in named
        )
    )


def failure(server: Script, *, trusted: bool = True) -> SyncError:
    """What reading a thread of this server ends with."""
    source = OpenAISource(a_client(server), page_size=2)
    pages = source.pages if trusted else UntrustedSource(source).pages
    with pytest.raises(SyncError) as caught:
        list(pages(ThreadId(THREAD), bookmark=Bookmark()))
    return caught.value


BROKEN: dict[str, tuple[tuple[bytes, ...], str]] = {
    "undecodable": (
        (b"<html>",),
        "the answer is no list of runs (it begins with '<html>') (request id req_1)",
    ),
    "order": (
        (an_answer(run(2), run(1)),),
        "run run_1 is out of order: the server does not sort as asked (request id req_1)",
    ),
    "another thread": (
        (an_answer(run(1, thread_id="thread_2")),),
        (
            "run run_1 belongs to thread thread_2: the server ignores which thread it is"
            " asked for (request id req_1)"
        ),
    ),
    "standing still": (
        (an_answer(run(1), has_more=True), an_answer(run(1), has_more=True)),
        (
            "after run_1 the server promises more runs but sends none that are new: the"
            " cursor stands still (request id req_2)"
        ),
    ),
    "a gap": (
        (
            an_answer(run(1), run(2), has_more=True),
            an_answer(run(3), run(4)),
        ),
        (
            "runs around run_2 did not come back on the next page: the server's cursors"
            " skip runs (request id req_2)"
        ),
    ),
}


@pytest.mark.parametrize(("bodies", "sentence"), BROKEN.values(), ids=BROKEN)
def test_a_broken_rule_names_the_request_whose_answer_broke_it(
    bodies: tuple[bytes, ...], sentence: str
) -> None:
    error = failure(numbered(*bodies))

    assert isinstance(error, ContractError)
    assert str(error) == sentence
    assert sentence.endswith(f"(request id {error.request_id})")


def test_cursors_that_go_by_id_are_shown_by_the_request_that_left_a_run_out() -> None:
    first = an_answer(run(9, created_at=CREATED_SECONDS), run(2), run(3))
    error = failure(numbered(first, an_answer(run(3))))

    assert str(error) == (
        "the server leaves out run_2 when it is asked what follows run_9, which was created"
        " earlier: its cursors go by id, and new runs would be missed; set trusted = false"
        " for this source (request id req_2)"
    )
    assert error.request_id == "req_2"


def test_a_source_that_is_not_trusted_says_which_answer_it_stumbled_over() -> None:
    body = an_answer(run(2), run(1), run(3))
    error = failure(numbered(*([body] * 8)), trusted=False)

    assert isinstance(error.__cause__, ContractError)
    assert error.__cause__.request_id == "req_8"
    assert str(error) == (
        "run run_3 is out of order: the server does not sort as asked (request id req_8);"
        " all walks together found 0 runs, and whether these are all cannot be told"
    )


def test_where_the_server_gives_no_name_the_sentence_ends_without_one() -> None:
    error = failure(Script(httpx.Response(200, content=b"<html>")))

    assert str(error) == "the answer is no list of runs (it begins with '<html>')"
    assert error.request_id is None


def test_a_name_that_holds_the_key_is_told_without_it() -> None:
    error = failure(numbered(f"Bearer {KEY}".encode(), name=f"{KEY}-{{}}"))

    assert str(error) == (
        "the answer is no list of runs (it begins with 'Bearer [API key]')"
        " (request id [API key]-1)"
    )


def test_a_name_as_long_as_a_page_is_cut() -> None:
    error = failure(numbered(b"<html>", name="x" * 5_000))

    assert error.request_id == "x" * LONGEST_REQUEST_ID


def test_what_a_terminal_would_obey_is_taken_out_of_a_name() -> None:
    named = [(b"x-request-id", b"a\x9b31mb")]
    error = failure(Script(httpx.Response(200, headers=named, content=b"<html>")))

    assert error.request_id == "a\N{REPLACEMENT CHARACTER}31mb"


@pytest.mark.parametrize("status", [400, 401, 403, 404, 429, 500])
def test_a_failed_answer_has_its_name_in_its_sentence_once(status: int) -> None:
    refused = httpx.Response(status, headers={"x-request-id": "req_17"}, content=b"No.")
    with pytest.raises(SyncError) as caught:
        a_client(Script(refused)).ask("threads", {})

    assert caught.value.request_id == "req_17"
    assert str(caught.value).count("(request id req_17)") == 1


class Torn(httpx.SyncByteStream):
    """A body that breaks off."""

    def __iter__(self) -> Iterator[bytes]:
        yield b'{"data":['
        raise httpx.ReadError("connection lost")


def test_a_body_that_breaks_off_has_the_name_of_its_head() -> None:
    def torn(_: httpx.Request) -> httpx.Response:
        return httpx.Response(200, headers={"x-request-id": "req_17"}, stream=Torn())

    with pytest.raises(SyncError) as caught:
        a_client(torn).ask("threads", {})

    assert str(caught.value) == (
        "https://api.example.com/v1/ did not answer: connection lost (request id req_17)"
    )


def test_an_attempt_that_is_made_again_is_told_with_its_facts(
    caplog: pytest.LogCaptureFixture,
) -> None:
    slow = {"x-request-id": "req_1", "retry-after": "3"}
    server = Script(
        httpx.Response(429, headers=slow, content=b'{"error":{"message":"Slowly."}}'),
        httpx.ConnectError("nobody there"),
        httpx.Response(200, content=an_answer()),
    )
    with caplog.at_level(logging.INFO, "etl"):
        a_client(server).ask("threads/thread_1/runs", {"limit": 7})

    assert [(each.name, each.levelname, each.message) for each in caplog.records] == [
        ("etl.extract.client", "WARNING", "attempt failed")
    ] * 2
    first, second = (fields(each) for each in caplog.records)
    assert first == {
        "source": "api.example.com",
        "path": "threads/thread_1/runs",
        "attempt": 1,
        "wait_seconds": 3.0,
        "error": ("the server wants fewer requests: HTTP 429 Slowly. (request id req_1)"),
        "request_id": "req_1",
    }
    assert second == {
        "source": "api.example.com",
        "path": "threads/thread_1/runs",
        "attempt": 2,
        "wait_seconds": 1.0,
        "error": (
            "https://api.example.com/v1/ cannot be reached: nobody there; check base_url"
            " and the network"
        ),
        "request_id": None,
    }


def test_the_last_attempt_is_told_by_whoever_asked(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.INFO, "etl"), pytest.raises(SyncError):
        a_client(Script(httpx.Response(500))).ask("threads", {})

    assert [fields(each)["attempt"] for each in caplog.records] == [1, 2]


def fields(record: logging.LogRecord) -> dict[str, object]:
    """What a record has beside what every record has."""
    ordinary = vars(logging.makeLogRecord({})).keys() | {"message", "asctime"}
    return {name: value for name, value in vars(record).items() if name not in ordinary}
