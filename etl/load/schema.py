"""Which version of the schema is there, and the way to another one."""

import re
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.engine import Connection

import etl
from etl.domain.errors import DatabaseError, SchemaError
from etl.load.database import OLDEST_SERVER
from etl.load.tables import ANALYTICS, HISTORY, SYNC

SCHEMAS = (HISTORY, SYNC, ANALYTICS)
PARKED = (
    *(f"{name}_parked" for name in SCHEMAS),
    "run_sync_0004_parked",
    "run_sync_0009_parked",
    "run_sync_0010_parked",
)
"""Where the migrations set rows aside on the way down."""

PACKAGE = Path(etl.__file__).parent


def shipped(name: str) -> Path:
    """Find a file that stands beside the package in the repository, in it in a wheel."""
    inside = PACKAGE / name
    return inside if inside.exists() else PACKAGE.parent / name


def revisions() -> list[str]:
    """The revisions this program knows, oldest first."""
    files = shipped("migrations").glob("versions/[0-9]*.py")
    return sorted(file.name.partition("_")[0] for file in files)


def current_revision(connection: Connection) -> str | None:
    """The revision of the database; None where it was never upgraded."""
    is_open = _is_open(connection)
    if SYNC in is_open and not is_open[SYNC] and is_open.get(ANALYTICS):
        found = connection.scalar(sa.text("SELECT run_analytics.schema_revision()"))
        return str(found) if found is not None else None
    table = "run_sync.alembic_version"
    if connection.scalar(sa.select(sa.func.to_regclass(table))) is None:
        return None
    found = connection.scalar(sa.text(f"SELECT version_num FROM {table}"))  # noqa: S608
    return str(found) if found is not None else None


def _is_open(connection: Connection) -> dict[str, bool]:
    """Those of our schemas that are there, and whether this user may look into each."""
    allowed = sa.text(
        "SELECT nspname, has_schema_privilege(oid, 'USAGE') AS may_use"
        " FROM pg_namespace WHERE nspname = ANY(:names)"
    )
    rows = connection.execute(allowed, {"names": list(SCHEMAS)})
    return {row.nspname: row.may_use for row in rows}


def require_current(connection: Connection) -> None:
    """Raise SchemaError unless the schema is the one this program was written for."""
    current, known = current_revision(connection), revisions()
    if current == known[-1]:
        return
    if current is None:
        message = "The database has no runtide schema yet; run `runtide db upgrade`."
    elif current in known:
        message = (
            f"The schema is at revision {current}, this program needs {known[-1]};"
            " run `runtide db upgrade`."
        )
    else:
        message = (
            f"The schema is at revision {current}, newer than this program, which"
            f" knows {known[-1]}; install a newer runtide."
        )
    raise SchemaError(message)


def require_server(connection: Connection) -> None:
    """Raise DatabaseError where the server is older than the schema needs."""
    version = int((connection.dialect.server_version_info or (0,))[0])
    if version < OLDEST_SERVER:
        raise DatabaseError(
            f"The server is PostgreSQL {version}; runtide needs {OLDEST_SERVER} or newer."
        )


def upgrade(connection: Connection, revision: str = "head") -> tuple[str | None, str]:
    """Bring the schema to a revision; answer where it was and where it is.

    Raises SchemaError where the database is newer than this program.
    """
    from alembic import command  # noqa: PLC0415  # slow to import, seldom needed

    require_server(connection)
    before = current_revision(connection)
    if before is not None and before not in revisions():
        require_current(connection)
    connection.rollback()
    command.upgrade(alembic_config(connection), revision)
    return before, current_revision(connection) or ""


def drop(connection: Connection) -> None:
    """Drop everything of runtide; for databases that hold nothing of worth."""
    for name in (*SCHEMAS, *PARKED):
        connection.execute(sa.schema.DropSchema(name, cascade=True, if_exists=True))
    connection.commit()


def alembic_config(connection: Connection):  # type: ignore[no-untyped-def]
    """Alembic's settings for work on an open connection."""
    from alembic.config import Config  # noqa: PLC0415

    config = Config(attributes={"connection": connection})
    config.set_main_option("script_location", str(shipped("migrations")))
    return config


def is_partition(name: str | None) -> bool:
    """Whether a table is a partition of `runs`, made by the loader and not by Alembic."""
    return bool(name and re.fullmatch(r"runs_(\d{4}_\d{2}|default)", name))
