"""A server of one's own, where roles log in with passwords, as on any other machine."""

import socket
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest
from psycopg import sql
from sqlalchemy.engine import URL, make_url

from etl.load.database import connected, opened
from etl.load.embedded import EmbeddedPostgres
from etl.load.schema import upgrade
from tests.conftest import as_text

PASSWORD = "pass/word @:%"


@dataclass(frozen=True)
class OwnedDatabase:
    """A database whose tables belong to an ordinary role that may make others."""

    address: URL
    owner: str

    def url(self, role: str | None = None, password: str = PASSWORD) -> str:
        """As whom to connect; the owner, unless told otherwise."""
        role = self.owner if role is None else role
        return as_text(self.address.set(username=role, password=password))

    def connected(self, role: str | None = None) -> psycopg.Connection:
        """A connection as a role, in a transaction."""
        place = self.address.translate_connect_args(database="dbname")
        place |= {"user": role or self.owner, "password": PASSWORD}
        del place["username"]
        return psycopg.connect(**place)

    def run(self, *statements: str, role: str | None = None) -> list[tuple[object, ...]]:
        """Run statements, commit, and answer the rows of the last one."""
        with self.connected(role) as connection:
            for statement in statements:
                cursor = connection.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []


@contextmanager
def a_server_on_tcp() -> Iterator[URL]:
    """Start a server that takes passwords on loopback; lends its superuser's URL."""
    with tempfile.TemporaryDirectory(prefix="runtide-test-") as folder:
        server = EmbeddedPostgres(Path(folder) / "postgres")
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            port = int(listener.getsockname()[1])
        server.start(port=port)
        try:
            yield make_url(server.tcp_url())
        finally:
            server.stop_now()


@contextmanager
def an_owned_database(server: URL) -> Iterator[OwnedDatabase]:
    """A database with the newest schema, made and owned by a role of its own."""
    name = f"owned_{uuid4().hex[:12]}"
    made = OwnedDatabase(server.set(database=name), f"owner_of_{name}")
    with psycopg.connect(as_text(server), autocommit=True) as admin:
        names = {"owner": sql.Identifier(made.owner), "name": sql.Identifier(name)}
        make = "CREATE ROLE {owner} LOGIN CREATEROLE PASSWORD {password}"
        admin.execute(sql.SQL(make).format(**names, password=sql.Literal(PASSWORD)))
        admin.execute(sql.SQL("CREATE DATABASE {name}").format(**names))
        give = "GRANT CREATE ON DATABASE {name} TO {owner}"
        admin.execute(sql.SQL(give).format(**names))
        with opened(made.url()) as engine, connected(engine) as connection:
            upgrade(connection)
        yield made
        admin.execute(sql.SQL("DROP DATABASE {name} WITH (FORCE)").format(**names))


Call = Callable[..., tuple[int, str, str]]
"""`runtide` as a role; answers the exit code, and what was printed where."""


def granted(as_role: Call, kind: str, name: str) -> tuple[int, str, str]:
    return as_role("db", "grant", kind, name, "--password-env", "ROLE_PASSWORD")


def refused(owned: OwnedDatabase, role: str, statement: str) -> str:
    with pytest.raises(psycopg.errors.InsufficientPrivilege) as caught:
        owned.run(statement, role=role)
    return str(caught.value).partition("\n")[0]
