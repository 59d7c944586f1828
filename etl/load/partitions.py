"""One partition of `runs` for each month, made before a batch needs it."""

from collections.abc import Iterable
from datetime import UTC, date, datetime

import psycopg
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from etl.domain.run import DAY, SECOND, Instant

FIRST_MONTH = date(2022, 1, 1)
"""Before this no real run can have been created."""

Month = date
"""The first day of a month."""


def month_of(created_at: Instant) -> Month:
    """The month a run belongs to, in UTC."""
    moment = datetime.fromtimestamp(created_at // SECOND, UTC)
    return date(moment.year, moment.month, 1)


class Partitions:
    """Knows which months have their partition, and makes the missing ones.

    An instant that no real run can have goes to the default partition; a month
    that comes true later takes its rows from there.
    """

    def __init__(self) -> None:
        self._known: set[Month] = set()

    def prepare(
        self, connection: Connection, created: Iterable[Instant], *, now: Instant
    ) -> None:
        """Make the partitions that runs created at these instants need."""
        latest = now + DAY
        days = {instant - instant % DAY for instant in created if instant <= latest}
        months = {month_of(Instant(day)) for day in days}
        for month in sorted(months - self._known):
            if month >= FIRST_MONTH:
                _create(connection, month)
            self._known.add(month)


def _create(connection: Connection, month: Month) -> None:
    """Make one partition in a transaction of its own; the migrations know how.

    A long query can hold the default partition; then the month's rows go there
    for now, and are taken over when the partition is made in a later sync. A server that
    waited for another process to make it may not have heard that it is there.
    """
    if _exists(connection, month):
        return
    try:
        with connection.begin():
            connection.execute(sa.text("SET LOCAL lock_timeout = '5s'"))
            connection.execute(sa.select(sa.func.run_sync.make_month(month)))
    except sa.exc.OperationalError as error:
        if not isinstance(error.orig, psycopg.errors.LockNotAvailable):
            raise
    except sa.exc.ProgrammingError as error:
        if not isinstance(error.orig, psycopg.errors.DuplicateTable):
            raise


def _exists(connection: Connection, month: Month) -> bool:
    name = f"run_history.runs_{month:%Y_%m}"
    with connection.begin():
        return connection.scalar(sa.select(sa.func.to_regclass(name))) is not None
