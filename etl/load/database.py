"""The door to Postgres: one engine, and errors that a person can act on."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import sqlalchemy as sa
from sqlalchemy.dialects.postgresql.psycopg import PGDialect_psycopg
from sqlalchemy.engine import URL, Connection, Engine, make_url

from etl.domain.errors import ConfigError, DatabaseError
from etl.load.trust import refusal, tls_settings

OLDEST_SERVER = 15
CONNECT_SECONDS = 10

KEPT_ALIVE = {
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 60_000,  # milliseconds
}
"""A server that vanished without a word is given up after a minute, not after hours."""

LET_GO = "-c tcp_keepalives_idle=30 -c tcp_keepalives_interval=10 -c tcp_keepalives_count=3"
"""The server does the same for us: the locks of a machine that vanished are free then."""

SCHEMES = {"postgresql", "postgres", "postgresql+psycopg"}
SECRETS = {"password", "sslpassword"}
"""What libpq takes from a URL's query and nobody else should see."""


def parse_url(text: str) -> URL:
    """Read a database URL; raises ConfigError where it is not one for Postgres."""
    try:
        url = make_url(text)
    except (sa.exc.ArgumentError, ValueError) as error:
        raise ConfigError(
            "The database URL cannot be read; write it as postgresql://user@host/name."
        ) from error
    if url.drivername not in SCHEMES:
        raise ConfigError(
            f"The database URL begins with {url.drivername}://, but runtide needs"
            " Postgres; write it as postgresql://user@host/name."
        )
    return url.set(drivername="postgresql+psycopg")


def holds_secret(text: str) -> bool:
    """Whether a database URL has a password in it."""
    url = parse_url(text)
    return bool(url.password) or bool(SECRETS & url.query.keys())


def for_psql(text: str) -> tuple[str, dict[str, str]]:
    """The URL with what libpq has to be told, and the variables of psql's environment.

    The password is among these: a command line is read by every user of the machine.
    """
    url = parse_url(text)
    variables = {"PGPASSWORD": str(url.password)} if url.password else {}
    told = _listed(url)._replace(password=None).update_query_dict(tls_settings(url))
    address = told.set(drivername="postgresql")
    spaced = address.render_as_string(hide_password=False)
    return spaced.replace(" ", "%20"), variables  # which libpq insists on


def for_libpq(url: URL) -> str:
    """The address for another libpq than the driver's: as a worker's connection is made."""
    options = f"-c timezone=UTC {LET_GO}"
    facts = {
        "connect_timeout": CONNECT_SECONDS,
        "application_name": "runtide",
        **KEPT_ALIVE,
    }
    told = {name: str(value) for name, value in facts.items()}
    if "options" in url.query:
        options = f"{url.query['options']} {options}"
    whole = _listed(url).update_query_dict(told | tls_settings(url) | {"options": options})
    text = whole.set(drivername="postgresql").render_as_string(hide_password=False)
    before, _, query = text.partition("?")
    return f"{before.replace(' ', '%20')}?{query.replace('+', '%20')}"  # as libpq insists


def _listed(url: URL) -> URL:
    """The URL with its hosts and ports as libpq lists them, not as SQLAlchemy does."""
    if "host" not in url.query:
        return url
    driver: Any = PGDialect_psycopg  # whose own part has no types
    _, told = driver().create_connect_args(url)
    places = {name: str(told[name]) for name in ("host", "port") if told.get(name)}
    return url.update_query_dict(places)


@contextmanager
def opened(url: str) -> Iterator[Engine]:
    """Open an engine and close what it opened; a server elsewhere is verified."""
    parsed = parse_url(url)
    engine = sa.create_engine(
        parsed,
        pool_size=2,
        connect_args={
            **tls_settings(parsed),
            "connect_timeout": CONNECT_SECONDS,
            "application_name": "runtide",
            **KEPT_ALIVE,
            "options": f"-c timezone=UTC {LET_GO}",
        },
    )
    try:
        yield engine
    finally:
        engine.dispose()


@contextmanager
def connected(engine: Engine) -> Iterator[Connection]:
    """Lend one connection; every database error inside becomes a DatabaseError."""
    with translated(engine.url), engine.connect() as connection:
        yield connection


@contextmanager
def committing_at_once(engine: Engine) -> Iterator[Connection]:
    """Lend a connection of which each statement is a transaction by itself.

    So whoever is stopped after one holds no row that others wait for.
    """
    with connected(engine.execution_options(isolation_level="AUTOCOMMIT")) as connection:
        yield connection


@contextmanager
def translated(url: URL) -> Iterator[None]:
    """Turn the driver's errors into sentences that name the server, never a password."""
    try:
        yield
    except sa.exc.DBAPIError as error:
        raise _translate(error.orig, url) from error
    except psycopg.Error as error:
        raise _translate(error, url) from error


def shown(url: URL) -> str:
    """The URL as a message may show it: without its passwords."""
    secrets = dict.fromkeys(SECRETS & url.query.keys(), "***")
    plain = url.update_query_dict(secrets).render_as_string(hide_password=True)
    return plain.replace("+psycopg", "").replace("%2A%2A%2A", "***")


def _translate(error: Any, url: URL) -> DatabaseError:
    place = shown(url)
    said = " ".join(str(error).split("\n")[0].split()) or type(error).__name__
    if distrust := refusal(said, place):
        return DatabaseError(distrust)
    if isinstance(error, psycopg.errors.InsufficientPrivilege):
        return DatabaseError(
            f"The database user may not do this at {place}: {said}. Grant the right or"
            " connect as the owner of the runtide schemas."
        )
    if isinstance(error, psycopg.OperationalError) and error.sqlstate is None:
        return DatabaseError(
            f"The database at {place} cannot be reached: {said}. Check that it runs and"
            " that [database] url or RUNTIDE_DATABASE_URL is right."
        )
    return DatabaseError(f"The database at {place} refused: {said}.")
