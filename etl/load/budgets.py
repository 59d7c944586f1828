"""The timeline of a source's requests: one row, moved on by the database's clock."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.engine import Connection, Engine

from etl.domain.batch import SourceId
from etl.domain.reservation import Reservation
from etl.load.database import connected, translated
from etl.load.tables import budgets

AT_ONCE_SECONDS = 0.25
"""At most so much is reserved at once: little is lost with a process that dies."""

SECONDS_TO_RECOVER = 300.0
"""How long the pace takes to grow from nothing to the whole budget."""

SECONDS_BETWEEN_CUTS = 1.0
"""Refusals that come together are one: all processes had asked at the same pace."""

LEAST_SHARE = 1 / 64

_NOW = """
WITH locked AS MATERIALIZED (
    SELECT * FROM run_sync.budgets WHERE source_id = :source_id FOR UPDATE
), moment AS MATERIALIZED (
    SELECT *, coalesce(CAST(:now AS timestamptz), clock_timestamp()) AS now FROM locked
), righted AS MATERIALIZED (
    SELECT source_id, now, share,
        greatest(now, free_at - greatest(written_at - now, interval '0')) AS free_at,
        CASE WHEN cut_at > now THEN now ELSE cut_at END AS cut_at
    FROM moment
), state AS MATERIALIZED (
    SELECT source_id, now, free_at, cut_at, least(1, share + coalesce(
        CAST(extract(epoch FROM now - cut_at) AS float8) / :to_recover, 0)) AS share
    FROM righted
)"""
"""The row as it is now, by a clock that is asked behind the row's lock: so nobody's now
is earlier than that of whoever came before. Where the clock was set back, what is reserved
goes back with it, and the share begins to grow anew."""

_RESERVE = sa.text(
    _NOW  # noqa: S608  # parts of our own
    + """, paced AS MATERIALIZED (
    SELECT *, CAST(:spacing AS float8) / share AS spacing FROM state
), taken AS MATERIALIZED (
    SELECT *, least(:wanted, greatest(1, floor(:at_once / spacing))) AS number FROM paced
)
UPDATE run_sync.budgets b
SET free_at = taken.free_at
        + make_interval(secs => ceil(taken.number * taken.spacing * 1e6) / 1e6),
    written_at = taken.now,
    cut_at = taken.cut_at
FROM taken
WHERE b.source_id = taken.source_id
RETURNING CAST(taken.number AS int) AS count,
    CAST(extract(epoch FROM taken.free_at - taken.now) AS float8) + taken.spacing
        AS first_in_seconds,
    taken.spacing AS spacing_seconds"""
)

_SLOW_DOWN = sa.text(
    _NOW  # noqa: S608  # parts of our own
    + """, told AS MATERIALIZED (
    SELECT *, coalesce(now - cut_at >= make_interval(secs => :between), true) AS is_first
    FROM state
)
UPDATE run_sync.budgets b
SET free_at = greatest(told.free_at, told.now + make_interval(secs => :pause)),
    written_at = told.now,
    share = CASE WHEN told.is_first THEN greatest(:least, told.share / 2)
                 ELSE b.share END,
    cut_at = CASE WHEN told.is_first THEN told.now ELSE told.cut_at END
FROM told
WHERE b.source_id = told.source_id
RETURNING b.source_id"""
)


class Timeline:
    """A source's requests over one connection, by one worker at a time.

    Whatever it writes is of use for a moment only, so nothing waits for the disk: a
    server that crashes takes longer to come back than what it may have lost lasts.
    """

    def __init__(
        self, connection: Connection, source_id: SourceId, *, spacing_seconds: float
    ) -> None:
        self._connection = connection
        self._source_id = source_id
        self._spacing = spacing_seconds

    def reserve(self, wanted: int, *, now: datetime | None = None) -> Reservation:
        """Reserve what comes next, at least one request and at most so many.

        `now` stands for the database's clock. Raises DatabaseError.
        """
        facts = {"wanted": wanted, "spacing": self._spacing, "at_once": AT_ONCE_SECONDS}
        return Reservation(**self._move(_RESERVE, now, facts))

    def slow_down(self, pause: float, *, now: datetime | None = None) -> None:
        """Halve the pace, once a second; reserve nothing for `pause` seconds.

        `now` stands for the database's clock. Raises DatabaseError.
        """
        cut = {"between": SECONDS_BETWEEN_CUTS, "least": LEAST_SHARE}
        self._move(_SLOW_DOWN, now, cut | {"pause": pause})

    def _move(
        self, statement: sa.TextClause, now: datetime | None, facts: dict[str, float]
    ) -> dict[str, Any]:
        """Move the row on, and make it first where there is none."""
        told = {"source_id": self._source_id, "now": now, "to_recover": SECONDS_TO_RECOVER}
        with translated(self._connection.engine.url):
            while True:
                with self._connection.begin():
                    moved = self._connection.execute(statement, told | facts)
                    row = moved.mappings().one_or_none()
                    if row is not None:
                        return dict(row)
                    self._connection.execute(_first(self._source_id, now))


def _first(source_id: SourceId, now: datetime | None) -> sa.Insert:
    """The row of a source that was not asked yet: nothing is saved up."""
    moment = sa.func.coalesce(now, sa.func.clock_timestamp())
    facts = {"source_id": source_id, "free_at": moment, "written_at": moment}
    return insert(budgets).values(facts).on_conflict_do_nothing()


@contextmanager
def timeline(
    engine: Engine, source_id: SourceId, *, spacing_seconds: float
) -> Iterator[Timeline]:
    """The timeline of a source's requests, over a connection of its own."""
    with connected(engine) as connection:
        connection.execution_options(isolation_level="AUTOCOMMIT")
        connection.detach()  # as nobody else may have what is set here
        with connection.begin():
            connection.execute(sa.text("SET synchronous_commit = off"))
        yield Timeline(connection, source_id, spacing_seconds=spacing_seconds)
