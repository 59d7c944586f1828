"""One source's HTTP: paced, patient, and silent about its key."""

import logging
import ssl
import threading
import time
from base64 import b64encode
from collections.abc import Callable, Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol
from urllib.parse import unquote_to_bytes, urlencode

import httpx

from etl.domain.errors import SourceUnavailableError, SyncError
from etl.domain.run import Instant
from etl.extract.failures import (
    OF_AN_API_KEY,
    Redact,
    SomeError,
    blaming,
    failure_of,
    request_id_of,
)
from etl.extract.keys import Key
from etl.extract.retry import AnswerError, RateLimitedError, RetryPolicy

log = logging.getLogger(__name__)

TIMEOUT = httpx.Timeout(60.0, connect=10.0)

OURS = {"Accept-Encoding": "gzip, deflate", "User-Agent": "runtide"}
"""Headers of every request to any kind of source."""

LONGEST_ANSWER_SECONDS = 600.0
"""A server that keeps dripping, and so never times out, is not listened to for longer."""

ENCODING = "content-encoding"


class Pace(Protocol):
    """When requests may be sent: a budget of them."""

    def spend(self) -> None:
        """Wait until one request may be sent, and count it."""
        ...

    def slow_down(self, pause: float | None = None) -> None:
        """Go slower; send nothing for `pause` seconds where the server says so."""
        ...


@dataclass
class Traffic:
    """What a source's client has done; one writer at a time."""

    requests: int = 0
    retries: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def count(self, *, attempt: int) -> None:
        """Count one attempt; the second and later ones of a request are retries."""
        with self._lock:
            self.requests += 1
            self.retries += attempt > 1


@dataclass(frozen=True, slots=True)
class Answer:
    """The body of a 200, and when its request was sent.

    The headers are looked into only where the body breaks a rule.
    """

    body: bytes
    sent_at: Instant
    headers: httpx.Headers | None = None
    redact: Redact = str

    def blamed(self, error: SomeError) -> SomeError:
        """The error with this answer's request id, and without the API key."""
        error.args = (self.redact(str(error)),)
        return blaming(error, request_id_of(self.headers, redact=self.redact))


class Client:
    """GET requests against one source, shared by its workers.

    `headers` and `query` go with every one of them.

    Speaks through a transport of httpx, without its client: what that adds (cookies,
    redirects, merged addresses) is not wanted here, and takes as long as a page.
    """

    def __init__(
        self,
        transport: httpx.BaseTransport,
        base_url: str,
        headers: Mapping[str, str],
        *,
        api_key: Key | None,
        budget: Pace,
        policy: RetryPolicy,
        now: Callable[[], Instant],
        sleep: Callable[[float], None],
        name: str | None = None,
        query: Mapping[str, str] | None = None,
    ) -> None:
        self.traffic = Traffic()
        self._transport = transport
        self._base_url = httpx.URL(base_url)
        self._address = base_url.rstrip("/")
        self._headers = httpx.Headers(OURS | dict(headers) | self._user_and_password())
        self._query = dict(query or {})
        self._name = name or self._base_url.host
        self._key = api_key
        self._budget = budget
        self._policy = policy
        self._now = now
        self._sleep = sleep
        self._answered = False

    def ask(self, path: str, query: Mapping[str, str | int]) -> Answer:
        """Fetch one path until it answers, or until patience ends.

        Raises the SyncError that says what to do: RetryableError once patience
        has ended, SourceUnavailableError, ThreadMissingError or RefusedError.
        """
        loop = self._policy.retrying(
            answered=self._answered, sleep=self._sleep, notice=partial(self._tell, path)
        )
        try:
            for attempt in loop:
                with attempt:
                    return self._attempt(path, query, attempt.retry_state.attempt_number)
        except _UnreachableError as error:
            raise SourceUnavailableError(str(error)) from error
        raise AssertionError  # tenacity returns or raises

    def _attempt(self, path: str, query: Mapping[str, str | int], number: int) -> Answer:
        self._budget.spend()
        self.traffic.count(attempt=number)
        sent_at = self._now()
        response, body = self._let_in(path, query)
        self._answered = True
        if response.status_code != httpx.codes.OK:
            refusal = self._key.refusal if self._key else OF_AN_API_KEY
            answer = _read(response, body)
            failure = failure_of(answer, redact=self._redact, refusal=refusal)
            if isinstance(failure, RateLimitedError):
                self._budget.slow_down(self._policy.honoured(failure.wait))
            raise self._redacted(failure)
        return Answer(body, sent_at, response.headers, self._redact)

    def _tell(self, path: str, number: int, seconds: float, error: BaseException) -> None:
        fields = {
            "source": self._name,
            "path": path,
            "attempt": number,
            "wait_seconds": round(seconds, 3),
            "error": str(error),
            "request_id": getattr(error, "request_id", None),
        }
        log.warning("attempt failed", extra=fields)

    def _let_in(
        self, path: str, query: Mapping[str, str | int]
    ) -> tuple[httpx.Response, bytes]:
        """One request; once more with a new key where the server refuses the one shown."""
        if self._key is None:
            return self._fetch(path, query, self._headers)
        shown = self._key.header()
        response, body = self._fetch(path, query, self._headers_with(shown))
        if response.status_code == httpx.codes.UNAUTHORIZED and self._key.renew(shown):
            self._budget.spend()
            self.traffic.count(attempt=2)
            renewed = self._headers_with(self._key.header())
            return self._fetch(path, query, renewed)
        return response, body

    def _headers_with(self, authorization: str) -> httpx.Headers:
        headers = self._headers.copy()
        headers["Authorization"] = authorization
        return headers

    def _user_and_password(self) -> dict[str, str]:
        """Those that the address holds; a key goes before them."""
        if self._base_url.userinfo:
            told = b64encode(unquote_to_bytes(self._base_url.userinfo)).decode()
            return {"Authorization": f"Basic {told}"}
        return {}

    def _fetch(
        self, path: str, query: Mapping[str, str | int], headers: httpx.Headers
    ) -> tuple[httpx.Response, bytes]:
        """One request, and the body of its answer, unzipped."""
        address, asked = f"{self._address}/{path}", {**query, **self._query}
        request = httpx.Request(
            "GET",
            f"{address}?{urlencode(asked)}" if asked else address,
            headers=headers,
            extensions={"timeout": TIMEOUT.as_dict()},
        )
        until = time.monotonic() + LONGEST_ANSWER_SECONDS
        parts: list[bytes] = []
        told = None
        try:
            with closing(self._transport.handle_request(request)) as response:
                told = response.headers
                for part in _parts(response):
                    parts.append(part)
                    if time.monotonic() > until:
                        raise httpx.ReadTimeout("the answer does not end")
        except httpx.HTTPError as error:
            unread = self._redacted(self._silence(error))
            request_id = request_id_of(told, redact=self._redact)
            raise blaming(unread, request_id) from error
        return response, b"".join(parts)

    def _silence(self, error: httpx.HTTPError) -> SyncError:
        """Name the lack of an answer, or of its end."""
        if not isinstance(error, httpx.TransportError):  # a body that cannot be decoded
            return AnswerError(f"the answer cannot be read: {error}")
        place = self._base_url.copy_with(userinfo=b"")
        if isinstance(error, httpx.ConnectError):
            if isinstance(error.__context__, ssl.SSLError) or "SSL" in str(error):
                return SourceUnavailableError(
                    f"{place} has no valid certificate: {_flaw(error)}; correct base_url"
                    " or the server, or name the file of an authority of your own in"
                    " SSL_CERT_FILE"
                )
            why = _plain(error)
            return _UnreachableError(
                f"{place} cannot be reached: {why}; check base_url and the network"
            )
        return AnswerError(f"{place} did not answer: {_plain(error)}")

    def _redacted(self, error: SyncError) -> SyncError:
        error.args = (self._redact(str(error)),)
        return error

    def _redact(self, text: str) -> str:
        return self._key.redact(text) if self._key else text


class _UnreachableError(AnswerError):
    """No connection could be made: the whole source is out of reach."""


def _parts(response: httpx.Response) -> Iterable[bytes]:
    """The answer as it comes in; unzipped where it is zipped, which takes longer."""
    stream = response.stream
    if ENCODING in response.headers or not isinstance(stream, httpx.SyncByteStream):
        return response.iter_bytes()
    return stream


def _read(response: httpx.Response, body: bytes) -> httpx.Response:
    """The response with its body, as if it had come unzipped."""
    told = response.headers.copy()
    told.pop(ENCODING, None)
    return httpx.Response(response.status_code, headers=told, content=body)


def _flaw(error: BaseException) -> str:
    """What is wrong with a certificate, in OpenSSL's own words where it has some."""
    cause: BaseException | None = error
    while cause is not None:
        if said := getattr(cause, "verify_message", None):
            return str(said).rstrip(".")
        cause = cause.__cause__ or cause.__context__
    return str(error)


def _plain(error: httpx.TransportError) -> str:
    return str(error) or type(error).__name__
