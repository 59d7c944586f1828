"""What a database says of itself and of our rights in it; nothing is changed."""

from typing import NamedTuple

import psycopg
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from etl.domain.run import Instant, ThreadId
from etl.load.grants import MAKE_MONTH, WRITERS
from etl.load.statements import microseconds
from etl.load.tables import HISTORY, SYNC, sources, threads


class Tracked(NamedTuple):
    """The threads of a source: how many, and one that answered lately."""

    threads: int
    example: ThreadId | None


def version(connection: Connection) -> str:
    """The server's version, as it writes it."""
    told = connection.scalar(sa.text("SHOW server_version"))
    return str(told).partition(" ")[0]


def user(connection: Connection) -> str:
    """As whom we are connected."""
    return str(connection.scalar(sa.text("SELECT current_user")))


def now(connection: Connection) -> Instant:
    """The database's clock."""
    asked = sa.select(microseconds(sa.func.clock_timestamp()))
    return Instant(connection.execute(asked).scalar_one())


def is_encrypted(connection: Connection) -> bool:
    """Whether this very connection goes over TLS."""
    driver = connection.connection.driver_connection
    return isinstance(driver, psycopg.Connection) and bool(driver.pgconn.ssl_in_use)


def may_enter_bookkeeping(connection: Connection) -> bool:
    """Whether `run_sync` is ours to look into, or is not there at all."""
    found = connection.scalar(
        sa.text(
            "SELECT has_schema_privilege(oid, 'USAGE') FROM pg_namespace"
            " WHERE nspname = :name"
        ),
        {"name": SYNC},
    )
    return found is not False


LACKING = sa.text(
    """
    SELECT wanted.privilege || ' on ' || wanted.name
    FROM unnest(CAST(:names AS text[]), CAST(:privileges AS text[]))
        WITH ORDINALITY AS wanted (name, privilege, place)
    JOIN pg_class c ON c.relnamespace::regnamespace || '.' || c.relname = wanted.name
    WHERE NOT has_table_privilege(c.oid, wanted.privilege)
    ORDER BY wanted.place
    """
)
"""By their numbers in the catalogue: a name would first need a right on its schema."""

LACKING_ELSEWHERE = sa.text(
    """
    SELECT 'EXECUTE on ' || CAST(:make_month AS text)
    FROM pg_proc
    WHERE proname = 'make_month' AND pronamespace::regnamespace::text = :sync
        AND NOT has_function_privilege(oid, 'EXECUTE')
    UNION ALL
    SELECT 'TEMPORARY on the database'
    WHERE NOT has_database_privilege(current_database(), 'TEMPORARY')
    """
)


def lacking(connection: Connection) -> list[str]:
    """The rights that a sync needs and this user does not have."""
    wanted = [(name, right) for name, rights in WRITERS.items() for right in rights]
    names, privileges = zip(*wanted, strict=True)
    found = connection.scalars(
        LACKING, {"names": list(names), "privileges": list(privileges)}
    ).all()
    elsewhere = connection.scalars(
        LACKING_ELSEWHERE, {"make_month": MAKE_MONTH, "sync": SYNC}
    ).all()
    return [*found, *elsewhere]


def is_reader(connection: Connection) -> bool:
    """Whether this user can query the runs and knows nothing of the bookkeeping."""
    may_read = connection.scalar(
        sa.text(
            "SELECT has_table_privilege(c.oid, 'SELECT')"
            " AND has_schema_privilege(n.oid, 'USAGE')"
            " FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
            " WHERE n.nspname = :history AND c.relname = 'runs'"
        ),
        {"history": HISTORY},
    )
    return bool(may_read) and not may_enter_bookkeeping(connection)


def tracked(connection: Connection, source: str) -> Tracked:
    """The living threads of a source by its name; none where it was never used."""
    mine = (
        sa.select(threads.c.thread_id)
        .join(sources, sources.c.source_id == threads.c.source_id)
        .where(sources.c.name == source, threads.c.gone_at.is_(None))
    )
    lately = threads.c.last_pass_at.desc().nulls_last()
    example = connection.scalar(mine.order_by(lately, threads.c.thread_id).limit(1))
    count = sa.select(sa.func.count()).select_from(mine.subquery())
    return Tracked(connection.scalar(count) or 0, example)
