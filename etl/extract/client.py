"""One source's HTTP: paced, patient, and silent about its key."""

import ssl
import threading
import time
from base64 import b64encode
from collections.abc import Callable, Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from urllib.parse import unquote_to_bytes, urlencode

import httpx

from etl.domain.errors import SourceUnavailableError, SyncError
from etl.domain.run import Instant
from etl.extract.budget import Budget
from etl.extract.failures import failure_of
from etl.extract.retry import AnswerError, RateLimitedError, RetryPolicy

TIMEOUT = httpx.Timeout(60.0, connect=10.0)

OURS = {"Accept-Encoding": "gzip, deflate", "User-Agent": "runtide"}
"""Headers of every request to any kind of source."""

LONGEST_ANSWER_SECONDS = 600.0
"""A server that keeps dripping, and so never times out, is not listened to for longer."""

ENCODING = "content-encoding"


class ApiKey:
    """A secret that does not show itself in any text."""

    __slots__ = ("_secret",)

    def __init__(self, secret: str) -> None:
        self._secret = secret

    def __repr__(self) -> str:
        return "ApiKey(…)"

    def header(self) -> str:
        """The value of the Authorization header."""
        return f"Bearer {self._secret}"

    def redact(self, text: str) -> str:
        """Take the key out of what a server may have said back."""
        return text.replace(self._secret, "[API key]")


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
    """The body of a 200, and when its request was sent."""

    body: bytes
    sent_at: Instant


class Client:
    """GET requests against one source, shared by its workers.

    Speaks through a transport of httpx, without its client: what that adds (cookies,
    redirects, merged addresses) is not wanted here, and takes as long as a page.
    """

    def __init__(
        self,
        transport: httpx.BaseTransport,
        base_url: str,
        headers: Mapping[str, str],
        *,
        api_key: ApiKey | None,
        budget: Budget,
        policy: RetryPolicy,
        now: Callable[[], Instant],
        sleep: Callable[[float], None],
    ) -> None:
        self.traffic = Traffic()
        self._transport = transport
        self._base_url = httpx.URL(base_url)
        self._address = base_url.rstrip("/")
        self._headers = httpx.Headers(OURS | dict(headers) | self._authorization(api_key))
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
        loop = self._policy.retrying(answered=self._answered, sleep=self._sleep)
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
        try:
            response, body = self._fetch(path, query)
        except httpx.TransportError as error:
            raise self._redacted(self._silence(error)) from error
        except httpx.HTTPError as error:  # a body that cannot be decoded
            unread = AnswerError(f"the answer cannot be read: {error}")
            raise self._redacted(unread) from error
        self._answered = True
        if response.status_code != httpx.codes.OK:
            failure = failure_of(_read(response, body), redact=self._redact)
            if isinstance(failure, RateLimitedError):
                self._budget.slow_down(self._policy.honoured(failure.wait))
            raise self._redacted(failure)
        return Answer(body, sent_at)

    def _authorization(self, api_key: ApiKey | None) -> dict[str, str]:
        """The key, or the user and password that the address holds."""
        if api_key is not None:
            return {"Authorization": api_key.header()}
        if self._base_url.userinfo:
            told = b64encode(unquote_to_bytes(self._base_url.userinfo)).decode()
            return {"Authorization": f"Basic {told}"}
        return {}

    def _fetch(
        self, path: str, query: Mapping[str, str | int]
    ) -> tuple[httpx.Response, bytes]:
        """One request, and the body of its answer, unzipped; raises httpx.HTTPError."""
        address = f"{self._address}/{path}"
        request = httpx.Request(
            "GET",
            f"{address}?{urlencode(query)}" if query else address,
            headers=self._headers,
            extensions={"timeout": TIMEOUT.as_dict()},
        )
        until = time.monotonic() + LONGEST_ANSWER_SECONDS
        parts = []
        with closing(self._transport.handle_request(request)) as response:
            for part in _parts(response):
                parts.append(part)
                if time.monotonic() > until:
                    raise httpx.ReadTimeout("the answer does not end")
        return response, b"".join(parts)

    def _silence(self, error: httpx.TransportError) -> SyncError:
        """Name the lack of an answer."""
        place = self._base_url.copy_with(userinfo=b"")
        if isinstance(error, httpx.ConnectError):
            if isinstance(error.__context__, ssl.SSLError) or "SSL" in str(error):
                return SourceUnavailableError(f"{place} has no valid certificate: {error}")
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


def _plain(error: httpx.TransportError) -> str:
    return str(error) or type(error).__name__
