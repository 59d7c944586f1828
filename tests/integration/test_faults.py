"""Servers and lines that fail: complete data, or `partial` naming exactly what failed."""

import gzip
import re
import socket
import ssl
import subprocess
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from sqlalchemy.engine import Engine

import etl.extract.client
import etl.wiring.sources
from etl.domain.outcome import Failure, Outcome, SyncReport
from etl.extract import client
from etl.extract.budget import Budget
from etl.extract.retry import RetryPolicy
from tests.integration.builders import comparable, query
from tests.integration.look_alikes import LookAlike, apart
from tests.integration.raw_serving import Answer, Request, an_answer, raw_serving
from tests.integration.syncing import KEY, Syncer

ATTEMPTS = 3
VICTIM = "thread_b"
WORLD = {f"thread_{name}": (130, apart) for name in "abcd"}
"""Each thread has two pages."""


@pytest.fixture
def engine(swept_engine: Engine) -> Engine:
    return swept_engine


@pytest.fixture(autouse=True)
def _hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Retries do not wait."""
    hasty = RetryPolicy(
        attempts=ATTEMPTS,
        first_attempts=ATTEMPTS,
        shortest_seconds=0,
        longest_seconds=0,
        longest_asked_seconds=0.05,
    )
    monkeypatch.setattr(etl.wiring.sources, "RetryPolicy", lambda: hasty)


@pytest.fixture
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Silence is given up soon."""
    monkeypatch.setattr(etl.extract.client, "TIMEOUT", httpx.Timeout(10.0, read=0.5))


# Faults ------------------------------------------------------------------------------

Fault = Callable[[Answer], Answer]
"""From the answer that a server should give to the one that it gives."""


def sent(answer: Answer) -> bytes:
    return b"".join(answer.parts)


def body_of(answer: Answer) -> bytes:
    return sent(answer).partition(b"\r\n\r\n")[2]


def broken_off(answer: Answer, *, at: float, ends: str) -> Answer:
    """Only this share of the answer."""
    whole = sent(answer)
    return Answer([whole[: int(len(whole) * at)]], ends)


def reset_at_once(answer: Answer) -> Answer:
    return Answer([], "reset")


def reset_in_the_head(answer: Answer) -> Answer:
    return Answer([sent(answer)[:30]], "reset")


def reset_in_the_body(answer: Answer) -> Answer:
    return broken_off(answer, at=0.7, ends="reset")


def closed_in_the_body(answer: Answer) -> Answer:
    """The Content-Length promises more than comes."""
    return broken_off(answer, at=0.7, ends="close")


def silent(answer: Answer) -> Answer:
    return Answer([], "hold")


def silent_in_the_body(answer: Answer) -> Answer:
    return broken_off(answer, at=0.7, ends="hold")


def too_short_a_length(answer: Answer) -> Answer:
    body = body_of(answer)
    return an_answer(body, content_length=str(len(body) // 2), ends="close")


def cut_off_in_chunks(answer: Answer) -> Answer:
    head = sent(an_answer(content_length="", transfer_encoding="chunked"))
    return Answer([head, b"fff\r\n" + body_of(answer)[:900]], "close")


def cut_off_gzip(answer: Answer) -> Answer:
    return an_answer(gzip.compress(body_of(answer))[:-200], content_encoding="gzip")


def no_gzip(answer: Answer) -> Answer:
    return an_answer(body_of(answer), content_encoding="gzip")


def a_page_of_html(_: Answer) -> Answer:
    return an_answer(b"<html><h1>Sign in</h1></html>", content_type="text/html")


def no_http(_: Answer) -> Answer:
    return Answer([b"SSH-2.0-OpenSSH_9.7\r\n"], "close")


def telling(status: int, message: str, **headers: str) -> Fault:
    """An error in the envelope of the API."""
    code = headers.pop("code", None)

    def fault(_: Answer) -> Answer:
        error = {"message": message, "type": "server_error", "param": None, "code": code}
        return an_answer({"error": error}, status=status, **headers)

    fault.__name__ = f"telling_{status}"
    return fault


rate_limited = telling(
    429, "Rate limit reached for requests", code="rate_limit_exceeded", retry_after="0.01"
)
broken = telling(500, "The server had an error")
overloaded = telling(503, "Overloaded", retry_after_ms="10")
bad_gateway = telling(502, "", content_type="text/html")
retry_at_will = telling(400, "A replica lags behind", x_should_retry="true")
no_retry = telling(503, "Closed for good", x_should_retry="false")
refused = telling(400, "The thread is locked")
not_for_you = telling(418, "I'm a teapot")


class Faulty(LookAlike):
    """Breaks some answers."""

    def __init__(self) -> None:
        super().__init__(WORLD)
        self.faults: dict[tuple[str, bool], list[Fault]] = {}
        self.keys: set[str | None] = set()

    def fails(self, fault: Fault, *, at: str, later: bool, times: int) -> None:
        """Break so many answers about a thread, on its first page or on a later one."""
        self.faults[at, later] = [fault] * times

    def listed(self, request: Request) -> Answer:
        self.keys.add(request.headers.get("authorization"))
        answer = super().listed(request)
        faults = self.faults.get((request.thread_id, "after" in request.query))
        return faults.pop()(answer) if faults else answer

    def payloads(self) -> dict[str, Any]:
        return {
            run["id"]: comparable(run) for runs in self.threads.values() for run in runs
        }


@pytest.fixture
def server() -> Faulty:
    return Faulty()


@pytest.fixture
def syncer(engine: Engine, server: Faulty) -> Iterator[Syncer]:
    with server.listening() as base_url:
        syncer = Syncer(engine, base_url, key=KEY)
        syncer.track(list(server.threads))
        yield syncer


# A fault that passes -----------------------------------------------------------------

PASSING = [
    reset_at_once,
    reset_in_the_head,
    reset_in_the_body,
    closed_in_the_body,
    cut_off_in_chunks,
    no_gzip,
    no_http,
    rate_limited,
    broken,
    overloaded,
    bad_gateway,
    retry_at_will,
    telling(408, "Too slow"),
    telling(409, "Locked"),
]
SILENT = [silent, silent_in_the_body]


def name_of(value: object) -> str:
    return getattr(value, "__name__", str(value))


def assert_a_fault_that_passes_does_no_harm(
    fault: Fault, server: Faulty, syncer: Syncer
) -> None:
    for thread_id in server.threads:
        server.fails(fault, at=thread_id, later=False, times=1)
        server.fails(fault, at=thread_id, later=True, times=ATTEMPTS - 1)

    report = syncer.sync()

    assert (report.outcome, report.errors) == (Outcome.SUCCEEDED, [])
    assert syncer.payloads() == server.payloads()
    assert report.retries >= len(WORLD) * ATTEMPTS


@pytest.mark.parametrize("fault", PASSING, ids=name_of)
def test_a_fault_that_passes_does_no_harm(
    fault: Fault, server: Faulty, syncer: Syncer
) -> None:
    assert_a_fault_that_passes_does_no_harm(fault, server, syncer)


@pytest.mark.usefixtures("_impatient")
@pytest.mark.parametrize("fault", SILENT, ids=name_of)
def test_silence_that_passes_does_no_harm(
    fault: Fault, server: Faulty, syncer: Syncer
) -> None:
    assert_a_fault_that_passes_does_no_harm(fault, server, syncer)


def test_an_answer_that_drips_is_waited_for(server: Faulty, syncer: Syncer) -> None:
    def drip(answer: Answer) -> Answer:
        whole = sent(answer)
        return Answer([whole[at : at + 97] for at in range(0, len(whole), 97)])

    server.fails(drip, at=VICTIM, later=False, times=1)

    assert syncer.sync().outcome is Outcome.SUCCEEDED
    assert syncer.payloads() == server.payloads()


# A fault that stays ------------------------------------------------------------------

NO_ANSWER = "http://127.0.0.1:PORT/v1 did not answer: "
SAID = " (request id req_of_test)"
STAYING: list[tuple[Fault, str, int]] = [
    (reset_at_once, NO_ANSWER + ".+", ATTEMPTS),
    (reset_in_the_head, NO_ANSWER + ".+", ATTEMPTS),
    (reset_in_the_body, NO_ANSWER + ".+", ATTEMPTS),
    (closed_in_the_body, NO_ANSWER + "peer closed connection.+" + SAID, ATTEMPTS),
    (cut_off_in_chunks, NO_ANSWER + "peer closed connection.+", ATTEMPTS),
    (no_http, NO_ANSWER + ".+", ATTEMPTS),
    (no_gzip, "the answer cannot be read: .+" + SAID, ATTEMPTS),
    (cut_off_gzip, "the answer is no list of runs .+" + SAID, 1),
    (too_short_a_length, "the answer is no list of runs .+" + SAID, 1),
    (a_page_of_html, "the answer is no list of runs .+<html><h1>Sign in.+" + SAID, 1),
    (rate_limited, "the server wants fewer requests: HTTP 429 Rate limit .+", ATTEMPTS),
    (broken, "the server failed: HTTP 500 The server had an error" + SAID, ATTEMPTS),
    (overloaded, "the server failed: HTTP 503 Overloaded" + SAID, ATTEMPTS),
    (retry_at_will, "the server failed: HTTP 400 A replica lags behind" + SAID, ATTEMPTS),
    (no_retry, "the server refuses the request: HTTP 503 Closed for good" + SAID, 1),
    (not_for_you, "the server refuses the request: HTTP 418 I'm a teapot" + SAID, 1),
]


def assert_only_the_victim_failed(
    report: SyncReport, sentence: str, server: Faulty, syncer: Syncer
) -> None:
    """`partial`, with the sentence, and all else committed."""
    (failure,) = report.errors
    assert report.outcome is Outcome.PARTIAL
    assert (failure.source, failure.thread) == ("demo", VICTIM)
    port = str(urlsplit(syncer.source.base_url).port)
    pattern = re.escape(sentence).replace("PORT", port).replace(r"\.\+", ".+")
    assert re.fullmatch(pattern, failure.message), failure.message
    stored, there = syncer.payloads(), server.payloads()
    ours = {run["id"] for run in server.threads[VICTIM]}
    assert {k: v for k, v in stored.items() if k not in ours} == {
        k: v for k, v in there.items() if k not in ours
    }
    assert query(
        syncer.engine,
        "SELECT thread_id, last_error FROM run_sync.threads WHERE last_error IS NOT NULL",
    ) == [(VICTIM, failure.message)]


def assert_a_fault_that_stays_is_its_threads_own(
    fault: Fault, sentence: str, attempts: int, server: Faulty, syncer: Syncer
) -> None:
    server.fails(fault, at=VICTIM, later=True, times=1_000)

    report = syncer.sync()

    assert_only_the_victim_failed(report, sentence, server, syncer)
    first_page = {run["id"] for run in server.threads[VICTIM][:100]}
    assert first_page <= syncer.payloads().keys()
    assert report.retries >= attempts - 1
    assert attempts > 1 or report.retries <= 1  # of a connection that was closed

    server.faults.clear()
    assert syncer.sync().outcome is Outcome.SUCCEEDED
    assert syncer.payloads() == server.payloads()


@pytest.mark.parametrize(("fault", "sentence", "attempts"), STAYING, ids=name_of)
def test_a_fault_that_stays_is_its_threads_own(
    fault: Fault, sentence: str, attempts: int, server: Faulty, syncer: Syncer
) -> None:
    assert_a_fault_that_stays_is_its_threads_own(fault, sentence, attempts, server, syncer)


@pytest.mark.usefixtures("_impatient")
@pytest.mark.parametrize(
    ("fault", "said"), [(silent, ""), (silent_in_the_body, SAID)], ids=name_of
)
def test_silence_that_stays_is_its_threads_own(
    fault: Fault, said: str, server: Faulty, syncer: Syncer
) -> None:
    assert_a_fault_that_stays_is_its_threads_own(
        fault, NO_ANSWER + "timed out" + said, ATTEMPTS, server, syncer
    )


@pytest.mark.parametrize("fault", [broken, refused, a_page_of_html], ids=name_of)
def test_a_thread_that_cannot_be_begun_fails_alone(
    fault: Fault, server: Faulty, syncer: Syncer
) -> None:
    server.fails(fault, at=VICTIM, later=False, times=1_000)

    report = syncer.sync()

    assert [failure.thread for failure in report.errors] == [VICTIM]
    assert report.outcome is Outcome.PARTIAL
    assert len(syncer.payloads()) == 3 * 130


def test_a_drip_that_never_ends_is_given_up(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "LONGEST_ANSWER_SECONDS", 0.05)

    def drip(_: Request) -> Answer:
        head = sent(an_answer(content_length="100000000"))
        return Answer([head, *([b" " * 999] * 100_000)])

    with raw_serving(drip) as base_url:
        syncer = Syncer(engine, base_url)
        syncer.track([VICTIM])
        report = syncer.sync()

    (failure,) = report.errors
    assert failure.message.endswith(" did not answer: the answer does not end" + SAID)
    assert (report.outcome, report.requests) == (Outcome.FAILED, ATTEMPTS)


# Refusals for the whole source -------------------------------------------------------


@pytest.fixture
def budgets(monkeypatch: pytest.MonkeyPatch) -> list[Budget]:
    """The budgets that a sync made."""
    made: list[Budget] = []

    def budget(*arguments: Any, **named: Any) -> Budget:
        made.append(Budget(*arguments, **named))
        return made[-1]

    monkeypatch.setattr(etl.wiring.sources, "Budget", budget)
    return made


def test_a_refusal_for_the_rate_slows_the_whole_source_down(
    server: Faulty, syncer: Syncer, budgets: list[Budget]
) -> None:
    server.fails(rate_limited, at=VICTIM, later=False, times=1)

    assert syncer.sync().outcome is Outcome.SUCCEEDED

    (budget,) = budgets
    assert budget._per_second < 0.6 * budget._most_per_second
    assert syncer.payloads() == server.payloads()


def test_faults_of_another_kind_do_not_slow_a_source_down(
    server: Faulty, syncer: Syncer, budgets: list[Budget]
) -> None:
    server.fails(overloaded, at=VICTIM, later=False, times=1)

    assert syncer.sync().outcome is Outcome.SUCCEEDED

    (budget,) = budgets
    assert budget._per_second == budget._most_per_second


MANY = {f"thread_{number:03}": (1, apart) for number in range(200)}


@pytest.mark.parametrize("code", ["insufficient_quota", "credit_balance_exhausted"])
def test_an_unpaid_bill_stops_the_source_at_once(engine: Engine, code: str) -> None:
    """What was committed before stands; each worker asks once more at most."""
    server = LookAlike(MANY)
    unpaid = telling(429, "You exceeded your current quota", code=code)
    numbers = count(1)

    def answer(request: Request) -> Answer:
        there = server.answer(request)
        return there if next(numbers) <= 50 else unpaid(there)

    with raw_serving(answer) as base_url:
        syncer = Syncer(engine, base_url)
        syncer.track(list(MANY))
        report = syncer.sync()

    assert report.outcome is Outcome.PARTIAL
    assert report.errors == [
        Failure(
            source="demo",
            thread=None,
            message="the account may not spend more: HTTP 429 You exceeded your current"
            " quota (request id req_of_test); waiting is useless, settle the bill",
        )
    ]
    assert len(syncer.payloads()) == 50
    assert report.requests <= 50 + syncer.settings.config.sync.workers
    assert report.retries == 0


def closed_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


def test_a_refused_connection_names_the_source(engine: Engine) -> None:
    port = closed_port()
    syncer = Syncer(engine, f"http://127.0.0.1:{port}/v1")
    syncer.track(list(MANY))

    report = syncer.sync()

    (failure,) = report.errors
    assert (report.outcome, failure.thread) == (Outcome.FAILED, None)
    assert failure.message.startswith(f"http://127.0.0.1:{port}/v1 cannot be reached: ")
    assert failure.message.endswith("; check base_url and the network")
    assert report.requests <= ATTEMPTS * syncer.settings.config.sync.workers


def test_a_server_that_goes_away_in_the_middle_leaves_what_was_committed(
    engine: Engine,
) -> None:
    server = LookAlike(MANY)
    numbers = count(1)

    def answer(request: Request) -> Answer:
        there = server.answer(request)
        return there if next(numbers) <= 50 else Answer([], "leave")

    with raw_serving(answer) as base_url:
        syncer = Syncer(engine, base_url)
        syncer.track(list(MANY))
        report = syncer.sync()

        assert report.outcome is Outcome.PARTIAL
        assert any(failure.thread is None for failure in report.errors)
        assert len(syncer.payloads()) == 50


# The key -----------------------------------------------------------------------------


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_to_another_host_is_not_followed(
    server: Faulty, syncer: Syncer, status: int
) -> None:
    elsewhere: list[Request] = []

    def record(request: Request) -> Answer:
        elsewhere.append(request)
        return an_answer({"data": [], "has_more": False})

    with raw_serving(record) as other:
        away = telling(status, "", location=f"{other}/threads/{VICTIM}/runs")
        server.fails(away, at=VICTIM, later=False, times=1_000)
        report = syncer.sync()

    assert elsewhere == []
    assert_only_the_victim_failed(
        report,
        f"the server redirects to 127.0.0.1, which is not followed: HTTP {status}.+{SAID}",
        server,
        syncer,
    )
    assert server.keys == {f"Bearer {KEY}"}
    assert KEY not in repr(report)


@pytest.fixture
def self_signed(tmp_path: Path) -> ssl.SSLContext:
    """A certificate that nobody vouches for."""
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    command = "openssl req -x509 -newkey rsa:2048 -nodes -days 1 -subj /CN=127.0.0.1"
    command += f" -addext subjectAltName=IP:127.0.0.1 -keyout {key} -out {certificate}"
    subprocess.run(command.split(), check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    return context


def test_a_certificate_that_nobody_vouches_for_stops_the_source_and_hides_the_key(
    engine: Engine, self_signed: ssl.SSLContext
) -> None:
    asked: list[Request] = []

    def record(request: Request) -> Answer:
        asked.append(request)
        return an_answer({"data": [], "has_more": False})

    with raw_serving(record, tls=self_signed) as base_url:
        syncer = Syncer(engine, base_url, key=KEY)
        syncer.track(list(MANY))
        report = syncer.sync()

    (failure,) = report.errors
    assert (report.outcome, failure.thread, asked) == (Outcome.FAILED, None, [])
    assert failure.message.startswith(f"{base_url} has no valid certificate: ")
    assert "self-signed certificate" in failure.message
    assert report.retries == 0
    assert report.requests <= syncer.settings.config.sync.workers
