"""The Postgres that all contenders share: runtide's embedded one, started once."""

import time
from pathlib import Path

import psycopg
from psycopg.sql import SQL, Composed, Identifier, Literal

from bench.measuring import MEGABYTE

CHUNK = 1 << 20

USER_TABLES_BYTES = SQL(
    "SELECT sum(pg_total_relation_size(c.oid)) FROM pg_class c"
    " JOIN pg_namespace n ON n.oid = relnamespace WHERE relkind IN ('r', 'm')"
    " AND nspname NOT IN ('pg_catalog', 'information_schema')"
    " AND relpersistence <> 't'"
)
"""Tables with their indexes and what is stored out of line; partitions are tables."""

HISTORY_TABLES = SQL(
    "SELECT relname FROM pg_class WHERE relkind = 'r'"
    " AND relnamespace = 'run_history'::regnamespace"
)
RUNS_COLUMNS = SQL(
    "SELECT attname FROM pg_attribute WHERE attrelid = 'run_history.runs'::regclass"
    " AND attnum > 0 AND NOT attisdropped AND attgenerated = '' ORDER BY attnum"
)


class Postgres:
    """One server, reached over TCP, with databases that come and go."""

    def __init__(self, url: str) -> None:
        self._place, _, self.default = url.rpartition("/")

    def url(self, name: str) -> str:
        """The URL of a database."""
        return f"{self._place}/{name}"

    def connect(self, name: str) -> psycopg.Connection:
        """Open a connection that commits each statement."""
        return psycopg.connect(self.url(name), autocommit=True)

    def make(self, name: str, *, template: str = "template1") -> str:
        """Make a database, empty or like another one; nothing is left to write to disk.

        A database that has the name goes. Answers the new one's URL.
        """
        statement = SQL("CREATE DATABASE {} TEMPLATE {}")
        self.drop(name)
        with self.connect("postgres") as connection:
            connection.execute(statement.format(Identifier(name), Identifier(template)))
            connection.execute("CHECKPOINT")
        return self.url(name)

    def drop(self, name: str) -> None:
        """Drop a database, if it is there."""
        statement = SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)")
        with self.connect("postgres") as connection:
            connection.execute(statement.format(Identifier(name)))

    def megabytes(self, name: str) -> float:
        """The size of a database's own tables, indexes included."""
        return self.number(name, USER_TABLES_BYTES) / MEGABYTE

    def version(self) -> str:
        """The server's version."""
        with self.connect("postgres") as connection:
            return connection.info.parameter_status("server_version") or ""

    def number(self, name: str, query: SQL) -> int:
        """The one number that a query answers."""
        with self.connect(name) as connection:
            row = connection.execute(query).fetchone()
        return int(row[0]) if row else 0

    def rows_written_since(self, name: str, transaction: int) -> int:
        """Rows of `run_history` that transactions from this one on have written."""
        count = SQL("SELECT count(*) FROM run_history.{} WHERE xmin::text::bigint >= {}")
        with self.connect(name) as connection:
            tables = connection.execute(HISTORY_TABLES).fetchall()
            counts = [
                connection.execute(count.format(Identifier(table), Literal(transaction)))
                for (table,) in tables
            ]
            return sum(row[0] for each in counts if (row := each.fetchone()))

    def export_runs(self, name: str, path: Path) -> None:
        """Write the finished rows of `run_history.runs` to a file, as COPY has them."""
        with self.connect(name) as connection, path.open("wb") as file:
            statement = SQL("COPY (SELECT {} FROM run_history.runs) TO STDOUT")
            with connection.cursor().copy(statement.format(_columns(connection))) as copy:
                file.writelines(copy)

    def copy_runs(self, name: str, path: Path) -> float:
        """COPY such a file into `run_history.runs`, emptied before; seconds.

        One connection, one transaction; the commit counts.
        """
        with self.connect(name) as connection:
            connection.execute("TRUNCATE run_history.runs")
            connection.execute("CHECKPOINT")
            order = SQL("COPY run_history.runs ({}) FROM STDIN")
            statement = order.format(_columns(connection))
            began = time.perf_counter()
            with (
                path.open("rb") as file,
                connection.transaction(),
                connection.cursor().copy(statement) as copy,
            ):
                while data := file.read(CHUNK):
                    copy.write(data)
            return time.perf_counter() - began


def _columns(connection: psycopg.Connection) -> Composed:
    names = connection.execute(RUNS_COLUMNS).fetchall()
    return SQL(", ").join(Identifier(name) for (name,) in names)
