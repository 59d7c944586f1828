"""One source of the settings: its client, its patience and the way to read it."""

import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple
from urllib.request import getproxies, proxy_bypass

import httpx
from sqlalchemy.engine import Engine

from etl.config import Settings, SourceConfig
from etl.domain.batch import SourceId
from etl.domain.errors import ConfigError, StoppedError
from etl.domain.reservation import spacing_seconds
from etl.domain.run import Instant
from etl.extract.budget import Budget
from etl.extract.client import Client, Pace
from etl.extract.openai import OpenAISource
from etl.extract.proof import Pool
from etl.extract.retry import RetryPolicy
from etl.extract.shared_budget import SharedBudget
from etl.extract.thread_list import ThreadList
from etl.extract.transports import ThreadTransports
from etl.extract.untrusted import UntrustedSource
from etl.load.budgets import timeline
from etl.sync import Reader, Source, ThreadLister, read_thread, read_untrusted_thread
from etl.wiring.kinds import headers_of, key_of, lists_threads, query_of
from etl.wiring.privacy import kept_private, privacy_of


class Opened(NamedTuple):
    """A source whose client is open: the way to read it, and its list of threads, if any.

    They share the client, so also its budget.
    """

    source: Source
    read: Reader
    lister: ThreadLister | None


@contextmanager
def http_source(
    settings: Settings,
    source: SourceConfig,
    *,
    now: Callable[[], Instant],
    stop: threading.Event,
    budget: Pace | None = None,
    pool: Pool | None = None,
) -> Iterator[Opened]:
    """One source, opened; its connections are closed in the end.

    Its budget is its own, and so is what its server has shown, unless it is given what
    others share.
    """
    privacy = privacy_of(settings, source)
    with _client(settings, source, now=now, stop=stop, budget=budget) as client:
        size = settings.config.sync.page_size
        trusted = OpenAISource(client, page_size=size, pool=pool)
        lister = ThreadList(client) if lists_threads(source) else None
        if source.trusted:
            yield Opened(kept_private(trusted, privacy), read_thread, lister)
        else:
            untrusted = kept_private(UntrustedSource(trusted), privacy)
            yield Opened(untrusted, read_untrusted_thread, lister)


@contextmanager
def _client(
    settings: Settings,
    source: SourceConfig,
    *,
    now: Callable[[], Instant],
    stop: threading.Event,
    budget: Pace | None,
) -> Iterator[Client]:
    """The client of one source, as patient as a sync is."""
    sleep = waiting(stop)
    trusted_by, proxy = trust(source.address), proxy_for(source.address)
    with ThreadTransports(
        lambda: httpx.HTTPTransport(verify=trusted_by, proxy=proxy)
    ) as transports:
        yield Client(
            transports,
            source.address,
            headers_of(source),
            api_key=key_of(settings, source),
            budget=budget or Budget(source.requests_per_minute, sleep=sleep),
            policy=RetryPolicy(),
            now=now,
            sleep=sleep,
            name=source.name,
            query=query_of(source),
        )


@contextmanager
def shared_budget(
    engine: Engine, source: SourceConfig, source_id: SourceId, *, stop: threading.Event
) -> Iterator[SharedBudget]:
    """The budget of a source that all processes of a sync share, in the database."""
    spacing = spacing_seconds(source.requests_per_minute)
    with timeline(engine, source_id, spacing_seconds=spacing) as shared:
        yield SharedBudget(shared, sleep=waiting(stop))


def waiting(stop: threading.Event) -> Callable[[float], None]:
    """A wait of so many seconds; raises StoppedError once somebody asks to stop."""

    def wait(seconds: float) -> None:
        if stop.wait(seconds):
            raise StoppedError("the sync was asked to stop")

    return wait


def trust(base_url: str) -> ssl.SSLContext:
    """Whose certificates are believed; raises ConfigError where they cannot be read.

    Nobody's, where the address is not one of HTTPS: to read them takes longer than a
    sync with nothing new.
    """
    if httpx.URL(base_url).scheme != "https":
        return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        return httpx.create_ssl_context()
    except OSError as error:
        raise ConfigError(
            "The authorities that SSL_CERT_FILE or SSL_CERT_DIR name cannot be read"
            f" ({error.strerror or error}); correct it, or unset it."
        ) from error


def proxy_for(base_url: str) -> str | None:
    """The proxy that the environment names for an address (HTTPS_PROXY, NO_PROXY …)."""
    url = httpx.URL(base_url)
    if proxy_bypass(url.host):
        return None
    proxies = getproxies()
    return proxies.get(url.scheme) or proxies.get("all")


def clock_from(started_at: Instant) -> Callable[[], Instant]:
    """A clock that shows the database's time, whatever this machine's says."""
    began = time.monotonic_ns()
    return lambda: Instant(started_at + (time.monotonic_ns() - began) // 1000)
