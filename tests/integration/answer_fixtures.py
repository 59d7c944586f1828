"""Fixtures for tests of answers: the fixed demo world in a database, and its reader."""

from collections.abc import Iterator
from contextlib import contextmanager
from uuid import uuid4

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import URL, Connection, Engine

from etl.load.database import opened
from scripts.documenting.demo_answers import fill, reader
from tests.conftest import _database


@pytest.fixture(scope="session")
def reader_name(admin: Engine) -> Iterator[str]:
    """A role that nobody else uses; it goes after the database it reads."""
    name = f"reader_{uuid4().hex}"
    yield name
    with admin.connect() as connection:
        connection.execute(sa.text(f'DROP ROLE IF EXISTS "{name}"'))


@pytest.fixture(scope="session")
def demo_engine(
    admin: Engine,
    server_url: URL,
    template: str,
    reader_name: str,
) -> Iterator[Engine]:
    """The demo world, synced; who changes it rolls back. It goes before its reader."""
    with (
        contextmanager(_database)(admin, server_url, template) as url,
        opened(url) as engine,
    ):
        fill(engine)
        yield engine


@pytest.fixture
def demo_reader(reader_name: str, demo_engine: Engine) -> Iterator[Connection]:
    """A connection to the demo world that may do what `runtide db grant reader` gives."""
    with reader(demo_engine, reader_name) as connection:
        yield connection
