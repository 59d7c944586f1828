"""All checks in their order, each told as soon as it is made."""

from collections.abc import Iterator

from etl.config import Settings, SourceConfig
from etl.domain.errors import ConfigError
from etl.operations.doctor.configuration import check_configuration
from etl.operations.doctor.database import Seen, check_database
from etl.operations.doctor.disk import check_disk
from etl.operations.doctor.finding import Finding, Place
from etl.operations.doctor.sources import check_source

NO_CONFIGURATION = "needs the configuration"


def without_settings(error: ConfigError) -> Iterator[Finding]:
    """What can be told where the configuration cannot be read."""
    yield Place("configuration").failed("file", str(error))
    yield Place("database").left_out("connection", NO_CONFIGURATION)
    yield Place("sources").left_out("connection", NO_CONFIGURATION)


def examine(settings: Settings, sources: tuple[SourceConfig, ...]) -> Iterator[Finding]:
    """Check configuration, database and these sources; never raises an Exception."""
    seen = Seen()
    yield from check_configuration(settings)
    yield from check_disk(settings)
    yield from check_database(settings, sources, seen)
    for source in sources:
        yield from check_source(settings, source, seen)
    if not sources:
        missing = f"{settings.path} names no [[sources]]"
        yield Place("configuration").failed("sources", missing, "add one to it")
