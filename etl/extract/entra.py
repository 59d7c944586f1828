"""An access token of Microsoft Entra in an API key's place, renewed before it ends."""

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from etl.domain.errors import SourceUnavailableError
from etl.extract.failures import Refusal

REMEMBERED = 8
"""Former tokens that are still taken out of what a server says."""

PAUSE_SECONDS = 30.0
"""After a failure Entra is left alone for so long."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessToken:
    """A token with its instants, in Unix seconds."""

    secret: str = field(repr=False)
    renew_at: float
    ends_at: float

    @property
    def header(self) -> str:
        """The value of the Authorization header."""
        return f"Bearer {self.secret}"


Ask = Callable[[], AccessToken]
"""Gets a new token, or raises SourceUnavailableError."""


class EntraKey:
    """One token that the workers of a source share; one of them renews it.

    While it is good the others need not wait for that, and a failure to renew it says
    nothing. What the server refuses before its time is replaced once for each request.
    """

    def __init__(
        self, ask: Ask, refusal: Refusal, *, clock: Callable[[], float] = time.time
    ) -> None:
        self.refusal = refusal
        self._ask = ask
        self._clock = clock
        self._lock = threading.Lock()
        self._token: AccessToken | None = None
        self._secrets: deque[str] = deque(maxlen=REMEMBERED)
        self._failure: SourceUnavailableError | None = None
        self._failed_at = float("-inf")

    def __repr__(self) -> str:
        return "EntraKey(…)"

    def header(self) -> str:
        """The value of the Authorization header; raises SourceUnavailableError."""
        token, now = self._token, self._clock()
        if token is None or now >= token.ends_at:
            return self._other_than(token).header
        if now >= token.renew_at and self._lock.acquire(blocking=False):
            try:
                return self._renewed_early(token).header
            finally:
                self._lock.release()
        return token.header

    def renew(self, refused: str) -> bool:
        """Get a token that the server has not refused; False where there is no other."""
        token = self._token
        if token is None or token.header == refused:
            token = self._other_than(token)
        return token.header != refused

    def redact(self, text: str) -> str:
        """Take all tokens out of what a server may have said back."""
        for secret in tuple(self._secrets):
            text = text.replace(secret, "[access token]")
        return text

    @property
    def has_token(self) -> bool:
        """Whether Entra ever gave one."""
        return self._token is not None

    def ends_at(self) -> float:
        """When the token ends, in Unix seconds; raises SourceUnavailableError."""
        self.header()
        return self._token.ends_at if self._token else self._clock()

    def _other_than(self, token: AccessToken | None) -> AccessToken:
        """Another token: a new one, unless some other worker has got it meanwhile."""
        with self._lock:
            if self._token is not token and self._token is not None:
                return self._token
            return self._new()

    def _renewed_early(self, token: AccessToken) -> AccessToken:
        """A new token, or the one that is still good where there is none to be had."""
        if self._token is not token and self._token is not None:
            return self._token
        try:
            return self._new()
        except SourceUnavailableError:
            return token

    def _new(self) -> AccessToken:
        if self._failure and self._clock() - self._failed_at < PAUSE_SECONDS:
            raise SourceUnavailableError(str(self._failure))
        try:
            token = self._ask()
        except SourceUnavailableError as error:
            self._failure, self._failed_at = error, self._clock()
            raise
        self._token, self._failure = token, None
        self._secrets.append(token.secret)
        return token
