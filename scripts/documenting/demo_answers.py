"""A database that holds the demo world, and the door to it as a reader."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

import psycopg
from psycopg import sql
from sqlalchemy.engine import Connection, Engine

from etl.config import Config, DatabaseConfig, Settings, SourceConfig
from etl.demo.server import DemoServer
from etl.demo.world import World
from etl.domain.outcome import SyncReport
from etl.domain.run import ThreadId
from etl.load.database import connected
from etl.load.grants import grant
from etl.load.roles import RoleKind
from etl.load.threads import record_source
from etl.load.tracking import track
from etl.wiring import run_sync

HOUR = 3_600
SOURCE = "demo"
LARGE = (
    "run_history.runs",
    "run_analytics.daily_usage",
    "run_analytics.model_prices",
    "run_analytics.model_names",
)


class Unwatched:
    """A watcher that looks away."""

    def progressed(self, report: SyncReport) -> None:
        """Look away."""


def fill(engine: Engine) -> None:
    """Sync the fixed world twice, an hour apart, so that every run has ended.

    Then look at the rows as autovacuum would: queries of new tables are planned badly.
    """
    world = World()
    with DemoServer(world, now=world.now) as api:
        source_id = record_source(engine, name=SOURCE, kind="openai", base_url=api.base_url)
        track(engine, source_id, [ThreadId(each) for each in api.thread_ids])
        settings = _settings(engine, api.base_url)
        _sync(settings)
        api.advance(HOUR)
        _sync(settings)
    with engine.connect() as connection:
        connection.exec_driver_sql(f"ANALYZE {', '.join(LARGE)}")
        connection.commit()


def _settings(engine: Engine, base_url: str) -> Settings:
    url = engine.url.render_as_string(hide_password=False)
    source = SourceConfig(name=SOURCE, base_url=base_url, requests_per_minute=10_000_000)
    return Settings(
        path=Path("config.toml"),
        config=Config(database=DatabaseConfig(url=url), sources=(source,)),
        environment={},
    )


def _sync(settings: Settings) -> None:
    report = run_sync(
        settings,
        source=None,
        thread=None,
        watch=lambda: nullcontext(Unwatched()),
        stop=threading.Event(),
    )
    if report.errors:
        raise RuntimeError(f"The demo world could not be synced: {report.errors}")


@contextmanager
def reader(engine: Engine, name: str) -> Iterator[Connection]:
    """A connection with the rights of a reader of this name, made where it is missing."""
    with connected(engine) as connection:
        grant(connection, RoleKind.READER, name, password=None)
    with connected(engine) as connection:
        driver = connection.connection.driver_connection
        assert isinstance(driver, psycopg.Connection)  # noqa: S101  # for the types
        driver.execute(sql.SQL("SET SESSION ROLE {}").format(sql.Identifier(name)))
        driver.commit()
        try:
            yield connection
        finally:
            driver.rollback()  # of what was asked on the driver, SQLAlchemy knows nothing
            driver.execute("RESET ROLE")
            driver.commit()
