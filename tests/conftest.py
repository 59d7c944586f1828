"""Fixtures: a real Postgres for every test, a database of its own for each."""

import os
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import URL, Engine, make_url

from etl.load.database import connected, opened, parse_url
from etl.load.embedded import EmbeddedPostgres
from etl.load.schema import upgrade

# Tests that run in the background ignore Ctrl-C, and so would every command under test.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def server_url() -> Iterator[URL]:
    """A server that lives as long as the tests: RUNTIDE_TEST_DATABASE_URL or our own."""
    given = os.environ.get("RUNTIDE_TEST_DATABASE_URL")
    if given:
        yield parse_url(given)
        return
    # Not below pytest's own directory: as root, every new test run closes that to
    # all other users, the server's among them.
    with (
        tempfile.TemporaryDirectory(prefix="runtide-test-") as folder,
        EmbeddedPostgres(Path(folder) / "postgres").hold() as url,
    ):
        _spare_the_disk(make_url(url))
        yield make_url(url)


def _spare_the_disk(url: URL) -> None:
    """Let a server that nobody needs after a crash not wait for the disk."""
    engine = sa.create_engine(
        url.set(drivername="postgresql+psycopg"), isolation_level="AUTOCOMMIT"
    )
    with engine.connect() as connection:
        connection.execute(sa.text("ALTER SYSTEM SET fsync = off"))
        connection.execute(sa.text("SELECT pg_reload_conf()"))
    engine.dispose()


@pytest.fixture(scope="session")
def admin(server_url: URL) -> Iterator[Engine]:
    """An engine for creating and dropping databases."""
    engine = sa.create_engine(
        server_url.set(drivername="postgresql+psycopg"),
        isolation_level="AUTOCOMMIT",
        poolclass=sa.pool.NullPool,
    )
    yield engine
    engine.dispose()


@pytest.fixture(scope="session")
def template(admin: Engine, server_url: URL) -> Iterator[str]:
    """A database with the newest schema, to be copied by every test."""
    name = f"runtide_template_{uuid4().hex}"
    with admin.connect() as connection:
        connection.execute(sa.text(f'CREATE DATABASE "{name}"'))
    with (
        opened(as_text(server_url.set(database=name))) as engine,
        connected(engine) as connection,
    ):
        upgrade(connection)
    yield name
    drop(admin, name)


@pytest.fixture
def empty_database_url(admin: Engine, server_url: URL) -> Iterator[str]:
    """The URL of a database without any schema of ours."""
    yield from _database(admin, server_url, "template0")


@pytest.fixture
def database_url(admin: Engine, server_url: URL, template: str) -> Iterator[str]:
    """The URL of a database with the newest schema and no rows."""
    yield from _database(admin, server_url, template)


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    """An engine for a database with the newest schema and no rows."""
    with opened(database_url) as engine:
        yield engine


@pytest.fixture
def own_postgres() -> Iterator[tuple[EmbeddedPostgres, str]]:
    """A Postgres of our own, with the newest schema, that a test may take away."""
    with tempfile.TemporaryDirectory(prefix="runtide-test-") as folder:
        server = EmbeddedPostgres(Path(folder) / "postgres")
        server.start()
        with (
            server.hold() as url,
            opened(url) as engine,
            connected(engine) as connection,
        ):
            upgrade(connection)
        yield server, url
        server.stop_now()


@pytest.fixture
def data() -> Path:
    """Recorded runs and samples; data/samples/SOURCES.md says where they are from."""
    return Path(__file__).parent / "data"


def _database(admin: Engine, server_url: URL, template: str) -> Iterator[str]:
    name = f"runtide_test_{uuid4().hex}"
    with admin.connect() as connection:
        statement = f'CREATE DATABASE "{name}" TEMPLATE "{template}" STRATEGY FILE_COPY'
        connection.execute(sa.text(statement))
    yield as_text(server_url.set(database=name))
    drop(admin, name)


def drop(admin: Engine, name: str) -> None:
    """Drop a database, whoever is still connected to it."""
    with admin.connect() as connection:
        connection.execute(sa.text(f'DROP DATABASE "{name}" WITH (FORCE)'))


def as_text(url: URL) -> str:
    """The URL with its password, for a connection."""
    return url.render_as_string(hide_password=False)
