"""One export at a time to a place: a lock in Postgres that dies with its holder."""

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Protocol

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from etl.domain.errors import HeldError
from etl.load.database import connected, translated


class Named(Protocol):
    """A place that a lock can be held for."""

    @property
    def shown(self) -> str: ...

    @property
    def key(self) -> str: ...


@contextmanager
def alone(engine: Engine, place: Named) -> Iterator[Callable[[], None]]:
    """Be the only export to a place; raises HeldError where another one is.

    What is yielded raises DatabaseError once the lock may have been lost: whoever lost
    it must not publish, for another export may be at work.
    """
    key = lock_key(place)
    with connected(engine) as connection:
        with connection.begin():
            connection.execute(sa.text("SET idle_session_timeout = 0"))
            taken = connection.scalar(sa.select(sa.func.pg_try_advisory_lock(key)))
        if not taken:
            raise HeldError(
                f"Another export to {place.shown} is at work, so this one did"
                " nothing; run it again when that one has ended."
            )
        try:
            yield lambda: _assure(connection)
        finally:
            with suppress(sa.exc.SQLAlchemyError), connection.begin():
                connection.execute(sa.select(sa.func.pg_advisory_unlock(key)))


def _assure(connection: Connection) -> None:
    """The lock lives as long as its connection, which is silent while rows are read."""
    with translated(connection.engine.url), connection.begin():
        connection.execute(sa.select(1))


def lock_key(place: Named) -> int:
    """The key of a place's lock; syncs' locks have two keys, and never meet it."""
    digest = hashlib.sha256(f"export {place.key}".encode()).digest()
    return int.from_bytes(digest[:8], signed=True)
