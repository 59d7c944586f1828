"""Asking Postgres: a read-only transaction, a time-out, and a cursor on the server."""

import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from datetime import date
from decimal import Decimal
from typing import Any
from uuid import UUID

import psycopg
import sqlalchemy as sa
from psycopg import sql as composing
from psycopg.abc import Buffer
from psycopg.adapt import Loader
from psycopg.types.datetime import DateLoader, TimestampLoader, TimestamptzLoader

from etl.domain.discovery import Position
from etl.domain.errors import DiscoveryError, SyncError
from etl.load.asking.patience import Patience
from etl.load.asking.question import AT_ONCE, Question
from etl.load.asking.refusals import refused, stopped, too_slow, unreachable
from etl.load.database import opened, shown
from etl.load.trust import ADDED, refusal

GRACE_SECONDS = 5
"""How long after its time-out a server may take to say so."""

CANCEL_SECONDS = 2.0


class Beyond(str):
    """An instant that no clock of ours can show, such as infinity, as Postgres has it."""

    __slots__ = ()


class _Timestamp(TimestampLoader):
    def load(self, data: Buffer) -> Any:
        return _loaded(super().load, data)


class _Timestamptz(TimestamptzLoader):
    def load(self, data: Buffer) -> Any:
        return _loaded(super().load, data)


class _Date(DateLoader):
    def load(self, data: Buffer) -> Any:
        return _loaded(super().load, data)


def _loaded(load: Callable[[Buffer], Any], data: Buffer) -> Any:
    """What the driver makes of an instant, else its text: one row ends no discovery."""
    try:
        return load(data)
    except psycopg.DataError:
        return Beyond(bytes(data).decode())


LENIENT: dict[str, type[Loader]] = {
    "timestamp": _Timestamp,
    "timestamptz": _Timestamptz,
    "date": _Date,
}


class PostgresDatabase:
    """One connection, in one read-only transaction."""

    parameter = "%s"

    def __init__(self, question: Question, stop: threading.Event) -> None:
        self._question = question
        self._stop = stop
        self._patience: Patience | None = None
        self._parts = ExitStack()
        with self._translated():
            self._connection = self._connected()
        seconds = question.seconds + GRACE_SECONDS
        self._patience = Patience(self._break_off, seconds=seconds, stop=stop)

    def columns(self, sql: str) -> list[str]:
        """The names of a query's columns."""
        with self._translated(), self._connection.cursor() as reading:
            reading.execute(sql.encode())
            return [each.name for each in reading.description or ()]

    def ask(self, sql: str) -> Iterator[Sequence[Any]]:
        """Run a query and fetch its rows in parts; the time-out is of all together."""
        with self._translated(), self._connection.cursor("runtide_discovery") as reading:
            reading.execute(sql.encode())
            while rows := reading.fetchmany(AT_ONCE):
                yield rows
                self._allow(self._left_seconds())

    def written(self, position: Any) -> Position | None:
        """As Postgres reads it: a number, an instant, a text, a uuid."""
        if isinstance(position, bool | Beyond):
            return None
        known = (int, float, Decimal, str, date, UUID)
        return str(position) if isinstance(position, known) else None

    def literal(self, position: Position) -> str:
        """A text in quotes, which has no type before it meets the column's."""
        return composing.Literal(position).as_string(self._connection)

    def close(self) -> None:
        """Give up the connection; the transaction has written nothing."""
        if self._patience is not None:
            self._patience.rest()
        self._parts.close()

    def _connected(self) -> psycopg.Connection[Any]:
        text = self._question.url.render_as_string(hide_password=False)
        engine = self._parts.enter_context(opened(text))
        lent = engine.raw_connection()
        self._parts.callback(lent.invalidate)
        connection = lent.driver_connection
        assert isinstance(connection, psycopg.Connection)  # noqa: S101  # for the types
        connection.read_only = True
        for name, loader in LENIENT.items():
            connection.adapters.register_loader(name, loader)
        self._connection = connection
        self._allow(self._question.seconds)
        return connection

    def _allow(self, seconds: float) -> None:
        """Let the next statement take so long."""
        milliseconds = str(max(1, int(seconds * 1000)))
        self._connection.execute(
            "SELECT set_config('statement_timeout', %s, true)", [milliseconds]
        )

    def _left_seconds(self) -> float:
        left = 0.0 if self._patience is None else self._patience.left_seconds
        if left <= GRACE_SECONDS:
            raise too_slow(self._question.seconds)
        return left - GRACE_SECONDS

    def _break_off(self) -> None:
        """End the query at the server; where that does not answer, end the connection."""
        with suppress(psycopg.Error):
            self._connection.cancel_safe(timeout=CANCEL_SECONDS)
        with suppress(OSError, psycopg.Error), self._line() as line:
            line.shutdown(socket.SHUT_RDWR)

    def _line(self) -> socket.socket:
        """The connection's socket once more: what is shut there, is shut here."""
        return socket.fromfd(self._connection.fileno(), socket.AF_INET, socket.SOCK_STREAM)

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except (sa.exc.DBAPIError, psycopg.Error) as error:
            cause = error.orig if isinstance(error, sa.exc.DBAPIError) else error
            raise self._refusal(cause) from error

    def _refusal(self, error: BaseException | None) -> SyncError:
        url = self._question.url
        if self._stop.is_set():
            return stopped()
        is_over = self._patience is not None and self._patience.is_over
        if is_over or isinstance(error, psycopg.errors.QueryCanceled):
            return too_slow(self._question.seconds)
        said = str(error)
        if distrust := refusal(" ".join(said.partition("\n")[0].split()), shown(url)):
            return DiscoveryError(
                distrust.replace(ADDED, "add it to the query of the URL").rstrip(".")
            )
        if isinstance(error, psycopg.OperationalError) and error.sqlstate is None:
            return unreachable(url, said)
        return refused(url, said)
