"""What a sync has before it, in parts that processes take: the rows, in SQL."""

from collections.abc import Collection, Mapping
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import aggregate_order_by
from sqlalchemy.engine import Connection

from etl.domain.batch import Lease, SourceId
from etl.domain.run import ThreadId
from etl.load.tables import leases

MOST_TOGETHER = 1_000
"""Threads of one lease: as many as the registry is asked for at once."""

FEWEST_PARTS = 50
"""A shared sync is cut into so many leases, if it has so many threads."""

TAKE = sa.text(
    """
    UPDATE run_sync.leases
    SET token = token + 1, holder = :holder,
        lapses_at = clock_timestamp() + make_interval(secs => :lasting)
    WHERE lease_id = (
        SELECT lease_id FROM run_sync.leases
        WHERE sync_id = :sync_id AND source_id = :source_id
            AND (lapses_at IS NULL OR lapses_at <= clock_timestamp())
        ORDER BY lease_id LIMIT 1 FOR UPDATE SKIP LOCKED
    )
    RETURNING lease_id, token, thread_ids
    """
)
"""One that another process is about to take, or commits under, is passed by."""

MINE = (
    "unnest(CAST(:lease_ids AS bigint[]), CAST(:tokens AS bigint[])) AS mine"
    " (lease_id, token) WHERE (l.lease_id, l.token) = (mine.lease_id, mine.token)"
)
STILL_HELD = f"SELECT l.lease_id, l.token FROM run_sync.leases l, {MINE} FOR SHARE OF l"  # noqa: S608
RENEW = (
    "UPDATE run_sync.leases l SET"  # noqa: S608
    " lapses_at = clock_timestamp() + make_interval(secs => :lasting)"
    f" FROM {MINE} RETURNING l.lease_id, l.token"
)
GIVE_BACK = sa.text(
    "UPDATE run_sync.leases SET lapses_at = NULL, thread_ids = :left"
    " WHERE lease_id = :lease_id AND token = :token"
)
END = f"DELETE FROM run_sync.leases l USING {MINE}"  # noqa: S608

NOT_MINE = sa.text(
    "SELECT EXISTS (SELECT FROM run_sync.leases WHERE sync_id = :sync_id"
    " AND source_id = :source_id AND lease_id <> ALL(CAST(:lease_ids AS bigint[])))"
)

FORGET_ENDED = sa.text(
    "DELETE FROM run_sync.leases l USING run_sync.syncs s"
    " WHERE s.sync_id = l.sync_id AND s.finished_at IS NOT NULL"
)

LEAVE = sa.text(
    """
    WITH rest AS (
        DELETE FROM run_sync.leases WHERE lease_id IN (
            SELECT lease_id FROM run_sync.leases
            WHERE sync_id = :sync_id AND (
                :is_over OR lapses_at IS NULL OR lapses_at <= clock_timestamp())
            FOR UPDATE SKIP LOCKED)
        RETURNING source_id, thread_ids, token
    ), unread AS (
        SELECT CASE WHEN token = 0 THEN cardinality(thread_ids) ELSE (
            SELECT count(*) FROM run_sync.threads t
            WHERE t.source_id = rest.source_id AND t.thread_id = ANY (rest.thread_ids)
                AND (t.asked_at >= p.planned_at) IS NOT TRUE) END AS threads
        FROM rest LEFT JOIN run_sync.plans p
            ON p.sync_id = :sync_id AND p.source_id = rest.source_id
    ), total AS (SELECT sum(threads) AS threads FROM unread)
    UPDATE run_sync.syncs SET threads_left = coalesce(threads_left, 0) + total.threads
    FROM total WHERE sync_id = :sync_id AND total.threads > 0
    """
)
"""What waits to be leased, or was given back, is left for later; in the end, all is.

One that another process commits under is that one's to leave. Of one that was taken by
somebody who died, some threads may have been asked.
"""


def write(
    connection: Connection,
    sync_id: int,
    source_id: SourceId,
    chosen: sa.Select[Any],
    *,
    together: int,
) -> None:
    """Write the chosen `thread_id`s, in their order, as leases of so many threads."""
    ordered = chosen.subquery()
    place = sa.func.row_number().over().label("place")
    numbered = sa.select(ordered.c.thread_id, place).subquery()
    part = (numbered.c.place - 1) // sa.literal_column(str(together), sa.BigInteger)
    rows = sa.select(
        sa.literal(sync_id, sa.BigInteger),
        sa.literal(source_id, sa.SmallInteger),
        sa.func.array_agg(aggregate_order_by(numbered.c.thread_id, numbered.c.place)),
    )
    parts = rows.group_by(part).order_by(part)
    columns = ["sync_id", "source_id", "thread_ids"]
    connection.execute(sa.insert(leases).from_select(columns, parts))


def together(due: int, *, shared: bool) -> int:
    """How many threads a lease of so many holds."""
    return max(1, min(MOST_TOGETHER, due // FEWEST_PARTS)) if shared else MOST_TOGETHER


def still_held(connection: Connection, claimed: Collection[Lease]) -> set[Lease]:
    """Those that nobody has taken since; until the transaction ends, nobody can."""
    if not claimed:
        return set()
    rows = connection.execute(sa.text(STILL_HELD), _arrays(claimed))
    return {Lease(row.lease_id, row.token) for row in rows}


def take(
    connection: Connection,
    sync_id: int,
    source_id: SourceId,
    *,
    holder: str,
    lasting: float,
) -> tuple[Lease, list[ThreadId]] | None:
    """Take the first lease that is free, for so many seconds, with its threads."""
    facts = {
        "sync_id": sync_id,
        "source_id": source_id,
        "holder": holder,
        "lasting": lasting,
    }
    row = connection.execute(TAKE, facts).one_or_none()
    return row and (Lease(row.lease_id, row.token), row.thread_ids)


def renew(connection: Connection, old: Collection[Lease], *, lasting: float) -> set[Lease]:
    """Keep leases for so many seconds from now; answer those that nobody has taken."""
    if not old:
        return set()
    rows = connection.execute(sa.text(RENEW), _arrays(old) | {"lasting": lasting})
    return {Lease(row.lease_id, row.token) for row in rows}


def give_back(connection: Connection, left: Mapping[Lease, Collection[ThreadId]]) -> None:
    """Free leases for whoever comes, with those threads only that are left."""
    given = [lease._asdict() | {"left": list(ids)} for lease, ids in left.items()]
    if given:
        connection.execute(GIVE_BACK, given)


def end(connection: Connection, done: Collection[Lease]) -> None:
    """Take leases away of which no thread is left."""
    if done:
        connection.execute(sa.text(END), _arrays(done))


def others_have(
    connection: Connection, sync_id: int, source_id: SourceId, mine: Collection[Lease]
) -> bool:
    """Whether there are leases of a source beside these."""
    ids = [lease.lease_id for lease in mine]
    facts = {"sync_id": sync_id, "source_id": source_id, "lease_ids": ids}
    return bool(connection.scalar(NOT_MINE, facts))


def leave(connection: Connection, sync_id: int, *, is_over: bool = False) -> None:
    """Leave the threads that nobody holds for a later sync.

    Where it `is_over`, those too that somebody held who died.
    """
    connection.execute(LEAVE, {"sync_id": sync_id, "is_over": is_over})


def forget_ended(connection: Connection) -> None:
    """Take away what syncs that have ended left behind."""
    connection.execute(FORGET_ENDED)


def _arrays(claimed: Collection[Lease]) -> dict[str, Any]:
    """Leases as two parallel arrays."""
    pairs = list(claimed)
    return {
        "lease_ids": [lease.lease_id for lease in pairs],
        "tokens": [lease.token for lease in pairs],
    }
