"""A small history whose costs are known, and prices changed in it."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy.engine import URL, Connection, Engine

from etl.domain.batch import SourceId
from etl.domain.run import SECOND, Instant, ThreadId
from etl.load.database import connected, opened
from etl.load.threads import record_source
from etl.load.tracking import track
from tests.conftest import _database
from tests.integration.builders import a_batch, a_payload, a_store, an_increment, execute

USAGE = {
    "prompt_tokens": 1_000_000,
    "prompt_token_details": {"cached_tokens": 400_000},
    "completion_tokens": 100_000,
    "total_tokens": 1_100_000,
}
SEEDED = Decimal("3.00")
"""What such a run of gpt-4o costs: 0.6 at 2.5, 0.4 at 1.25, 0.1 at 10."""

MODELS = {
    "gpt-4o": "2026-01-15T12:00:00Z",
    "gpt-4o-2024-08-06": "2026-02-01T00:00:00Z",
    "gpt-4o-2031-01-01": "2026-02-01T00:00:00Z",
    "gpt-35-turbo": "2026-02-01T00:00:00Z",
    "ft:gpt-4o-mini-2024-07-18:org::id": "2026-02-01T00:00:00Z",
    "support-bot": "2026-02-01T00:00:00Z",
    "house-model": "2026-02-01T00:00:00Z",
}
"""The models of source demo, one run each; of gpt-4o there are some more."""

BORDERS = ("2026-03-31T23:59:59.999999Z", "2026-04-01T00:00:00Z")
"""When two more runs of gpt-4o were created."""

CONFIGURED = 'models = { "support-bot" = "gpt-4o-2024-08-06" }'
"""What the configuration of source demo says of names."""


def instant(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)


def make_history(engine: Engine) -> None:
    """Runs of two sources: demo, and another one with prices of its own provider."""
    with a_store(engine, now=_at("2026-06-01T00:00:00Z")) as store:
        for name, provider, runs in (
            ("demo", "openai", _runs()),
            ("other", "mine", [_run("run_mine", "gpt-4o", "2026-01-15T12:00:00Z")]),
        ):
            source_id = note_source(engine, name, provider)
            thread = ThreadId(f"thread_{name}")
            track(engine, source_id, [thread])
            read_at = _at("2026-05-01T00:00:00Z")
            store.commit(
                a_batch(an_increment(source_id, *runs, thread_id=thread, read_at=read_at))
            )


def note_source(engine: Engine, name: str, provider: str) -> SourceId:
    """Note a source with the names that CONFIGURED maps, if it is demo."""
    return record_source(
        engine,
        name=name,
        kind="openai",
        base_url="http://demo",
        price_provider=provider,
        models={"support-bot": "gpt-4o-2024-08-06"} if name == "demo" else {},
    )


def _runs() -> list[dict[str, Any]]:
    return [
        *(_run(f"run_{name}", name, at) for name, at in MODELS.items()),
        *(_run(f"run_{at}", "gpt-4o", at) for at in BORDERS),
        _run("run_silent", "gpt-4o", "2026-01-16T00:00:00Z") | {"usage": None},
    ]


def _run(run_id: str, model: str, created_at: str) -> dict[str, Any]:
    return a_payload(
        run_id, model=model, created_at=_at(created_at) / SECOND, usage=dict(USAGE)
    )


def _at(text: str) -> Instant:
    since = instant(text) - datetime(1970, 1, 1, tzinfo=UTC)
    return Instant((since.days * 86_400 + since.seconds) * SECOND + since.microseconds)


@pytest.fixture(scope="session")
def history(admin: Engine, server_url: URL, template: str) -> Iterator[Engine]:
    """One database for all tests of prices; its runs are only read."""
    with (
        contextmanager(_database)(admin, server_url, template) as url,
        opened(url) as engine,
    ):
        make_history(engine)
        yield engine


@pytest.fixture
def priced(history: Engine) -> Iterator[Engine]:
    """The history, with the seeded prices only and the names as they are configured."""
    yield history
    forget_own_prices(history)
    note_source(history, "demo", "openai")


def forget_own_prices(engine: Engine) -> None:
    execute(engine, "DELETE FROM run_analytics.model_prices WHERE origin = 'user'")


@contextmanager
def undone(engine: Engine) -> Iterator[Connection]:
    """A transaction that leaves nothing behind."""
    with connected(engine) as connection, connection.begin() as transaction:
        yield connection
        transaction.rollback()
