"""Asking SQLite: the file is opened read-only, and a slow query is interrupted."""

import json
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from etl.domain.discovery import Position
from etl.domain.errors import DiscoveryError
from etl.load.asking.patience import Patience
from etl.load.asking.question import AT_ONCE, Question
from etl.load.asking.refusals import refused, stopped, too_slow, unreachable

OF_THE_FILE = {
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_CORRUPT,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_NOTADB,
}
"""What is wrong with a file, whatever it is asked."""


class SQLiteDatabase:
    """One file, open for reading only; used by one thread."""

    parameter = "?"

    def __init__(self, question: Question, stop: threading.Event) -> None:
        self._question = question
        self._stop = stop
        self._connection = _connected(question)
        self._patience = Patience(
            self._connection.interrupt, seconds=question.seconds, stop=stop
        )

    def columns(self, sql: str) -> list[str]:
        """The names of a query's columns."""
        with self._translated():
            return [each[0] for each in self._connection.execute(sql).description]

    def ask(self, sql: str) -> Iterator[Sequence[Any]]:
        """Run a query and fetch its rows in parts."""
        with self._translated():
            answer = self._connection.execute(sql)
            while rows := answer.fetchmany(AT_ONCE):
                yield rows
                if self._patience.left_seconds <= 0:
                    raise too_slow(self._question.seconds)

    def written(self, position: Any) -> Position | None:
        """JSON, for a column of SQLite holds numbers and texts side by side."""
        return json.dumps(position) if isinstance(position, int | float | str) else None

    def literal(self, position: Position) -> str:
        """The number or the text, as SQL writes it."""
        value = json.loads(position)
        return (
            "'" + value.replace("'", "''") + "'" if isinstance(value, str) else repr(value)
        )

    def close(self) -> None:
        """Close the file."""
        self._patience.rest()
        self._connection.close()

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            if self._stop.is_set():
                raise stopped() from error
            if self._patience.is_over:
                raise too_slow(self._question.seconds) from error
            said = unreachable if _is_of_the_file(error) else refused
            raise said(self._question.url, str(error)) from error


def _is_of_the_file(error: sqlite3.Error) -> bool:
    return getattr(error, "sqlite_errorcode", 0) & 0xFF in OF_THE_FILE


def _connected(question: Question) -> sqlite3.Connection:
    if not question.url.database or question.url.database == ":memory:":
        raise DiscoveryError(
            "the URL names no file of SQLite; write it as sqlite:////path/of/the/file.db"
        )
    address = Path(question.url.database).absolute().as_uri() + "?mode=ro"
    try:
        connection = sqlite3.connect(address, uri=True)
        connection.execute("PRAGMA query_only = ON")
    except sqlite3.Error as error:
        raise unreachable(question.url, str(error)) from error
    return connection
