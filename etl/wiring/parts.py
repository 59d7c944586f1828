"""The database, built from the settings and closed again; the settings' file."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy.engine import Engine

from etl.config import EMBEDDED, Settings, SourceConfig
from etl.domain.batch import SourceId
from etl.domain.errors import ConfigError
from etl.load import threads
from etl.load.database import connected, opened, parse_url
from etl.load.embedded import EmbeddedPostgres
from etl.load.schema import require_current


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
            engine,
            name=source.name,
            kind=source.kind,
            base_url=source.base_url,
            price_provider=source.price_provider,
            models=source.models,
        )
        for source in sources
    ]


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
