"""Patience as a value: what is asked again, after how long, and how often."""

import random
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import httpx
import tenacity
from tenacity import RetryCallState

from etl.domain.errors import RetryableError

Notice = Callable[[int, float, BaseException], None]
"""Told of an attempt that failed: its number, the seconds until the next, the error."""


class AnswerError(RetryableError):
    """An answer, or the lack of one, after which the same request may succeed.

    `wait` is the number of seconds the server asked for, if it did.
    """

    def __init__(self, message: str, *, wait: float | None = None) -> None:
        super().__init__(message)
        self.wait = wait


class RateLimitedError(AnswerError):
    """The server refuses for the rate of requests: the whole source must slow down."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """How patient the client is; the figures are the official SDK's, with more attempts.

    `first_attempts` counts until a source has answered for the first time: a
    wrong address is told soon, a passing fault is waited for.
    """

    attempts: int = 6
    first_attempts: int = 3
    shortest_seconds: float = 0.5
    longest_seconds: float = 8.0
    jitter: float = 0.25
    longest_asked_seconds: float = 120.0

    def retrying(
        self,
        *,
        answered: bool,
        sleep: Callable[[float], None],
        notice: Notice | None = None,
    ) -> tenacity.Retrying:
        """Answer tenacity's loop for one request; `notice` is told before each wait."""
        return tenacity.Retrying(
            retry=tenacity.retry_if_exception_type(RetryableError),
            stop=tenacity.stop_after_attempt(
                self.attempts if answered else self.first_attempts
            ),
            wait=self._wait,
            sleep=sleep,
            before_sleep=notice and _noticing(notice),
            reraise=True,
        )

    def honoured(self, asked: float | None) -> float | None:
        """The seconds a server asked for, where that is a sane number of them."""
        if asked is None or not 0 < asked <= self.longest_asked_seconds:
            return None
        return asked

    def _wait(self, state: RetryCallState) -> float:
        error = state.outcome.exception() if state.outcome else None
        asked = self.honoured(error.wait) if isinstance(error, AnswerError) else None
        if asked is not None:
            return asked
        doubled = self.shortest_seconds * 2.0 ** (state.attempt_number - 1)
        seconds = min(doubled, self.longest_seconds)
        return seconds * (1 - self.jitter * random.random())  # noqa: S311  # jitter


def _noticing(notice: Notice) -> Callable[[RetryCallState], None]:
    def before_sleep(state: RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome else None
        if error is not None and state.next_action is not None:
            notice(state.attempt_number, state.next_action.sleep, error)

    return before_sleep


def asked_wait(headers: httpx.Headers, *, now: datetime | None = None) -> float | None:
    """Read how many seconds the server asks to wait; None where it does not say.

    `retry-after-ms` goes before `retry-after`, which is a number of seconds or an
    HTTP date; what is zero or less counts as absent (WIRE: errors and limits).
    """
    milliseconds = _number(headers.get("retry-after-ms"))
    if milliseconds is not None and milliseconds > 0:
        return milliseconds / 1000
    told = headers.get("retry-after")
    seconds = _number(told)
    if seconds is None and told is not None:
        seconds = _seconds_until(told, now or datetime.now(UTC))
    return seconds if seconds is not None and seconds > 0 else None


def _number(text: str | None) -> float | None:
    try:
        return None if text is None else float(text)
    except ValueError:
        return None


def _seconds_until(text: str, now: datetime) -> float | None:
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return None
    return (moment.replace(tzinfo=moment.tzinfo or UTC) - now).total_seconds()
