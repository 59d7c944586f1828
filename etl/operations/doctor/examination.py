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
    yield from _to_the_end("configuration", check_configuration(settings))
    yield from _to_the_end("data directory", check_disk(settings))
    yield from _to_the_end("database", check_database(settings, sources, seen))
    for source in sources:
        checked = check_source(settings, source, seen)
        yield from _to_the_end(f"source {source.name}", checked)
    if not sources:
        missing = f"{settings.path} names no [[sources]]"
        yield Place("configuration").failed("sources", missing, "add one to it")


def _to_the_end(place: str, findings: Iterator[Finding]) -> Iterator[Finding]:
    """Findings of one place; what goes wrong between checks is one of them."""
    try:
        yield from findings
    except Exception as error:  # the other places are looked at all the same
        yield Place(place).of_error("examination", error)
