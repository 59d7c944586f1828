"""A question to an application's database, and its answer in parts."""

import threading
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any, Protocol
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.engine import URL, make_url

from etl.domain.digest import digest
from etl.domain.discovery import Position, Rows
from etl.domain.errors import DiscoveryError
from etl.load.database import SCHEMES, SECRETS

AT_ONCE = 10_000
"""Rows that are held at a time."""

SQLITE = "sqlite"
COLUMN, POSITION, ACTIVE_AT = "thread_id", "position", "active_at"


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """A query, the database it goes to, and how long its answer may take."""

    sql: str
    url: URL
    seconds: int

    @classmethod
    def to(cls, text: str, sql: str, *, seconds: int, variable: str) -> "Question":
        """A question to the database of a URL; raises DiscoveryError if it is none."""
        try:
            url = make_url(text)
        except (sa.exc.ArgumentError, ValueError) as error:
            raise DiscoveryError(
                f"the URL in {variable} cannot be read; write it as"
                " postgresql://user@host/name or sqlite:////path/of/the/file.db"
            ) from error
        if not is_known_scheme(url):
            raise DiscoveryError(
                f"the URL in {variable} begins with {url.drivername}://, but threads are"
                " discovered in Postgres and SQLite only; write it as"
                " postgresql://user@host/name or sqlite:////path/of/the/file.db"
            )
        return cls(sql=sql.strip().rstrip("; \n\t"), url=url, seconds=seconds)

    @property
    def digest(self) -> UUID:
        """What a position belongs to: this query, in this database.

        Host, port and schema may also stand in the query of the URL.
        """
        told = [(each, self.url.query[each]) for each in sorted(self.url.query)]
        more = [each for each in told if each[0] not in SECRETS]
        place = [self.url.host, self.url.port, self.url.database, *more, self.sql]
        return digest("\n".join(map(str, place)).encode())

    @property
    def selected(self) -> str:
        """The query as something to select from; it may end with a comment."""
        return f"(\n{self.sql}\n) AS found"


def is_known_scheme(url: URL) -> bool:
    """Whether we know how to ask such a database."""
    return url.drivername in SCHEMES or url.drivername == SQLITE


class Database(Protocol):
    """An open database in a transaction that cannot write."""

    def columns(self, sql: str) -> list[str]:
        """The names of the columns that a query without rows has."""
        ...

    def ask(self, sql: str) -> Iterator[Sequence[Any]]:
        """Run a query; each part of its rows is as long as `AT_ONCE` at most."""
        ...

    def written(self, position: Any) -> Position | None:
        """A position as text; None where the type has none that comes back."""
        ...

    def literal(self, position: Position) -> str:
        """A position as it stands in SQL, where it takes the column's type."""
        ...

    def close(self) -> None:
        """Let go of the database."""
        ...


def asked(
    question: Question,
    *,
    after: Position | None,
    stop: threading.Event,
    most: int | None = None,
) -> Iterator[Rows]:
    """Ask for the rows behind a position, or for all, in the order of their positions.

    Raises DiscoveryError where the database cannot be asked, or the answer takes too
    long, and StoppedError once `stop` is set.
    """
    with closing(_opened(question, stop)) as database:
        columns = database.columns(f"SELECT * FROM {question.selected} LIMIT 0")  # noqa: S608
        names = [name.lower() for name in columns]
        place = names.index(COLUMN) if COLUMN in names else 0
        growing = names.index(POSITION) if POSITION in names else None
        active = names.index(ACTIVE_AT) if ACTIVE_AT in names else None
        sql = _statement(question, database, columns, growing, after)
        if most is not None:
            sql += f" LIMIT {most}"
        last = after
        for rows in database.ask(sql):
            if growing is not None:
                last = _last(rows, growing, database) or last
            yield Rows(
                thread_ids=[row[place] for row in rows],
                position=last,
                active_at=None if active is None else [row[active] for row in rows],
            )


def _opened(question: Question, stop: threading.Event) -> Database:
    if question.url.drivername == SQLITE:
        from etl.load.asking.sqlite import SQLiteDatabase  # noqa: PLC0415

        return SQLiteDatabase(question, stop)
    from etl.load.asking.postgres import PostgresDatabase  # noqa: PLC0415

    return PostgresDatabase(question, stop)


def _statement(
    question: Question,
    database: Database,
    columns: list[str],
    growing: int | None,
    after: Position | None,
) -> str:
    """The query, cut at the position and in its order; the planner moves both inside."""
    sql = f"SELECT * FROM {question.selected}"  # noqa: S608  # the user's own
    if growing is None:
        return sql
    quoted = '"' + columns[growing].replace('"', '""') + '"'
    if after is not None:
        sql += f" WHERE found.{quoted} > {database.literal(after)}"
    return sql + f" ORDER BY found.{quoted}"


def _last(rows: Sequence[Any], growing: int, database: Database) -> Position | None:
    """The largest position of ordered rows: the last one's that has one.

    Nulls come first in one database and last in the other; an index knows one way only.
    """
    value = next((row[growing] for row in reversed(rows) if row[growing] is not None), None)
    if value is None:
        return None
    position = database.written(value)
    if position is None:
        raise DiscoveryError(
            f"its column position is of a type ({type(value).__name__}) that runtide cannot"
            " keep; return a number, an instant, a text or a uuid"
        )
    return position
