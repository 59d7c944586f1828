"""The prices that hold, by the names that runs carry or by the models that have them."""

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import NamedTuple

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from etl.analytics.prices.changes import prices_noted
from etl.analytics.prices.price import Price
from etl.domain.errors import ConfigError

CARRIED = sa.text(
    """
    WITH carried AS (
        SELECT m.source, m.model, m.provider, m.price_model, m.found_by, u.runs
        FROM run_analytics.priced_models m
        JOIN (SELECT source_id, model, sum(runs)::bigint AS runs
              FROM run_analytics.daily_usage GROUP BY source_id, model) AS u
            USING (source_id, model)
    ), wanted AS (
        SELECT * FROM carried
        WHERE cardinality(CAST(:names AS text[])) = 0
            OR model = ANY(:names) OR price_model = ANY(:names)
        UNION ALL
        SELECT NULL, asked.name, known.provider, found.model, found.found_by, 0
        FROM unnest(CAST(:names AS text[])) AS asked (name)
        CROSS JOIN (SELECT DISTINCT provider FROM run_analytics.model_prices) AS known
        CROSS JOIN LATERAL run_analytics.find_model(known.provider, asked.name) AS found
        WHERE NOT EXISTS (SELECT FROM carried
                          WHERE model = asked.name OR price_model = asked.name)
    )
    SELECT w.source, w.model, w.provider, w.price_model, w.found_by, w.runs,
           p.input_usd_per_million, p.cached_input_usd_per_million,
           p.output_usd_per_million, p.valid_from, p.price_origin
    FROM wanted w
    LEFT JOIN run_analytics.price_periods p
        ON p.provider = w.provider AND p.model = w.price_model
        AND p.valid_from <= :at AND (p.valid_to IS NULL OR p.valid_to > :at)
    ORDER BY w.source NULLS LAST, w.model, w.provider
    """
)

PERIODS = sa.text(
    """
    SELECT provider, model, valid_from, valid_to, input_usd_per_million,
           cached_input_usd_per_million, output_usd_per_million, price_origin
    FROM run_analytics.price_periods
    UNION ALL
    SELECT DISTINCT provider, model, NULL::timestamptz, NULL::timestamptz, NULL::numeric,
           NULL::numeric, NULL::numeric, NULL
    FROM run_analytics.model_prices m
    WHERE NOT EXISTS (SELECT FROM run_analytics.price_periods p
                      WHERE p.provider = m.provider AND p.model = m.model)
    ORDER BY provider, model, valid_from
    """
)

FOUND = sa.text(
    """
    SELECT asked.name, found.model
    FROM unnest(CAST(:names AS text[])) AS asked (name)
    CROSS JOIN (SELECT DISTINCT provider FROM run_analytics.model_prices) AS known
    CROSS JOIN LATERAL run_analytics.find_model(known.provider, asked.name) AS found
    """
)


class NamePrice(NamedTuple):
    """A name that runs carry, the model it stands for, and the price that holds.

    A name that no run carries has no source. Prices are null where none is known.
    """

    source: str | None
    model: str
    provider: str
    price_model: str | None
    found_by: str | None
    runs: int
    input_usd_per_million: Decimal | None
    cached_input_usd_per_million: Decimal | None
    output_usd_per_million: Decimal | None
    since: datetime | None
    origin: str | None


class Period(NamedTuple):
    """What a model costs from one change of price to the next; all null if unpriced."""

    provider: str
    model: str
    since: datetime | None
    until: datetime | None
    input_usd_per_million: Decimal | None
    cached_input_usd_per_million: Decimal | None
    output_usd_per_million: Decimal | None
    origin: str | None


def names_and_prices(
    connection: Connection, names: Sequence[str], at: datetime
) -> list[NamePrice]:
    """The names that runs carry, or those that are asked for, with the price at a moment.

    Raises ConfigError for a name that neither runs nor prices know.
    """
    rows = connection.execute(CARRIED, {"names": list(names), "at": at})
    found = [NamePrice(*row) for row in rows]
    known = {each.model for each in found} | {each.price_model for each in found}
    _refuse_unknown([name for name in names if name not in known])
    return found


def periods(
    connection: Connection, names: Sequence[str], at: datetime | None
) -> list[Period]:
    """Every priced model, or those that are asked for, with all periods or the one at `at`.

    Raises ConfigError for a name that has no price.
    """
    models = _models(connection, names)
    found = [Period(*row) for row in connection.execute(PERIODS)]
    return [each for each in found if _is_wanted(each, models, at)]


def prices_of(connection: Connection, names: Sequence[str]) -> list[Price]:
    """Every single price, or those of the models that are asked for."""
    models = _models(connection, names)
    return [
        each for each in prices_noted(connection) if models is None or each.model in models
    ]


def _models(connection: Connection, names: Sequence[str]) -> set[str] | None:
    """The models that names stand for; None is all of them."""
    if not names:
        return None
    found = dict(map(tuple, connection.execute(FOUND, {"names": list(names)})))
    _refuse_unknown([name for name in names if name not in found])
    return set(found.values())


def _is_wanted(period: Period, models: set[str] | None, at: datetime | None) -> bool:
    if models is not None and period.model not in models:
        return False
    if at is None:
        return True
    if period.since is None or period.since > at:
        return False
    return period.until is None or at < period.until


def _refuse_unknown(names: Sequence[str]) -> None:
    if names:
        raise ConfigError(
            f"No run carries {names[0]!r}, and no price is known for it; `runtide prices"
            " list --all` lists the models that have one."
        )
