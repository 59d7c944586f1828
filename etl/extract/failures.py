"""From an HTTP answer to the error that says what to do about it."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import httpx

from etl.domain.errors import (
    RefusedError,
    SourceUnavailableError,
    SyncError,
    ThreadMissingError,
)
from etl.extract.retry import AnswerError, RateLimitedError, asked_wait

LONGEST_MESSAGE = 300
LONGEST_REQUEST_ID = 100

SomeError = TypeVar("SomeError", bound=SyncError)

Redact = Callable[[str], str]
"""Take secrets out of a text."""

BILLING_CODES = frozenset(
    {
        "insufficient_quota",
        "credit_balance_exhausted",
        "organization_spend_limit_exceeded",
        "project_spend_limit_exceeded",
        "organization_usage_limit_exceeded",
    }
)
"""429 codes after which waiting is useless (WIRE: errors and limits)."""

PASSING_STATUSES = frozenset({408, 409, 429})


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """What a server did not take, and what helps after a 401 and after a 403."""

    what: str = "the API key"
    unauthorized: str = "check the variable that api_key_env names"
    forbidden: str = "check the variable that api_key_env names"

    def told(self, status: int, said: str) -> str:
        """One sentence for a person."""
        helps = self.forbidden if status == httpx.codes.FORBIDDEN else self.unauthorized
        return f"the server refuses {self.what}: {said}; {helps}"


OF_AN_API_KEY = Refusal()


def failure_of(
    response: httpx.Response, *, redact: Redact = str, refusal: Refusal = OF_AN_API_KEY
) -> SyncError:
    """Name an answer that is not a page, by what the caller should do."""
    failure = _failure(response, describe(response, redact=redact), refusal)
    failure.request_id = request_id_of(response.headers, redact=redact)
    return failure


def _failure(response: httpx.Response, said: str, refusal: Refusal) -> SyncError:
    status = response.status_code
    if status in {401, 403}:
        return SourceUnavailableError(refusal.told(status, said))
    if status == httpx.codes.NOT_FOUND:
        return ThreadMissingError(f"the server does not know this thread: {said}")
    if status == httpx.codes.TOO_MANY_REQUESTS and _code(response) in BILLING_CODES:
        return SourceUnavailableError(
            f"the account may not spend more: {said}; waiting is useless, settle the bill"
        )
    if _may_pass(response):
        return _passing(response, said)
    if response.is_redirect:
        return RefusedError(
            f"the server redirects to {_destination(response)}, which is not followed:"
            f" {said}"
        )
    return RefusedError(f"the server refuses the request: {said}")


def _passing(response: httpx.Response, said: str) -> AnswerError:
    wait = asked_wait(response.headers)
    if response.status_code == httpx.codes.TOO_MANY_REQUESTS:
        return RateLimitedError(f"the server wants fewer requests: {said}", wait=wait)
    return AnswerError(f"the server failed: {said}", wait=wait)


def describe(response: httpx.Response, *, redact: Redact = str) -> str:
    """Status, the server's own message and its request id, on one line."""
    facts = f"HTTP {response.status_code}"
    message = _shortened(redact(_message(response)))  # a cut secret cannot be found
    request_id = request_id_of(response.headers, redact=redact)
    if message:
        facts += f" {message}"
    return facts + _in_brackets(request_id)


def request_id_of(headers: httpx.Headers | None, *, redact: Redact = str) -> str | None:
    """The server's name for an answer, fit for a sentence; None where it gave none."""
    told = headers.get("x-request-id") if headers else None
    if not told:
        return None
    short = redact(told)[:LONGEST_REQUEST_ID]
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in short)


def blaming(error: SomeError, request_id: str | None) -> SomeError:
    """Put the request id into an error and its sentence, unless one stands there."""
    if error.request_id is None and request_id is not None:
        error.request_id = request_id
        error.args = (f"{error}{_in_brackets(request_id)}",)
    return error


def _in_brackets(request_id: str | None) -> str:
    return f" (request id {request_id})" if request_id else ""


def _destination(response: httpx.Response) -> str:
    try:
        return httpx.URL(response.headers.get("location", "")).host or "elsewhere"
    except httpx.InvalidURL:
        return "elsewhere"


def _may_pass(response: httpx.Response) -> bool:
    told = response.headers.get("x-should-retry")
    if told in {"true", "false"}:
        return bool(told == "true")
    return response.status_code in PASSING_STATUSES or response.is_server_error


def _error_object(response: httpx.Response) -> Any:
    try:
        body = response.json()
    except (ValueError, RecursionError):
        return None
    return body.get("error", body) if isinstance(body, dict) else body


def _code(response: httpx.Response) -> Any:
    error = _error_object(response)
    return error.get("code") if isinstance(error, dict) else None


def _message(response: httpx.Response) -> str:
    """Find the sentence in OpenAI's envelope, FastAPI's, problem+json or plain text."""
    error = _error_object(response)
    if isinstance(error, dict):
        told = next(
            (error[key] for key in ("message", "detail", "title") if error.get(key)),
            error,
        )
    else:
        told = error if error is not None else response.text
    text = told if isinstance(told, str) else json.dumps(told)
    return " ".join(text.split())


def _shortened(line: str) -> str:
    return line if len(line) <= LONGEST_MESSAGE else f"{line[:LONGEST_MESSAGE]}…"
