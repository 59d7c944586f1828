"""Fixtures: a source with one tracked thread, and a store for it."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import URL, Engine

from etl.domain.batch import SourceId
from etl.load.database import opened
from etl.load.store import Store
from etl.load.threads import record_source
from etl.load.tracking import track
from tests.conftest import _database
from tests.integration.answer_fixtures import demo_engine, demo_reader, reader_name
from tests.integration.builders import THREAD, a_store
from tests.integration.pricing import history, priced
from tests.integration.role_fixtures import as_role, name, owned, role_api, tcp_server

__all__ = [
    "as_role",
    "demo_engine",
    "demo_reader",
    "history",
    "name",
    "owned",
    "priced",
    "reader_name",
    "role_api",
    "tcp_server",
]

TABLES = (
    "run_history.runs",
    "run_history.instructions",
    "run_history.tools",
    "run_sync.threads",
    "run_sync.rejects",
    "run_sync.drift",
    "run_sync.erasures",
    "run_sync.leases",
    "run_sync.plans",
    "run_sync.budgets",
    "run_sync.syncs",
    "run_analytics.daily_usage",
    "run_analytics.deployments",
    "run_analytics.month_changes",
    "run_sync.untracked",
    "run_sync.discoveries",
    "run_sync.imports",
    "run_sync.sources",
)
MONTHS = """
    SELECT inhrelid::regclass::text FROM pg_inherits
    WHERE inhparent = 'run_history.runs'::regclass
        AND inhrelid <> 'run_history.runs_default'::regclass
"""


@pytest.fixture(scope="session")
def shared_engine(admin: Engine, server_url: URL, template: str) -> Iterator[Engine]:
    """An engine for the one database that tests share which only write rows."""
    with (
        contextmanager(_database)(admin, server_url, template) as url,
        opened(url) as engine,
    ):
        yield engine


@pytest.fixture
def swept_engine(shared_engine: Engine) -> Iterator[Engine]:
    """The shared database, without rows: a hundred times quicker than a new one."""
    yield shared_engine
    with shared_engine.begin() as connection:
        connection.execute(sa.text("SET LOCAL lock_timeout = '10s'"))
        for month in connection.scalars(sa.text(MONTHS)).all():
            connection.execute(sa.text(f"DROP TABLE {month}"))
        for table in TABLES:
            connection.execute(sa.text(f"DELETE FROM {table}"))


@pytest.fixture
def source_id(engine: Engine) -> SourceId:
    """A source that tracks `THREAD`."""
    source_id = record_source(
        engine, name="demo", kind="openai", base_url="http://localhost/v1"
    )
    track(engine, source_id, [THREAD])
    return source_id


@pytest.fixture
def store(engine: Engine) -> Iterator[Store]:
    """A store that nobody else uses."""
    with a_store(engine) as store:
        yield store
