"""The parts of the machine, each built from the settings and closed again."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.request import getproxies, proxy_bypass

import httpx
from sqlalchemy.engine import Engine

from etl.config import EMBEDDED, Settings, SourceConfig
from etl.domain.batch import SourceId
from etl.domain.errors import ConfigError, StoppedError
from etl.domain.run import Instant
from etl.extract.budget import Budget
from etl.extract.client import ApiKey, Client
from etl.extract.openai import HEADERS, OpenAISource
from etl.extract.retry import RetryPolicy
from etl.extract.transports import ThreadTransports
from etl.extract.untrusted import UntrustedSource
from etl.load import threads
from etl.load.database import connected, opened, parse_url
from etl.load.embedded import EmbeddedPostgres
from etl.load.schema import require_current
from etl.sync import Reader, Source, read_thread, read_untrusted_thread


def embedded(settings: Settings) -> EmbeddedPostgres:
    """The embedded server; raises ConfigError where the settings name another one."""
    if settings.database_url != EMBEDDED:
        raise ConfigError(
            "The settings name a database of their own, so there is no embedded server;"
            ' set [database] url = "embedded" and unset RUNTIDE_DATABASE_URL to use it.'
        )
    return EmbeddedPostgres(settings.data_dir)


@contextmanager
def database_url(settings: Settings) -> Iterator[str]:
    """The database's URL; the embedded server is up while it is lent."""
    if settings.database_url == EMBEDDED:
        with embedded(settings).hold() as url:
            yield url
    else:
        parse_url(settings.database_url)
        yield settings.database_url


@contextmanager
def database(settings: Settings) -> Iterator[Engine]:
    """The database, whatever its schema."""
    with database_url(settings) as url, opened(url) as engine:
        yield engine


@contextmanager
def ready_database(settings: Settings) -> Iterator[Engine]:
    """The database; raises SchemaError unless its schema is this program's."""
    with database(settings) as engine:
        with connected(engine) as connection:
            require_current(connection)
        yield engine


def source_ids(engine: Engine, sources: tuple[SourceConfig, ...]) -> list[SourceId]:
    """The short keys of sources, in their order."""
    return [
        threads.record_source(
            engine, name=source.name, kind=source.kind, base_url=source.base_url
        )
        for source in sources
    ]


@contextmanager
def http_source(
    settings: Settings,
    source: SourceConfig,
    *,
    now: Callable[[], Instant],
    stop: threading.Event,
) -> Iterator[tuple[Source, Reader]]:
    """One source's client and the way to read it; its connections are closed in the end."""

    def sleep(seconds: float) -> None:
        if stop.wait(seconds):
            raise StoppedError("the sync was asked to stop")

    key = settings.api_key(source)
    trust, proxy = httpx.create_ssl_context(), proxy_for(source.base_url)
    with ThreadTransports(
        lambda: httpx.HTTPTransport(verify=trust, proxy=proxy)
    ) as transports:
        client = Client(
            transports,
            source.base_url,
            HEADERS,
            api_key=ApiKey(key) if key else None,
            budget=Budget(source.requests_per_minute, sleep=sleep),
            policy=RetryPolicy(),
            now=now,
            sleep=sleep,
        )
        trusted = OpenAISource(client, page_size=settings.config.sync.page_size)
        if source.trusted:
            yield trusted, read_thread
        else:
            yield UntrustedSource(trusted), read_untrusted_thread


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


def write_config(path: Path, text: str) -> bool:
    """Write a configuration unless there is one; answer whether it was written."""
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        return False
    except OSError as error:
        raise ConfigError(f"{path} cannot be written: {error.strerror}.") from error
    return True
