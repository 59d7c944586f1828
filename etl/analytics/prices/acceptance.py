"""Prices taken in, and what is worth telling whoever wrote them."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from etl.analytics.prices.changes import Written, prices_noted, take_away, write
from etl.analytics.prices.price import NEEDED, Price
from etl.domain.errors import ConfigError

IS_USED = sa.text(
    "SELECT EXISTS (SELECT FROM run_sync.sources WHERE price_provider = :provider)"
)


MAPPED = sa.text(
    """
    SELECT s.name, d.name, d.model
    FROM run_analytics.deployments d
    JOIN run_sync.sources s USING (source_id)
    JOIN unnest(CAST(:providers AS text[]), CAST(:models AS text[]))
        AS priced (provider, model)
        ON priced.provider = s.price_provider AND priced.model = d.name
    WHERE d.model <> d.name
    ORDER BY s.name, d.name
    """
)


class Mapped(NamedTuple):
    """A name that got a price, and that the configuration leads to another model."""

    source: str
    name: str
    model: str


class Gap(NamedTuple):
    """The kinds of tokens that keep a model unpriced, and until when; None is for ever."""

    provider: str
    model: str
    token_kinds: tuple[str, ...]
    until: datetime | None


@dataclass(frozen=True, slots=True)
class Accepted:
    """What was written, which models it leaves unpriced, and which prices count nowhere."""

    written: Written
    gaps: tuple[Gap, ...]
    unused_providers: tuple[str, ...]
    mapped: tuple[Mapped, ...]


@dataclass(frozen=True, slots=True)
class Withdrawn:
    """What was taken away, and which models that leaves without a whole price."""

    prices: tuple[Price, ...]
    gaps: tuple[Gap, ...]


def accept(connection: Connection, prices: Sequence[Price]) -> Accepted:
    """Write prices; raises ConfigError where two of them contradict each other."""
    written = write(connection, prices)
    providers = sorted({each.provider for each in prices})
    unused = tuple(each for each in providers if not _is_used(connection, each))
    return Accepted(written, _gaps(connection, prices), unused, _mapped(connection, prices))


def withdraw(
    connection: Connection, provider: str, model: str, since: datetime | None
) -> Withdrawn:
    """Take away what the user set; raises ConfigError where that is nothing."""
    gone = take_away(connection, provider, model, since)
    if not gone:
        begins = "" if since is None else f" that begins at {since:%Y-%m-%dT%H:%M:%SZ}"
        raise ConfigError(
            f"You set no price for {model!r} of {provider}{begins}; `runtide prices list"
            f" --all --csv` shows all with their origin."
        )
    return Withdrawn(tuple(gone), _gaps(connection, gone))


def _is_used(connection: Connection, provider: str) -> bool:
    return bool(connection.scalar(IS_USED, {"provider": provider}))


def _mapped(connection: Connection, prices: Sequence[Price]) -> tuple[Mapped, ...]:
    keys = sorted({(each.provider, each.model) for each in prices})
    values = {"providers": [key[0] for key in keys], "models": [key[1] for key in keys]}
    return tuple(Mapped(*row) for row in connection.execute(MAPPED, values))


def _gaps(connection: Connection, prices: Sequence[Price]) -> tuple[Gap, ...]:
    """The models of these prices that have some price, and not a whole one throughout."""
    touched = sorted({(each.provider, each.model) for each in prices})
    begins = {key: dict[str, datetime]() for key in touched}
    for each in prices_noted(connection):  # in order: the first one is the earliest
        kinds = begins.get((each.provider, each.model))
        if kinds is not None:
            kinds.setdefault(each.token_kind, each.effective_from)
    found = (_gap(*key, kinds) for key, kinds in begins.items() if kinds)
    return tuple(each for each in found if each is not None)


def _gap(provider: str, model: str, begins: dict[str, datetime]) -> Gap | None:
    missing = tuple(kind for kind in NEEDED if kind not in begins)
    if missing:
        return Gap(provider, model, missing, None)
    first, last = sorted(NEEDED, key=lambda kind: begins[kind])
    if begins[first] == begins[last]:
        return None
    return Gap(provider, model, (last,), begins[last])
