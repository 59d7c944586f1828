"""What runs cost by source, model and day, and how two such accounts differ by month."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from decimal import Decimal
from itertools import groupby
from typing import NamedTuple

import sqlalchemy as sa
from sqlalchemy.engine import Connection

COSTS = sa.text(
    """
    SELECT c.source, c.model, c.day, sum(c.runs)::bigint,
           sum(c.unpriced_runs)::bigint, sum(c.cost_usd)
    FROM run_analytics.daily_costs c
    JOIN run_sync.sources s USING (source_id)
    WHERE s.price_provider = ANY(:providers)
    GROUP BY 1, 2, 3
    ORDER BY 1, 2 NULLS LAST, 3
    """
)

Key = tuple[str, str | None, date]
"""A source, a model by the name its runs carry, and a day."""


class Cost(NamedTuple):
    """What runs cost; null where none of them has a price."""

    runs: int
    unpriced_runs: int
    cost_usd: Decimal | None


class Difference(NamedTuple):
    """What a model's runs cost before and after, on those days of a month that differ."""

    source: str
    model: str | None
    month: date
    before: Cost
    after: Cost

    @property
    def usd(self) -> Decimal:
        """By how much it grew."""
        return (self.after.cost_usd or Decimal(0)) - (self.before.cost_usd or Decimal(0))


def costs_by_day(connection: Connection, providers: Sequence[str]) -> dict[Key, Cost]:
    """The costs of all sources that have the prices of some providers."""
    rows = connection.execute(COSTS, {"providers": list(providers)})
    return {(row[0], row[1], row[2]): Cost(*row[3:]) for row in rows}


def compared(
    before: Mapping[Key, Cost], after: Mapping[Key, Cost]
) -> tuple[Difference, ...]:
    """The months with days that differ; both accounts are of the same runs."""
    days = [key for key, cost in after.items() if cost != before[key]]
    return tuple(
        Difference(*month, _total(before, found), _total(after, found))
        for month, found in ((month, list(each)) for month, each in groupby(days, _month))
    )


def _month(key: Key) -> Key:
    source, model, day = key
    return source, model, day.replace(day=1)


def _total(costs: Mapping[Key, Cost], days: Iterable[Key]) -> Cost:
    return total(costs[day] for day in days)


def total(costs: Iterable[Cost]) -> Cost:
    """All costs together."""
    told = list(costs)
    known = [each.cost_usd for each in told if each.cost_usd is not None]
    return Cost(
        runs=sum(each.runs for each in told),
        unpriced_runs=sum(each.unpriced_runs for each in told),
        cost_usd=sum(known, Decimal(0)) if known else None,
    )
