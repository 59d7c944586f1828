"""One sync at a time of a source: a lock in Postgres that dies with its holders."""

import os
import socket
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, timedelta
from functools import partial

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.engine import Connection, Engine

from etl.domain.batch import SourceId
from etl.domain.errors import HeldError
from etl.domain.run import Instant
from etl.load import ledger, shared_ledger
from etl.load.database import connected
from etl.load.statements import microseconds
from etl.load.tables import sources, syncs

SPACE = 0x72756E74  # "runt": the first half of the locks' keys; a source is the second
GATE = 0
"""No source's key; whoever takes several locks is alone while it does."""

MOST_SHARED = timedelta(days=1)
"""How long a shared sync whose processes died may be gone on with."""

MOST_IDLE = timedelta(minutes=1)
"""How long a process that is stopped within a transaction keeps its rows from others."""

LOCKS = """
    FROM pg_locks WHERE locktype = 'advisory' AND granted
        AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
        AND classid = :space
"""
HOLDERS = sa.text(
    f"SELECT count(DISTINCT pid) {LOCKS} AND objid::bigint = ANY(:source_ids)"
)
HELD = sa.text(f"SELECT objid::bigint {LOCKS} AND objid <> :gate")
NOW = sa.select(microseconds(sa.func.clock_timestamp()))


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold:
    """The sources that one sync holds over one connection, and who has the others.

    As long as the connection stands no other sync holds these sources. It is the one to
    write over: once it is lost, nothing can be written any more. `now` is the database's
    clock when the hold began; a shared sync may have begun long before.
    """

    connection: Connection
    source_ids: Sequence[SourceId]
    busy: Mapping[SourceId, str]
    sync_id: int
    started_at: Instant
    now: Instant
    is_shared: bool = False


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
                sync_id, started_at = ledger.open_sync(
                    connection, trigger=trigger, source_ids=taken, holder=this_process()
                )
            yield Hold(
                connection=connection,
                source_ids=taken,
                busy=busy,
                sync_id=sync_id,
                started_at=started_at,
                now=started_at,
            )
        finally:
            _let_go(connection, taken)


@contextmanager
def sharing(
    engine: Engine,
    source_ids: Sequence[SourceId],
    *,
    trigger: str,
    window: timedelta | None = None,
) -> Iterator[Hold]:
    """Take part in the shared sync of just these sources, or begin one.

    One whose processes all died is gone on with, for a day, or as long as its `window`
    lasts. Whoever leaves last ends it. Raises HeldError where another sync holds one of
    the sources.
    """
    taken: list[SourceId] = []
    with connected(engine) as connection:
        try:
            with connection.begin():
                _limit_idleness(connection)
                taken += _take(connection, source_ids, shared=True)
                others = [each for each in source_ids if each not in taken]
                if others:
                    raise HeldError(" ".join(_told(connection, each) for each in others))
                sync_id, started_at = _joined(connection, source_ids, trigger, window)
                now = Instant(connection.execute(NOW).scalar_one())
            yield Hold(
                connection=connection,
                source_ids=taken,
                busy={},
                sync_id=sync_id,
                started_at=started_at,
                now=now,
                is_shared=True,
            )
        finally:
            _leave(connection, taken)


def _limit_idleness(connection: Connection) -> None:
    """Let the server end a session that stands still within a transaction."""
    milliseconds = MOST_IDLE // timedelta(milliseconds=1)
    connection.execute(sa.text(f"SET idle_in_transaction_session_timeout = {milliseconds}"))


def _joined(
    connection: Connection,
    source_ids: Sequence[SourceId],
    trigger: str,
    window: timedelta | None,
) -> tuple[int, Instant]:
    """The sync to take part in: one that is under way or was left, or a new one.

    As long as another process holds one of the sources, no new one begins: it would end
    the other's row, and take its leases.
    """
    is_alive = processes_at(connection, source_ids) > 1  # for this one holds them too
    within = min(window or MOST_SHARED, MOST_SHARED)
    underway = shared_ledger.shared_sync(
        connection, source_ids, within=None if is_alive else within
    )
    if underway is not None and sorted(underway.source_ids) == sorted(source_ids):
        if shared_ledger.is_stuck(connection, underway.sync_id, within=within):
            raise HeldError(
                f"Sync {underway.sync_id} has nothing left to read and should have ended,"
                " but a process still takes part in it; end that `runtide sync`, and run"
                " this again."
            )
        return underway.sync_id, Instant(underway.started_at)
    if underway is not None and is_alive:
        raise HeldError(
            f"Sync {underway.sync_id} is shared by processes that work on other sources"
            " too; join it with the same --source, or with none where it has none."
        )
    return ledger.open_sync(
        connection,
        trigger=trigger,
        source_ids=source_ids,
        holder=this_process(),
        shared=True,
    )


def processes_at(connection: Connection, source_ids: Sequence[SourceId]) -> int:
    """How many processes hold one of the sources."""
    return connection.scalar(HOLDERS, {"space": SPACE, "source_ids": list(source_ids)}) or 0


def is_under_way(engine: Engine, hold: Hold) -> bool:
    """Whether others still work on a shared sync that was left."""
    with connected(engine) as connection:
        now = shared_ledger.shared_sync(connection, hold.source_ids, within=None)
        is_open = now is not None and now.sync_id == hold.sync_id
        return is_open and processes_at(connection, hold.source_ids) > 0


def has_nothing_left(engine: Engine, hold: Hold) -> bool:
    """Whether all of a shared sync has been done, though it may not have ended."""
    with connected(engine) as connection:
        return shared_ledger.is_stuck(connection, hold.sync_id, within=timedelta())


def leave_open(hold: Hold, *, patience: float) -> None:
    """Leave a shared sync as a process that dies does: not ended.

    Whoever leaves after us would end it; so for so many seconds others may leave before.
    """
    last = time.monotonic() + patience
    while processes_at(hold.connection, hold.source_ids) > 1 and time.monotonic() < last:
        time.sleep(0.1)
    hold.connection.detach()
    hold.connection.close()


def _leave(connection: Connection, taken: Sequence[SourceId]) -> None:
    """Let go of a shared sync; end it where nobody else is at work."""
    with suppress(sa.exc.SQLAlchemyError):
        connection.rollback()
        with connection.begin():
            connection.execute(sa.text("RESET idle_in_transaction_session_timeout"))
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(SPACE, GATE)))
            for each in taken:
                connection.execute(
                    sa.select(sa.func.pg_advisory_unlock_shared(SPACE, each))
                )
            if taken and not processes_at(connection, taken):
                shared_ledger.end_shared(connection, taken)


def held_now(connection: Connection) -> set[SourceId]:
    """The sources that somebody holds at this instant."""
    found = connection.scalars(HELD, {"space": SPACE, "gate": GATE})
    return set(map(SourceId, found))


def _take(
    connection: Connection, source_ids: Sequence[SourceId], *, shared: bool = False
) -> list[SourceId]:
    """Take what is free, all at once: two that ask together do not take half each.

    The others wait at the gate until the transaction ends.
    """
    wanted = sa.func.unnest(sa.cast(source_ids, ARRAY(sa.Integer))).column_valued("wanted")
    tried = sa.func.pg_try_advisory_lock_shared if shared else sa.func.pg_try_advisory_lock
    attempt = sa.select(wanted, tried(SPACE, wanted))
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
