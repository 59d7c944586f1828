"""Patience: what is asked again, after how long, and how often."""

from collections.abc import Callable, Iterable
from datetime import UTC, datetime

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from etl.domain.errors import (
    ContractError,
    RefusedError,
    RetryableError,
    SourceUnavailableError,
    StoppedError,
    ThreadMissingError,
)
from etl.extract.failures import failure_of
from etl.extract.retry import AnswerError, RetryPolicy, asked_wait

NOON = datetime(2026, 11, 22, 12, 0, 0, tzinfo=UTC)


def a_response(status: int, **headers: str) -> httpx.Response:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return httpx.Response(status, headers=named)


def attempted(
    policy: RetryPolicy,
    errors: Iterable[BaseException],
    *,
    answered: bool,
    sleep: Callable[[float], None],
) -> None:
    """A request that meets these errors, one an attempt."""
    script = iter(errors)
    for attempt in policy.retrying(answered=answered, sleep=sleep):
        with attempt:
            error = next(script, None)
            if error is not None:
                raise error


def waits(policy: RetryPolicy, errors: Iterable[BaseException]) -> list[float]:
    """How long a request that meets these errors sleeps between its attempts."""
    slept: list[float] = []
    attempted(policy, errors, answered=True, sleep=slept.append)
    return slept


def failing(*, wait: float | None = None, times: int = 99) -> list[Exception]:
    return [AnswerError("the server failed", wait=wait)] * times


def waits_until_patience_ends(policy: RetryPolicy, *, answered: bool = True) -> list[float]:
    slept: list[float] = []
    with pytest.raises(AnswerError, match="the server failed"):
        attempted(policy, failing(), answered=answered, sleep=slept.append)
    return slept


# What is asked again ---------------------------------------------------------


@pytest.mark.parametrize("status", [408, 409, 429, 500, 502, 503, 504, 529, 599])
def test_an_answer_that_may_pass_is_asked_again(status: int) -> None:
    assert isinstance(failure_of(a_response(status)), AnswerError)


@pytest.mark.parametrize("status", [201, 204, 301, 304, 400, 402, 405, 410, 418, 422])
def test_any_other_answer_is_a_refusal(status: int) -> None:
    assert isinstance(failure_of(a_response(status)), RefusedError)


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (401, SourceUnavailableError),
        (403, SourceUnavailableError),
        (404, ThreadMissingError),
    ],
)
def test_a_wrong_key_and_an_unknown_thread_are_not_asked_again(
    status: int, error: type[Exception]
) -> None:
    assert type(failure_of(a_response(status))) is error


@pytest.mark.parametrize("status", [400, 422, 503])
def test_the_server_may_ask_for_another_attempt(status: int) -> None:
    assert isinstance(failure_of(a_response(status, x_should_retry="true")), AnswerError)


@pytest.mark.parametrize("status", [408, 409, 429, 500, 503])
def test_the_server_may_forbid_another_attempt(status: int) -> None:
    assert isinstance(failure_of(a_response(status, x_should_retry="false")), RefusedError)


@pytest.mark.parametrize("told", ["", "yes", "1"])
def test_an_unclear_word_about_retrying_is_not_heard(told: str) -> None:
    assert isinstance(failure_of(a_response(500, x_should_retry=told)), AnswerError)
    assert isinstance(failure_of(a_response(400, x_should_retry=told)), RefusedError)


@pytest.mark.parametrize(
    "error",
    [
        RefusedError("no"),
        ThreadMissingError("no"),
        SourceUnavailableError("no"),
        ContractError("no"),
        StoppedError("no"),
        ValueError("no"),
        KeyboardInterrupt("no"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_an_error_that_will_stay_ends_the_attempts_at_once(error: BaseException) -> None:
    with pytest.raises(type(error), match="no"):
        waits(RetryPolicy(), [error])


def test_an_error_that_may_pass_is_waited_for() -> None:
    assert len(waits(RetryPolicy(), [RetryableError("later")] * 2)) == 2


def test_being_asked_to_stop_ends_the_wait() -> None:
    def stopped(seconds: float) -> None:
        raise StoppedError("the sync was asked to stop")

    with pytest.raises(StoppedError):
        attempted(RetryPolicy(), failing(), answered=True, sleep=stopped)


# How often, and for how long -------------------------------------------------


def test_patience_is_six_attempts_and_only_three_before_the_first_answer() -> None:
    assert len(waits_until_patience_ends(RetryPolicy())) == 5
    assert len(waits_until_patience_ends(RetryPolicy(), answered=False)) == 2


def test_waits_double_up_to_the_longest() -> None:
    policy = RetryPolicy(attempts=8, jitter=0)

    assert waits_until_patience_ends(policy) == [0.5, 1, 2, 4, 8, 8, 8]


def test_jitter_only_shortens_a_wait_and_by_a_quarter_at_most() -> None:
    full = waits_until_patience_ends(RetryPolicy(attempts=40, jitter=0))
    jittered = waits_until_patience_ends(RetryPolicy(attempts=40))

    assert all(
        0.75 * most < wait <= most for wait, most in zip(jittered, full, strict=True)
    )
    assert jittered != full


@pytest.mark.parametrize("asked", [0.001, 0.25, 3, 120])
def test_the_server_is_given_the_time_it_asks_for(asked: float) -> None:
    assert waits(RetryPolicy(), failing(wait=asked, times=2)) == [asked] * 2


@pytest.mark.parametrize("asked", [None, 120.001, 86_400, float("inf")])
def test_a_time_that_is_too_long_is_not_waited(asked: float | None) -> None:
    policy = RetryPolicy(jitter=0)

    assert waits(policy, failing(wait=asked, times=2)) == [0.5, 1]


# What the server asks for ----------------------------------------------------


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "3"}, 3),
        ({"retry-after": "0.25"}, 0.25),
        ({"retry-after": " 7 "}, 7),
        ({"retry-after-ms": "1500"}, 1.5),
        ({"retry-after-ms": "0.5"}, 0.0005),
        ({"retry-after-ms": "250", "retry-after": "9"}, 0.25),
        ({"retry-after-ms": "0", "retry-after": "9"}, 9),
        ({"retry-after-ms": "-3", "retry-after": "9"}, 9),
        ({"retry-after-ms": "soon", "retry-after": "9"}, 9),
        ({"retry-after": "0"}, None),
        ({"retry-after": "-1"}, None),
        ({"retry-after": "0.0"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": ""}, None),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "300"}, 300),
        ({"retry-after": "Sun, 22 Nov 2026 12:00:30 GMT"}, 30),
        ({"retry-after": "Sun, 22 Nov 2026 12:00:30"}, 30),
        ({"retry-after": "Sun, 22 Nov 2026 13:00:30 +0100"}, 30),
        ({"retry-after": "Sun, 22 Nov 2026 12:00:00 GMT"}, None),
        ({"retry-after": "Sat, 21 Nov 2026 12:00:00 GMT"}, None),
        ({"retry-after": "Sun, 99 Nov 2026 12:00:00 GMT"}, None),
        ({"retry-after": f"Sun, 22 Nov {'9' * 20} 12:00:00 GMT"}, None),
    ],
)
def test_the_time_asked_for_is_understood(
    headers: dict[str, str], seconds: float | None
) -> None:
    assert asked_wait(httpx.Headers(headers), now=NOON) == seconds


def test_the_time_asked_for_comes_with_the_error() -> None:
    failure = failure_of(a_response(429, retry_after="7"))

    assert isinstance(failure, AnswerError)
    assert failure.wait == 7


@given(st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=40))
@settings(max_examples=200)
def test_no_header_makes_reading_it_fail(told: str) -> None:
    seconds = asked_wait(httpx.Headers({"retry-after": told, "retry-after-ms": told}))

    assert seconds is None or seconds > 0
