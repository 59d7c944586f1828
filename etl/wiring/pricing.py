"""The database as prices are looked up in it: with the names of the configuration."""

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy.engine import Engine

from etl.config import Settings
from etl.load.threads import known_sources
from etl.wiring.parts import ready_database, source_ids


@contextmanager
def priced_database(settings: Settings) -> Iterator[Engine]:
    """The database, where names that were mapped since the last sync count already.

    Sources that were never used stay unknown.
    """
    with ready_database(settings) as engine:
        known = known_sources(engine)
        used = [each for each in settings.config.sources if each.name in known]
        source_ids(engine, tuple(used))
        yield engine
