"""One source's HTTP: paced, patient, and silent about its key."""

import json
import ssl
from base64 import b64decode
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from etl.domain.errors import (
    RefusedError,
    RetryableError,
    SourceUnavailableError,
    StoppedError,
    SyncError,
    ThreadMissingError,
)
from etl.domain.run import Instant, RunId, ThreadId
from etl.extract.budget import Budget
from etl.extract.client import Client
from etl.extract.failures import BILLING_CODES, LONGEST_MESSAGE
from etl.extract.keys import ApiKey
from etl.extract.openai import HEADERS, OpenAISource
from etl.extract.retry import RetryPolicy
from tests.unit.builders import DATA, a_payload, an_answer

KEY = "sk-test-0123456789-secret"
ADDRESS = "https://api.example.com/v1/"
OK = httpx.Response(200, content=an_answer(a_payload()))

Scripted = httpx.Response | Exception
"""An answer, or the lack of one."""


class Script:
    """A server that plays its answers in turn, the last one for ever."""

    def __init__(self, *answers: Scripted) -> None:
        self.answers = list(answers)
        self.requests: list[httpx.Request] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return httpx.Response(
            answer.status_code, headers=answer.headers, content=answer.content
        )


def a_client(
    server: Callable[[httpx.Request], httpx.Response],
    *,
    key: str | None = KEY,
    sleep: Callable[[float], None] = lambda seconds: None,
    address: str = ADDRESS,
) -> Client:
    """A client of a scripted server, with as large a budget as a test needs."""
    times = iter(range(1_000))
    return Client(
        httpx.MockTransport(server),
        address,
        HEADERS,
        api_key=ApiKey(key) if key else None,
        budget=Budget(60_000, sleep=lambda seconds: None, clock=lambda: 0.0),
        policy=RetryPolicy(jitter=0),
        now=lambda: Instant(next(times)),
        sleep=sleep,
    )


def failure(*answers: Scripted, key: str | None = KEY, address: str = ADDRESS) -> SyncError:
    """What asking a scripted server ends with."""
    with pytest.raises(SyncError) as caught:
        a_client(Script(*answers), key=key, address=address).ask("threads", {})
    return caught.value


def saying(status: int, body: Any = None, **headers: str) -> httpx.Response:
    """An answer with a JSON body, or a plain text."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    text = body if isinstance(body, str) else json.dumps(body)
    return httpx.Response(status, text="" if body is None else text, headers=named)


def error(message: Any, **more: Any) -> dict[str, Any]:
    return {"error": {"message": message, **more}}


# Asking ----------------------------------------------------------------------


def test_the_body_comes_back_with_the_instant_its_request_was_sent() -> None:
    answer = a_client(Script(OK)).ask("threads", {})

    assert (answer.body, answer.sent_at) == (OK.content, 0)


def test_after_a_retry_the_instant_is_that_of_the_last_request() -> None:
    assert a_client(Script(saying(500), OK)).ask("threads", {}).sent_at == 1


def test_the_key_travels_in_its_header() -> None:
    server = Script(OK)
    a_client(server).ask("threads", {})

    assert server.requests[0].headers["authorization"] == f"Bearer {KEY}"


def test_without_a_key_there_is_no_such_header() -> None:
    server = Script(OK)
    a_client(server, key=None).ask("threads", {})

    assert "authorization" not in server.requests[0].headers


def test_the_password_of_an_address_travels_where_there_is_no_key() -> None:
    server = Script(OK)
    a_client(server, key=None, address="https://user:p%40ss@api.example.com").ask("t", {})

    told = server.requests[0].headers["authorization"].removeprefix("Basic ")
    assert b64decode(told) == b"user:p@ss"


def test_every_attempt_is_counted_and_the_later_ones_are_retries() -> None:
    client = a_client(Script(saying(500), saying(429), OK, saying(503), OK))

    client.ask("threads", {})
    client.ask("threads", {})

    assert (client.traffic.requests, client.traffic.retries) == (5, 3)


def test_every_attempt_is_paid_for() -> None:
    spent: list[float] = []
    client = Client(
        httpx.MockTransport(Script(saying(500), OK)),
        ADDRESS,
        HEADERS,
        api_key=None,
        budget=Budget(60, sleep=spent.append, clock=lambda: 0.0),
        policy=RetryPolicy(),
        now=lambda: Instant(0),
        sleep=lambda seconds: None,
    )

    client.ask("threads", {})

    assert spent == [1.0, 2.0]


def test_a_list_request_names_its_thread_order_limit_and_cursor() -> None:
    server = Script(httpx.Response(200, content=an_answer(has_more=False)))
    source = OpenAISource(a_client(server), page_size=7)

    list(source.walk(ThreadId("thread_1"), None).pages())
    list(source.walk(ThreadId("a/../b?c=d e"), RunId("run_1&x=y")).pages())

    first, second = (str(request.url) for request in server.requests)
    assert first == f"{ADDRESS}threads/thread_1/runs?limit=7&order=asc"
    assert second == (
        f"{ADDRESS}threads/a%2F..%2Fb%3Fc%3Dd%20e/runs"
        "?limit=7&order=asc&after=run_1%26x%3Dy"
    )
    assert server.requests[0].headers["openai-beta"] == "assistants=v2"


# Patience --------------------------------------------------------------------


@pytest.mark.parametrize(
    "fault",
    [
        saying(500),
        saying(429, error("slow down", code="rate_limit_exceeded")),
        saying(400, x_should_retry="true"),
        httpx.ReadTimeout("timed out"),
        httpx.ConnectTimeout("timed out"),
        httpx.PoolTimeout("timed out"),
        httpx.ConnectError("refused"),
        httpx.ReadError("reset"),
        httpx.RemoteProtocolError("cut off"),
        httpx.DecodingError("not gzip"),
    ],
    ids=lambda fault: getattr(fault, "status_code", type(fault).__name__),
)
def test_a_passing_fault_is_waited_for(fault: Scripted) -> None:
    slept: list[float] = []
    client = a_client(Script(fault, fault, OK), sleep=slept.append)

    assert client.ask("threads", {}).body == OK.content
    assert slept == [0.5, 1.0]


@pytest.mark.parametrize(
    "fault", [saying(500), httpx.ReadTimeout("timed out"), httpx.DecodingError("not gzip")]
)
def test_a_fault_that_stays_is_retryable_later(fault: Scripted) -> None:
    assert isinstance(failure(fault), RetryableError)


def test_a_source_that_answered_once_is_given_more_attempts() -> None:
    slept: list[float] = []
    client = a_client(Script(OK, httpx.ReadTimeout("timed out")), sleep=slept.append)
    client.ask("threads", {})

    with pytest.raises(RetryableError):
        client.ask("threads", {})

    assert slept == [0.5, 1, 2, 4, 8]


def test_a_failing_source_that_answers_is_given_more_attempts_from_then_on() -> None:
    slept: list[float] = []
    client = a_client(Script(saying(500)), sleep=slept.append)

    for _ in range(2):
        with pytest.raises(RetryableError):
            client.ask("threads", {})

    assert slept == [0.5, 1, 0.5, 1, 2, 4, 8]


def test_the_wait_that_the_server_asks_for_is_kept() -> None:
    slept: list[float] = []
    faults = saying(429, retry_after_ms="1500"), saying(503, retry_after="7")

    a_client(Script(*faults, OK), sleep=slept.append).ask("threads", {})

    assert slept == [1.5, 7]


def test_being_asked_to_stop_ends_the_waiting() -> None:
    def stopped(seconds: float) -> None:
        raise StoppedError("the sync was asked to stop")

    with pytest.raises(StoppedError):
        a_client(Script(saying(500)), sleep=stopped).ask("threads", {})


@pytest.mark.parametrize("status", [400, 401, 403, 404, 422])
def test_what_will_stay_is_asked_once(status: int) -> None:
    server = Script(saying(status, error("no")))

    with pytest.raises(SyncError):
        a_client(server).ask("threads", {})

    assert len(server.requests) == 1


@pytest.mark.parametrize("code", sorted(BILLING_CODES))
def test_an_unpaid_bill_stops_the_source_at_once(code: str) -> None:
    server = Script(saying(429, error("You exceeded your quota.", code=code)))

    with pytest.raises(
        SourceUnavailableError, match="may not spend more: HTTP 429 You exceed"
    ):
        a_client(server).ask("threads", {})

    assert len(server.requests) == 1


def test_a_redirect_is_not_followed() -> None:
    server = Script(saying(302, location="https://login.example.org/?next=x"), OK)

    with pytest.raises(
        RefusedError, match=r"redirects to login\.example\.org, which is not"
    ):
        a_client(server).ask("threads", {})

    assert len(server.requests) == 1


@pytest.mark.parametrize("status", [300, 302, 304, 308])
@pytest.mark.parametrize("place", ["", "/login", "http://\N{SNOWMAN}..x/", "http://["])
def test_a_redirect_to_nowhere_is_an_error_like_others(status: int, place: str) -> None:
    odd = httpx.Response(status, headers={b"location": place.encode()})

    assert isinstance(failure(odd), RefusedError | RetryableError)


def test_a_refused_connection_stops_the_source_and_names_its_address() -> None:
    told = failure(httpx.ConnectError("[Errno 111] Connection refused"))

    assert isinstance(told, SourceUnavailableError)
    assert "https://api.example.com/v1/ cannot be reached: [Errno 111]" in str(told)


def test_a_wrong_certificate_stops_the_source_without_another_attempt() -> None:
    server = Script(httpx.ConnectError("[SSL: CERTIFICATE_VERIFY_FAILED] self-signed"))

    with pytest.raises(SourceUnavailableError, match="has no valid certificate"):
        a_client(server).ask("threads", {})

    assert len(server.requests) == 1


def test_a_certificate_error_is_known_by_its_cause_too() -> None:
    def server(request: httpx.Request) -> httpx.Response:
        try:
            raise ssl.SSLCertVerificationError("self-signed")
        except ssl.SSLError as cause:
            raise httpx.ConnectError("handshake failed") from cause

    with pytest.raises(SourceUnavailableError, match="no valid certificate: handshake"):
        a_client(server).ask("threads", {})


def test_silence_without_a_word_is_told_by_its_kind() -> None:
    assert "did not answer: ReadTimeout" in str(failure(httpx.ReadTimeout("")))


def test_a_password_in_the_address_is_not_told() -> None:
    told = failure(
        httpx.ConnectError("refused"), address="https://user:hunter2@api.example.com/v1"
    )

    assert "hunter2" not in str(told)
    assert "https://api.example.com/v1 cannot be reached" in str(told)


# What an error tells ---------------------------------------------------------


def recorded_errors() -> list[dict[str, Any]]:
    recorded = json.loads((DATA / "samples/errors.json").read_text())
    return [entry for entry in recorded if entry["body"]]


def said_in(body: Any) -> str:
    """The server's own sentence, wherever its envelope has it."""
    if isinstance(body, str):
        return body
    told = body.get("error", body)
    return str(told.get("message") or told.get("detail"))


@pytest.mark.parametrize("entry", recorded_errors(), ids=lambda entry: entry["where"])
def test_a_recorded_error_is_told_in_the_servers_words(entry: dict[str, Any]) -> None:
    body = entry["body"]
    told = failure(saying(entry["status"], body, x_request_id="req_17"))

    facts = f"HTTP {entry['status']} {said_in(body)}"
    assert facts[:LONGEST_MESSAGE] in str(told)
    assert "(request id req_17)" in str(told)


RECORDED_KINDS = {
    400: RefusedError,
    401: SourceUnavailableError,
    403: SourceUnavailableError,
    404: ThreadMissingError,
    500: RetryableError,
}


@pytest.mark.parametrize(
    "entry",
    [entry for entry in recorded_errors() if entry["status"] != 429],
    ids=lambda entry: entry["where"],
)
def test_a_recorded_error_says_what_to_do(entry: dict[str, Any]) -> None:
    told = failure(saying(entry["status"], entry["body"]))

    assert isinstance(told, RECORDED_KINDS[entry["status"]])


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (error("No."), "HTTP 400 No."),
        ({"error": "No."}, "HTTP 400 No."),
        ({"message": "No."}, "HTTP 400 No."),
        ({"detail": "No."}, "HTTP 400 No."),
        (
            {"detail": [{"loc": ["query"], "msg": "No."}]},
            '[{"loc": ["query"], "msg": "No."}]',
        ),
        ({"type": "about:blank", "title": "No.", "status": 400}, "HTTP 400 No."),
        ({"title": "Bad", "detail": "No."}, "HTTP 400 No."),
        ({"error": {"code": "x"}}, 'HTTP 400 {"code": "x"}'),
        ({"error": None, "x": 1}, 'HTTP 400 {"error": null, "x": 1}'),
        (["No."], 'HTTP 400 ["No."]'),
        ("No.", "HTTP 400 No."),
        ("<html>\n  <p>No.\n</html>", "HTTP 400 <html> <p>No. </html>"),
        ("[" * 100_000, "HTTP 400 [[["),
        (None, "refuses the request: HTTP 400"),
    ],
)
def test_the_servers_sentence_is_found_in_any_envelope(body: Any, said: str) -> None:
    assert said in str(failure(saying(400, body)))


def test_a_long_message_is_cut() -> None:
    told = str(failure(saying(400, error("x" * 5_000), x_request_id="req_17")))

    assert told.endswith(f" {'x' * LONGEST_MESSAGE}… (request id req_17)")


# The key ---------------------------------------------------------------------

UNLIKELY_PLACES: list[Scripted] = [
    *(
        saying(status, error(f"Incorrect API key provided: {KEY}."))
        for status in (400, 401, 403, 404, 422, 429, 500)
    ),
    saying(429, error(KEY, code="insufficient_quota")),
    saying(400, KEY),
    saying(400, {"detail": [{"input": f"Bearer {KEY}"}]}),
    saying(400, {"error": {KEY: KEY}}),
    saying(400, error("no"), x_request_id=KEY),
    saying(302, location=f"https://{KEY}.example.com/"),
    saying(302, error(KEY), location="https://example.com/"),
    httpx.ConnectError(f"cannot reach {KEY}"),
    httpx.ConnectError(f"SSL: {KEY}"),
    httpx.LocalProtocolError(f"Illegal header value b'Bearer {KEY}'"),
    httpx.ReadTimeout(KEY),
    httpx.DecodingError(KEY),
]


@pytest.mark.parametrize("echo", UNLIKELY_PLACES, ids=repr)
def test_the_key_is_in_no_error_even_where_the_server_sends_it_back(echo: Scripted) -> None:
    assert KEY not in str(failure(echo))
    assert "[API key]" in str(failure(echo))


@pytest.mark.parametrize("shown", range(1, len(KEY)))
def test_no_part_of_the_key_is_left_where_a_message_is_cut(shown: int) -> None:
    padding = "x" * (LONGEST_MESSAGE - shown)

    told = str(failure(saying(400, error(padding + KEY))))

    assert padding in told
    assert padding + KEY[:shown] not in told


def test_the_key_does_not_show_itself() -> None:
    key = ApiKey(KEY)

    assert KEY not in f"{key} {key!r} {[key]}"


def test_without_a_key_an_error_is_told_as_it_is() -> None:
    assert "no key here" in str(failure(saying(400, error("no key here")), key=None))
