"""Roles beside the owner: a writer that syncs, a reader that queries."""

from contextlib import suppress
from dataclasses import dataclass

import psycopg
import sqlalchemy as sa
from psycopg import sql
from sqlalchemy.engine import Connection

from etl.domain.errors import ConfigError, DatabaseError
from etl.load.roles import RoleKind
from etl.load.tables import ANALYTICS, HISTORY, SYNC

MOST_BYTES = 63
"""What is longer, Postgres would cut, and so grant to another role."""

READABLE = (HISTORY, ANALYTICS)
"""What a reader may see."""
OURS = (*READABLE, SYNC)

READ = ("SELECT",)
ADD = (*READ, "INSERT")
WRITE = (*ADD, "UPDATE")
WRITE_AND_DELETE = (*WRITE, "DELETE")

WRITERS = {
    f"{HISTORY}.runs": WRITE,
    f"{HISTORY}.instructions": ADD,
    f"{HISTORY}.tools": ADD,
    f"{HISTORY}.run_tools": READ,
    f"{HISTORY}.run_resources": READ,
    f"{SYNC}.sources": WRITE,
    f"{SYNC}.threads": WRITE_AND_DELETE,
    f"{SYNC}.syncs": WRITE_AND_DELETE,
    f"{SYNC}.rejects": WRITE_AND_DELETE,
    f"{SYNC}.drift": WRITE,
    f"{SYNC}.erasures": READ,
    f"{SYNC}.untracked": WRITE_AND_DELETE,
    f"{SYNC}.discoveries": WRITE_AND_DELETE,
    f"{SYNC}.imports": WRITE_AND_DELETE,
    f"{SYNC}.plans": WRITE_AND_DELETE,
    f"{SYNC}.leases": WRITE_AND_DELETE,
    f"{SYNC}.budgets": WRITE_AND_DELETE,
    f"{SYNC}.alembic_version": READ,
    f"{ANALYTICS}.deployments": WRITE_AND_DELETE,
}
"""What syncs and exports do to each table, and no more; `untrack` deletes threads, the
ledger forgets its oldest rows, a replay writes rejects anew where privacy asks for it,
and the names that the configuration maps come and go. Prices are the owner's."""

MAKE_MONTH = f"{SYNC}.make_month(date)"


def grant(
    connection: Connection, kind: RoleKind, name: str, *, password: str | None
) -> bool:
    """Give a role just what its kind needs; answer whether the role is new.

    What it held on the schemas of runtide before is taken away, all in one transaction.
    Raises ConfigError for a name that cannot be such a role, DatabaseError where the
    rights are not this user's to give.
    """
    _check_name(name)
    with connection.begin():
        role = _Role(connection, name, owner=_owner(connection))
        is_new = _is_missing(role)
        if is_new:
            role.run("CREATE ROLE {role} LOGIN")
        if password is not None:
            _set_password(role, password)
        _reset(role)
        (_let_read if kind is RoleKind.READER else _let_write)(role)
    return is_new


@dataclass(frozen=True, slots=True)
class _Role:
    """Whom rights are given to, on a connection in a transaction."""

    connection: Connection
    name: str
    owner: str

    def run(self, statement: str, **parts: sql.Composable) -> None:
        """Run a statement whose names the driver quotes: {role}, {owner} and `parts`."""
        names = {"role": sql.Identifier(self.name), "owner": sql.Identifier(self.owner)}
        self.driver.execute(sql.SQL(statement).format(**names, **parts))

    @property
    def driver(self) -> psycopg.Connection:
        """The driver's own connection: SQLAlchemy would look for parameters in names."""
        driver = self.connection.connection.driver_connection
        assert isinstance(driver, psycopg.Connection)  # noqa: S101  # for the types
        return driver

    def quoted(self, name: str) -> str:
        """A name as it stands in SQL."""
        return sql.Identifier(name).as_string(self.driver)


def _check_name(name: str) -> None:
    if not (0 < len(name.encode()) <= MOST_BYTES and name.isprintable()):
        raise ConfigError(
            f"{name[:MOST_BYTES]!r} cannot be a role: its name needs 1 to {MOST_BYTES}"
            " bytes without control characters."
        )


def _owner(connection: Connection) -> str:
    """Who ran the migrations; raises DatabaseError unless that is this user too."""
    owner, user, is_ours = connection.execute(
        sa.text(
            "SELECT pg_get_userbyid(nspowner), current_user,"
            " pg_has_role(nspowner, 'USAGE') FROM pg_namespace WHERE nspname = :name"
        ),
        {"name": HISTORY},
    ).one()
    if not is_ours:
        raise DatabaseError(
            f"The tables belong to {owner}, and {user} cannot give rights on them away;"
            f" connect as {owner}."
        )
    return str(owner)


def _is_missing(role: _Role) -> bool:
    """Whether the role has yet to be made; raises ConfigError where it may do all."""
    found = role.connection.execute(
        sa.text(
            "SELECT rolsuper, pg_has_role(oid, CAST(:owner AS name), 'MEMBER')"
            " FROM pg_roles WHERE rolname = :name"
        ),
        {"name": role.name, "owner": role.owner},
    ).one_or_none()
    if found is None:
        return True
    is_superuser, acts_as_owner = found
    if role.name == role.owner:
        excess = "owns the tables"
    elif is_superuser:
        excess = "is a superuser"
    elif acts_as_owner:
        excess = f"is a member of {role.owner}, who owns the tables,"
    else:
        return False
    raise ConfigError(
        f"{role.name} {excess} and may do everything already; name another role."
    )


def _set_password(role: _Role, password: str) -> None:
    """Hashed here, so that the password itself stands in no log of the server."""
    hashed = role.driver.pgconn.encrypt_password(
        password.encode(), role.name.encode(), b"scram-sha-256"
    )
    literal = sql.Literal(hashed.decode())
    role.run("ALTER ROLE {role} PASSWORD {password}", password=literal)


def _reset(role: _Role) -> None:
    """Take away what the role held on the schemas of runtide."""
    for schema in _schemas(role.connection, OURS):
        for things in ("TABLES", "SEQUENCES", "FUNCTIONS"):
            role.run(f"REVOKE ALL ON ALL {things} IN SCHEMA {schema} FROM {{role}}")
        role.run(f"REVOKE ALL ON SCHEMA {schema} FROM {{role}}")
        role.run(
            f"ALTER DEFAULT PRIVILEGES FOR ROLE {{owner}} IN SCHEMA {schema}"
            " REVOKE ALL ON TABLES FROM {role}"
        )


def _let_read(role: _Role) -> None:
    for schema in _schemas(role.connection, READABLE):
        role.run(f"GRANT SELECT ON ALL TABLES IN SCHEMA {schema} TO {{role}}")
        _let_in(role, schema, later=READ)
    _open_database(role, "CONNECT")


def _let_write(role: _Role) -> None:
    for table, rights in WRITERS.items():
        role.run(f"GRANT {', '.join(rights)} ON {table} TO {{role}}")
    role.run(f"GRANT EXECUTE ON FUNCTION {MAKE_MONTH} TO {{role}}")
    for schema in (HISTORY, SYNC):
        _let_in(role, schema, later=WRITE)
    role.run(f"GRANT SELECT ON ALL TABLES IN SCHEMA {ANALYTICS} TO {{role}}")
    _let_in(role, ANALYTICS, later=READ)
    _open_database(role, "CONNECT")
    _open_database(role, "TEMPORARY")


def _let_in(role: _Role, schema: str, *, later: tuple[str, ...]) -> None:
    """Open a schema; `later` are the rights on tables that are made after this."""
    role.run(f"GRANT USAGE ON SCHEMA {schema} TO {{role}}")
    role.run(
        f"ALTER DEFAULT PRIVILEGES FOR ROLE {{owner}} IN SCHEMA {schema}"
        f" GRANT {', '.join(later)} ON TABLES TO {{role}}"
    )


def _open_database(role: _Role, right: str) -> None:
    """Give a right on the database, which most databases give to everybody."""
    database = role.connection.scalar(sa.select(sa.func.current_database())) or ""
    asked = sa.select(sa.func.has_database_privilege(role.name, database, right))
    if role.connection.scalar(asked):
        return
    place = sql.Identifier(database)
    with suppress(psycopg.errors.InsufficientPrivilege), role.driver.transaction():
        role.run(f"GRANT {right} ON DATABASE {{database}} TO {{role}}", database=place)
    if not role.connection.scalar(asked):
        raise DatabaseError(
            f"Role {role.name} lacks {right} on the database {database}, which only its"
            f" owner can give: GRANT {right} ON DATABASE {role.quoted(database)}"
            f" TO {role.quoted(role.name)}."
        )


def _schemas(connection: Connection, names: tuple[str, ...]) -> list[str]:
    """Those of the schemas that are there."""
    wanted = sa.text("SELECT nspname FROM pg_namespace WHERE nspname = ANY(:names)")
    return sorted(connection.scalars(wanted, {"names": list(names)}))
