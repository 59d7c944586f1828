"""Fixtures: a source with one tracked thread, and a store for it."""

from collections.abc import Iterator

import pytest
from sqlalchemy.engine import Engine

from etl.domain.batch import SourceId
from etl.load.store import Store
from etl.load.threads import record_source, track
from tests.integration.builders import THREAD, a_store


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
