"""What prices need a person for: models without one, names that lead nowhere."""

from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import NamedTuple

import sqlalchemy as sa
from sqlalchemy.engine import Connection

UNPRICED = sa.text(
    """
    SELECT source, model, provider, unpriced_runs, total_tokens, first_day, last_day
    FROM run_analytics.unpriced_models
    ORDER BY source, model NULLS LAST
    """
)

DEAD_ENDS = sa.text(
    """
    SELECT s.name, d.name, d.model, s.price_provider
    FROM run_analytics.deployments d
    JOIN run_sync.sources s USING (source_id)
    WHERE NOT EXISTS (
        SELECT FROM run_analytics.find_model(s.price_provider, d.model) AS found
        JOIN run_analytics.price_periods p
            ON p.provider = s.price_provider AND p.model = found.model
    )
    ORDER BY s.name, d.name
    """
)

REPEATED = sa.text(
    """
    SELECT u.provider, u.model, u.token_kind, u.usd_per_million, u.effective_from,
           seeded.origin
    FROM run_analytics.model_prices u
    CROSS JOIN LATERAL (
        SELECT p.origin, p.usd_per_million
        FROM run_analytics.model_prices p
        WHERE p.provider = u.provider AND p.model = u.model AND p.token_kind = u.token_kind
            AND p.origin <> 'user' AND p.effective_from <= u.effective_from
        ORDER BY p.effective_from DESC, p.origin DESC
        LIMIT 1
    ) AS seeded
    WHERE u.origin = 'user' AND seeded.usd_per_million = u.usd_per_million
    ORDER BY u.provider, u.model, u.token_kind, u.effective_from
    """
)


class UnpricedModel(NamedTuple):
    """A model that used tokens on days without a known price; None is no model at all."""

    source: str
    model: str | None
    provider: str
    unpriced_runs: int
    total_tokens: int
    first_day: date
    last_day: date


class DeadEnd(NamedTuple):
    """A name that the configuration maps to a model without a price."""

    source: str
    name: str
    model: str
    provider: str


class Repetition(NamedTuple):
    """A price of the user that says what another origin says as well."""

    provider: str
    model: str
    token_kind: str
    usd_per_million: Decimal
    effective_from: datetime
    origin: str


@dataclass(frozen=True, slots=True)
class Review:
    """What was found; repetitions need nobody."""

    unpriced: tuple[UnpricedModel, ...]
    dead_ends: tuple[DeadEnd, ...]
    repetitions: tuple[Repetition, ...]

    @property
    def needs_a_person(self) -> bool:
        """Whether a cost is missing, or a name leads nowhere."""
        return bool(self.unpriced or self.dead_ends)


def review(connection: Connection) -> Review:
    """Look for what keeps runs without a cost."""
    return Review(
        tuple(_unpriced(*row) for row in connection.execute(UNPRICED)),
        tuple(DeadEnd(*row) for row in connection.execute(DEAD_ENDS)),
        tuple(Repetition(*row) for row in connection.execute(REPEATED)),
    )


def _unpriced(
    source: str,
    model: str | None,
    provider: str,
    runs: int,
    tokens: Decimal,
    *days: date,
) -> UnpricedModel:
    """Tokens are added up as numeric, for servers make up more than a bigint holds."""
    return UnpricedModel(source, model, provider, runs, int(tokens), *days)
