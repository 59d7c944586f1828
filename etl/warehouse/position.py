"""Where a database stands in one snapshot: what has changed, how far it is complete."""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from etl.load.database import connected
from etl.warehouse.manifest import Freshness, Identity

XMIN_XMAX = re.compile(r"([0-9]+):([0-9]+):")


@dataclass(frozen=True, slots=True, kw_only=True)
class Month:
    """One source's month of runs or threads, and whether an older snapshot has seen it.

    `day` is its first day as Postgres writes it.
    """

    relation: str
    source_id: int
    source: str
    day: str
    change_xid: str
    is_seen: bool

    @property
    def name(self) -> str:
        """The month as its folder is named: 2026-11."""
        return self.day.removesuffix("-01")


Prices = Mapping[tuple[int, str], str]
"""A digest of the prices that hold in a month, by source and first day."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Position:
    """What one snapshot shows."""

    identity: Identity
    snapshot: str
    sources: Mapping[int, str]
    prices: Prices
    freshness: tuple[Freshness, ...]


@contextmanager
def snapshot_of(engine: Engine) -> Iterator[Connection]:
    """A connection in a transaction that reads one snapshot to its end."""
    with connected(engine) as lent:
        reading = lent.execution_options(
            isolation_level="REPEATABLE READ", postgresql_readonly=True
        )
        with reading.begin():
            reading.execute(sa.text(PATIENT))
            yield reading


def identity_of(connection: Connection) -> Identity:
    """Which database it is, as far as this role may know."""
    known = {"system_identifier": None, "timeline": None}
    if connection.scalar(sa.text(MAY_KNOW)):
        known = dict(connection.execute(sa.text(SYSTEM)).mappings().one())
    return Identity(oid=connection.scalar(sa.text(OID)), **known)


def position_of(connection: Connection, *, identity: Identity) -> Position:
    """Where the database stands."""
    sources, freshness = {}, []
    for row in connection.execute(sa.text(FRESHNESS)).mappings():
        facts = dict(row)
        sources[facts.pop("source_id")] = facts["source"]
        freshness.append(Freshness(**facts))
    prices = connection.execute(sa.text(PRICES))
    return Position(
        identity=identity,
        snapshot=current_snapshot(connection),
        sources=sources,
        prices={(source_id, day): digest for source_id, day, digest in prices},
        freshness=tuple(freshness),
    )


def months_of(
    connection: Connection, sources: Mapping[int, str], *, since: str | None
) -> tuple[Month, ...]:
    """All months of all relations; seen are those that snapshot `since` saw."""
    rows = connection.execute(sa.text(MONTHS), {"since": since}).mappings()
    return tuple(
        Month(source=sources[row["source_id"]], **row)
        for row in rows
        if row["source_id"] in sources
    )


def current_snapshot(connection: Connection) -> str:
    """The snapshot that a transaction reads."""
    return str(connection.scalar(sa.text("SELECT pg_current_snapshot()::text")))


def is_ahead(older: str, newer: str) -> bool:
    """Whether a snapshot has seen transactions that a later one does not know."""
    return _xmax(older) > _xmax(newer)


def _xmax(snapshot: str) -> int:
    found = XMIN_XMAX.match(snapshot)
    return int(found[2]) if found else 0


PATIENT = "SET LOCAL idle_in_transaction_session_timeout = 0"
"""Another connection reads rows, or a file is written; meanwhile this one is silent."""

MAY_KNOW = """
SELECT bool_and(has_function_privilege(name, 'EXECUTE'))
FROM unnest(ARRAY['pg_control_system()', 'pg_control_checkpoint()',
                  'pg_walfile_name(pg_lsn)', 'pg_current_wal_lsn()']) AS name
"""

SYSTEM = """
SELECT system_identifier::text,
       CASE WHEN pg_is_in_recovery() THEN (SELECT timeline_id FROM pg_control_checkpoint())
            ELSE ('x' || left(pg_walfile_name(pg_current_wal_lsn()), 8))::bit(32)::int
       END AS timeline
FROM pg_control_system()
"""
"""A server that took over knows its new timeline at once, its control file soon."""

OID = "SELECT oid::bigint FROM pg_database WHERE datname = current_database()"

FRESHNESS = """
SELECT source_id, source, kind, threads, threads_complete, threads_failing,
       threads_never_read, threads_gone, complete_through, newest_run_at
FROM run_analytics.freshness ORDER BY source
"""

MONTHS = """
SELECT relation, source_id, month::text AS day, change_xid::text AS change_xid,
       CASE WHEN CAST(:since AS pg_snapshot) IS NULL THEN false
            WHEN change_xid >= pg_snapshot_xmax(pg_current_snapshot()) THEN true
            WHEN change_xid < pg_snapshot_xmin(CAST(:since AS pg_snapshot)) THEN true
            ELSE pg_visible_in_snapshot(change_xid, CAST(:since AS pg_snapshot))
       END AS is_seen
FROM run_analytics.month_changes
ORDER BY relation, month_changes.month, source_id
"""
"""An id that lies ahead came with a dump of another server: nothing changed since."""

PRICES = """
WITH used AS (
    SELECT DISTINCT source_id, date_trunc('month', day)::date AS month, model
    FROM run_analytics.daily_usage WHERE model IS NOT NULL
), priced AS (
    SELECT source_id, model, valid_from, valid_to, concat_ws(chr(31),
               model, extract(epoch FROM valid_from), provider, price_model,
               trim_scale(input_usd_per_million), trim_scale(cached_input_usd_per_million),
               trim_scale(output_usd_per_million), price_origin) AS told
    FROM run_analytics.model_periods
), held AS (
    SELECT u.source_id, u.month, p.told,
           CASE WHEN p.valid_to < b.month_end THEN p.valid_to END AS until
    FROM used u
    CROSS JOIN LATERAL (
        SELECT u.month::timestamp AT TIME ZONE 'UTC' AS month_start,
               (u.month + interval '1 month') AT TIME ZONE 'UTC' AS month_end
    ) AS b
    JOIN priced p ON p.source_id = u.source_id AND p.model = u.model
        AND p.valid_from < b.month_end
        AND (p.valid_to IS NULL OR p.valid_to > b.month_start)
)
SELECT source_id, month::text,
       md5(string_agg(concat_ws(chr(31), told, extract(epoch FROM until)), chr(30)
                      ORDER BY told COLLATE "C", until))
FROM held GROUP BY source_id, month
"""
"""A price counts from its beginning; an end behind the month's does not."""
