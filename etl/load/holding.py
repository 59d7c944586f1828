"""One sync at a time of a source: a lock in Postgres that dies with its holder."""

import os
import socket
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC
from functools import partial

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.engine import Connection, Engine

from etl.domain.batch import SourceId
from etl.domain.errors import HeldError
from etl.domain.run import Instant
from etl.load.database import connected
from etl.load.ledger import open_sync
from etl.load.tables import sources, syncs

SPACE = 0x72756E74  # "runt": the first half of the locks' keys; a source is the second
GATE = 0
"""No source's key; whoever takes several locks is alone while it does."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold:
    """The sources that one sync holds over one connection, and who has the others.

    As long as the connection stands nobody else holds these sources. It is the one to
    write over: once it is lost, nothing can be written any more.
    """

    connection: Connection
    source_ids: Sequence[SourceId]
    busy: Mapping[SourceId, str]
    sync_id: int
    started_at: Instant


def this_process() -> str:
    """The name under which a holder stands in the ledger."""
    return f"process {os.getpid()} on {socket.gethostname()}"


def holding_free(
    engine: Engine, source_ids: Sequence[SourceId], *, trigger: str
) -> AbstractContextManager[Hold]:
    """Hold those of the sources that nobody holds; raises HeldError if there is none."""
    return _holding(engine, source_ids, trigger, enough=any)


def holding(
    engine: Engine, source_ids: Sequence[SourceId], *, trigger: str
) -> AbstractContextManager[Hold]:
    """Hold all of the sources; raises HeldError if somebody holds one of them."""
    return _holding(engine, source_ids, trigger, enough=all)


@contextmanager
def _holding(
    engine: Engine,
    source_ids: Sequence[SourceId],
    trigger: str,
    *,
    enough: Callable[[Iterable[bool]], bool],
) -> Iterator[Hold]:
    """Take locks and begin the ledger's row in one moment, and let go in the end.

    So whoever comes later can be told about it; to end the row is the caller's part.
    """
    taken: list[SourceId] = []
    with connected(engine) as connection:
        try:
            with connection.begin():
                taken += _take(connection, source_ids)
                others = [each for each in source_ids if each not in taken]
                busy = {each: _told(connection, each) for each in others}
                if not enough(each in taken for each in source_ids):
                    raise HeldError(" ".join(busy.values()))
                sync_id, started_at = open_sync(
                    connection, trigger=trigger, source_ids=taken, holder=this_process()
                )
            yield Hold(
                connection=connection,
                source_ids=taken,
                busy=busy,
                sync_id=sync_id,
                started_at=started_at,
            )
        finally:
            _let_go(connection, taken)


def held_now(connection: Connection) -> set[SourceId]:
    """The sources that somebody holds at this instant."""
    found = connection.scalars(
        sa.text(
            "SELECT objid::bigint FROM pg_locks WHERE locktype = 'advisory'"
            " AND database = (SELECT oid FROM pg_database"
            "                 WHERE datname = current_database())"
            " AND classid = :space AND objid <> :gate AND granted"
        ),
        {"space": SPACE, "gate": GATE},
    )
    return set(map(SourceId, found))


def _take(connection: Connection, source_ids: Sequence[SourceId]) -> list[SourceId]:
    """Take what is free, all at once: two that ask together do not share.

    The others wait at the gate until the transaction ends.
    """
    wanted = sa.func.unnest(sa.cast(source_ids, ARRAY(sa.Integer))).column_valued("wanted")
    attempt = sa.select(wanted, sa.func.pg_try_advisory_lock(SPACE, wanted))
    connection.execute(sa.select(sa.func.pg_advisory_xact_lock(SPACE, GATE)))
    return [SourceId(each) for each, taken in connection.execute(attempt) if taken]


def _let_go(connection: Connection, taken: Sequence[SourceId]) -> None:
    """Give all locks back at once, before the connection goes back to its pool."""
    with suppress(sa.exc.SQLAlchemyError):  # a lost connection has lost its locks
        connection.rollback()
        with connection.begin():
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(SPACE, GATE)))
            for each in taken:
                connection.execute(sa.select(sa.func.pg_advisory_unlock(SPACE, each)))


def _told(connection: Connection, source_id: SourceId) -> str:
    """Who holds a source, since when, as far as the ledger knows."""
    name = sa.select(sources.c.name).where(sources.c.source_id == source_id)
    holder = (
        sa.select(syncs.c.sync_id, syncs.c.holder, syncs.c.started_at)
        .where(
            syncs.c.finished_at.is_(None),
            sa.literal(source_id) == sa.any_(syncs.c.source_ids),
        )
        .order_by(syncs.c.sync_id.desc())
        .limit(1)
    )
    told = partial(_sentence, connection.scalar(name))
    row = connection.execute(holder).one_or_none()
    if row is None:
        return told("another command")
    since = row.started_at.astimezone(UTC)
    return told(f"sync {row.sync_id} ({row.holder}) since {since:%Y-%m-%d %H:%M:%S} UTC")


def _sentence(source: str | None, holder: str) -> str:
    return (
        f"Source {source} is held by {holder}; one sync at a time works on a source, so"
        " this one did nothing there. `runtide status` shows how far the other is."
    )
