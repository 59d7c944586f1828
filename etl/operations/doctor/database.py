"""The database: reached, new enough, encrypted, migrated, and ours to write."""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from etl import wiring
from etl.config import EMBEDDED, Settings, SourceConfig
from etl.domain.run import SECOND
from etl.load import inspection
from etl.load.database import connected, shown, translated
from etl.load.inspection import Tracked
from etl.load.schema import current_revision, require_current, require_server
from etl.load.trust import VERIFYING, is_elsewhere, sslmode
from etl.operations.doctor.finding import Finding, Place

PLACE = Place("database")
CHECKS = ("version", "TLS", "schema", "rights")
UNREACHED = "needs the database"
PATIENCE = "10s"
"""For one statement: a migration may hold what it looks at."""


@dataclass(slots=True)
class Seen:
    """What the checks of sources take from the database, as far as it is known."""

    seconds_ahead: float | None = None
    tracked: dict[str, Tracked] = field(default_factory=dict)


def check_database(
    settings: Settings, sources: tuple[SourceConfig, ...], seen: Seen
) -> Iterator[Finding]:
    """Check it from the outside in; the embedded server is up meanwhile."""
    if settings.database_url == EMBEDDED and not _is_made(settings):
        told = f"there is no embedded database in {settings.data_dir} yet"
        yield PLACE.failed("connection", told, "run `runtide init`")
        yield from _left_out(UNREACHED)
        return
    with ExitStack() as parts:
        try:
            engine = parts.enter_context(wiring.database(settings))
            connection = parts.enter_context(connected(engine))
            _hurry(connection)
        except Exception as error:  # no check may raise
            yield PLACE.of_error("connection", error)
            yield from _left_out(UNREACHED)
            return
        place = "embedded" if settings.database_url == EMBEDDED else shown(engine.url)
        yield PLACE.ok("connection", f"{place} answers")
        yield from _examined(connection, sources, seen)


def _is_made(settings: Settings) -> bool:
    return (settings.data_dir / "cluster").is_dir()


def _hurry(connection: Connection) -> None:
    """Let no statement of this connection wait for long."""
    limit = sa.func.set_config("statement_timeout", PATIENCE, sa.false())
    connection.execute(sa.select(limit))
    connection.commit()


def _left_out(why: str) -> Iterator[Finding]:
    for check in CHECKS:
        yield PLACE.left_out(check, why)


def _examined(
    connection: Connection, sources: tuple[SourceConfig, ...], seen: Seen
) -> Iterator[Finding]:
    def looked(check: str, look: Callable[[Connection], Finding]) -> Finding:
        def translating() -> Finding:
            with translated(connection.engine.url):
                return look(connection)

        try:
            return PLACE.guarded(check, translating)
        finally:
            with suppress(sa.exc.SQLAlchemyError):  # the next check tells of it
                connection.rollback()  # a refused statement must not spoil the next one

    yield looked("version", _version)
    yield looked("TLS", _tls)
    schema = looked("schema", _schema)
    yield schema
    is_current = schema.told.endswith(AS_NEEDED)
    if is_current or schema.told == HIDDEN:
        yield looked("rights", _rights)
    else:
        yield PLACE.left_out("rights", "needs the schema of this program")
    yield from _facts(connection, sources, seen, is_current=is_current)


def _version(connection: Connection) -> Finding:
    require_server(connection)
    return PLACE.ok("version", f"PostgreSQL {inspection.version(connection)}")


def _tls(connection: Connection) -> Finding:
    url = connection.engine.url
    if not is_elsewhere(url):
        return PLACE.ok("TLS", "not needed, the server is on this machine")
    mode = sslmode(url)
    if inspection.is_encrypted(connection) and mode in VERIFYING:
        return PLACE.ok("TLS", f"encrypted, and the server is verified ({mode})")
    told = "encrypted, but whoever answers is trusted"
    if not inspection.is_encrypted(connection):
        told = "not encrypted"
    return PLACE.warning(
        "TLS", f"{told} ({mode})", "write sslmode=verify-full in the database's URL"
    )


AS_NEEDED = "as this program needs it"
HIDDEN = "run_sync is not this user's to read"


def _schema(connection: Connection) -> Finding:
    if not inspection.may_enter_bookkeeping(connection):
        return PLACE.left_out("schema", HIDDEN)
    require_current(connection)
    return PLACE.ok("schema", f"revision {current_revision(connection)}, {AS_NEEDED}")


def _rights(connection: Connection) -> Finding:
    user = inspection.user(connection)
    lacking = inspection.lacking(connection)
    if not lacking:
        return PLACE.ok("rights", f"{user} may do all that a sync does")
    as_owner = "run `runtide db grant writer NAME` as the tables' owner, and sync as NAME"
    if inspection.is_reader(connection):
        told = f"{user} is only a reader: it can query the run history, and not sync"
        return PLACE.warning("rights", told, f"to sync, {as_owner}")
    return PLACE.failed("rights", f"{user} lacks {', '.join(lacking)}", as_owner)


def _facts(
    connection: Connection,
    sources: tuple[SourceConfig, ...],
    seen: Seen,
    *,
    is_current: bool,
) -> Iterator[Finding]:
    """Note what sources are checked with; tells only of what cannot be read."""
    try:
        with translated(connection.engine.url):
            asked_at = time.time()
            seen.seconds_ahead = inspection.now(connection) / SECOND - asked_at
            for source in sources if is_current else ():
                seen.tracked[source.name] = inspection.tracked(connection, source.name)
    except Exception as error:  # no check may raise
        yield PLACE.of_error("threads", error)
