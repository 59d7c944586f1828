"""One export at a time to a destination: a lock in Postgres that dies with its holder."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import sqlalchemy as sa
from sqlalchemy.engine import Engine

from etl.domain.errors import HeldError
from etl.load.database import connected
from etl.warehouse.destination import Destination


@contextmanager
def alone(engine: Engine, destination: Destination) -> Iterator[None]:
    """Be the only export to a destination; raises HeldError where another one is."""
    key = lock_key(destination)
    with connected(engine) as connection:
        with connection.begin():
            taken = connection.scalar(sa.select(sa.func.pg_try_advisory_lock(key)))
        if not taken:
            raise HeldError(
                f"Another export to {destination.shown} is at work, so this one did"
                " nothing; run it again when that one has ended."
            )
        try:
            yield
        finally:
            with suppress(sa.exc.SQLAlchemyError), connection.begin():
                connection.execute(sa.select(sa.func.pg_advisory_unlock(key)))


def lock_key(destination: Destination) -> int:
    """The key of a destination's lock; syncs' locks have two keys, and never meet it."""
    digest = hashlib.sha256(f"export {destination.key}".encode()).digest()
    return int.from_bytes(digest[:8], signed=True)
