"""One real request to a source, and everything that its answer tells."""

import json
import ssl
import time
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any

import httpx

from etl.config import SourceConfig
from etl.domain.errors import SyncError
from etl.domain.run import Instant, ThreadId
from etl.extract.budget import Budget
from etl.extract.client import Client
from etl.extract.keys import Key
from etl.extract.openai import OpenAISource
from etl.extract.paging import MOST_PAGES
from etl.extract.retry import RetryPolicy
from etl.extract.thread_list import ThreadList
from etl.wiring.kinds import headers_of, query_of
from etl.wiring.sources import proxy_for, trust

SECONDS = 5.0
"""For a connection, and for each sign of life after that."""

LONGEST_SECONDS = 10.0
OWN_PACE = 600
NOBODY = ThreadId("thread_000000000000000000000000")
"""No thread has this id: a 404 about it shows that the key was taken."""


@dataclass(slots=True)
class Contact:
    """How a request went; `status` is None where no answer came.

    It lists a thread's runs, or a project's threads.
    """

    thread_id: ThreadId
    is_tracked: bool
    lists_runs: bool = True
    asked_at: float = 0.0
    status: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    certificate: Mapping[str, Any] | None = None
    error: SyncError | None = None

    @property
    def said(self) -> str:
        """What was wrong, in words."""
        return "" if self.error is None else str(self.error)

    @property
    def is_enveloped(self) -> bool:
        """Whether an error came as the API tells them."""
        try:
            return isinstance(json.loads(self.body)["error"]["message"], str)
        except (ValueError, TypeError, LookupError, RecursionError):
            return False

    @property
    def is_distrusted(self) -> bool:
        """Whether it ended at the server's certificate."""
        cause: BaseException | None = self.error
        while cause is not None:
            if isinstance(cause, ssl.SSLError):
                return True
            cause = cause.__cause__ or cause.__context__
        return False


def contact(source: SourceConfig, key: Key | None, tracked: ThreadId | None) -> Contact:
    """List one run of a tracked thread, or ask for a thread that nobody has."""
    lists_runs = source.kind != "foundry" or tracked is not None
    made = Contact(tracked or NOBODY, is_tracked=tracked is not None, lists_runs=lists_runs)
    proxy = proxy_for(source.address)
    inner = httpx.HTTPTransport(verify=trust(source.address), proxy=proxy)
    with _Witness(inner, made) as witness:
        client = Client(
            witness,
            source.address,
            headers_of(source),
            api_key=key,
            budget=Budget(OWN_PACE),
            policy=RetryPolicy(attempts=1, first_attempts=1),
            now=lambda: Instant(time.time_ns() // 1000),
            sleep=time.sleep,
            query=query_of(source),
        )
        try:
            next(_listing(client, made))
        except SyncError as error:
            made.error = error
    return made


def _listing(client: Client, made: Contact) -> Iterator[object]:
    if not made.lists_runs:
        return ThreadList(client).thread_pages()
    asked = OpenAISource(client, page_size=1)
    return asked.walk(made.thread_id, None, doubted_from=MOST_PAGES).pages()


class _Witness(httpx.BaseTransport):
    """Notes what passes by on the way to the client, who sees none of it otherwise."""

    def __init__(self, inner: httpx.BaseTransport, contact: Contact) -> None:
        self._inner = inner
        self._contact = contact

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send the request, with less patience than a sync has."""
        request.extensions["timeout"] = httpx.Timeout(SECONDS).as_dict()
        began = time.time()
        with closing(self._inner.handle_request(request)) as response:
            ended = time.time()
            self._contact.asked_at = (began + ended) / 2
            self._contact.certificate = _certificate(response)
            body = _read(response)
        headers = response.headers.copy()
        headers.pop("content-encoding", None)
        self._contact.status, self._contact.headers = response.status_code, headers
        self._contact.body = body
        return httpx.Response(response.status_code, headers=headers, content=body)

    def close(self) -> None:
        """Close the connection."""
        self._inner.close()


def _read(response: httpx.Response) -> bytes:
    until = time.monotonic() + LONGEST_SECONDS
    parts = []
    for part in response.iter_bytes():
        parts.append(part)
        if time.monotonic() > until:
            raise httpx.ReadTimeout("the answer does not end")
    return b"".join(parts)


def _certificate(response: httpx.Response) -> Mapping[str, Any] | None:
    """What the server showed, also through a proxy; None without TLS."""
    stream = response.extensions.get("network_stream")
    connection = stream.get_extra_info("ssl_object") if stream else None
    return connection.getpeercert() if connection else None
