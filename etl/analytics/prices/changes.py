"""A change of prices, applied or only tried, and what the runs cost before and after it."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import Any, Generic, TypeVar

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.engine import Connection, Engine

from etl.analytics.prices.costs import Difference, compared, costs_by_day
from etl.analytics.prices.price import USER, Price
from etl.domain.errors import ConfigError
from etl.load.database import connected
from etl.load.tables import model_prices

LOCK = "LOCK TABLE run_analytics.model_prices IN SHARE ROW EXCLUSIVE MODE"
COLUMNS = [model_prices.c[name] for name in Price.__dataclass_fields__]
KEY = [column.name for column in model_prices.primary_key]

Done = TypeVar("Done")
Change = Callable[[Connection], Done]
"""Changes prices, within the caller's transaction, and answers what it did."""


@dataclass(frozen=True, slots=True)
class Effect(Generic[Done]):
    """What a change did, and how it changed costs."""

    done: Done
    costs: tuple[Difference, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """How many of the prices that were named are new, are changed, were so already.

    `left` are those of other origins that were named just as they stand.
    """

    added: int
    changed: int
    unchanged: int
    left: int


def applied(engine: Engine, providers: Sequence[str], change: Change[Done]) -> Effect[Done]:
    """Change prices of some providers, and answer what that did to costs."""
    with _alone(engine) as connection, connection.begin():
        connection.exec_driver_sql(LOCK)
        return _effect(connection, providers, change)


def tried(engine: Engine, providers: Sequence[str], change: Change[Done]) -> Effect[Done]:
    """Answer what a change would do to costs; nothing of it is written."""
    with _alone(engine) as connection, connection.begin() as transaction:
        connection.exec_driver_sql(LOCK)
        try:
            return _effect(connection, providers, change)
        finally:
            transaction.rollback()


def write(connection: Connection, prices: Sequence[Price]) -> Written:
    """Make prices the user's, and leave alone what stands there already.

    Raises ConfigError where two of them say different things of the same.
    """
    present = {(*each.key, each.origin): each for each in prices_noted(connection)}
    left = [each for each in prices if _stands(each, present) and each.origin != USER]
    mine = [_of_user(each) for each in prices if each not in left]
    _refuse_two_words(mine)
    unchanged = [each for each in mine if _stands(each, present)]
    due = [each for each in mine if each not in unchanged]
    changed = sum((*each.key, USER) in present for each in due)
    _upsert(connection, due)
    return Written(
        added=len(due) - changed,
        changed=changed,
        unchanged=len(unchanged),
        left=len(left),
    )


def take_away(
    connection: Connection, provider: str, model: str, since: datetime | None
) -> list[Price]:
    """Delete what the user set for a model, or what begins at an instant; answer it."""
    mine = [
        model_prices.c.provider == provider,
        model_prices.c.model == model,
        model_prices.c.origin == USER,
    ]
    if since is not None:
        mine.append(model_prices.c.effective_from == since)
    gone = connection.execute(sa.delete(model_prices).where(*mine).returning(*COLUMNS))
    return sorted(map(_price, gone), key=lambda price: price.key)


def prices_noted(connection: Connection) -> list[Price]:
    """Every price of every origin: by provider, model, kind and beginning."""
    statement = sa.select(*COLUMNS).order_by(*(model_prices.c[name] for name in KEY))
    return list(map(_price, connection.execute(statement)))


@contextmanager
def _alone(engine: Engine) -> Iterator[Connection]:
    """A connection whose transactions see one state of the runs from first to last.

    The lock comes before that state is fixed, and lets others read meanwhile.
    """
    with connected(engine) as connection:
        yield connection.execution_options(isolation_level="REPEATABLE READ")


def _effect(
    connection: Connection, providers: Sequence[str], change: Change[Done]
) -> Effect[Done]:
    before = costs_by_day(connection, providers)
    done = change(connection)
    return Effect(done, compared(before, costs_by_day(connection, providers)))


def _stands(price: Price, present: dict[tuple[Any, ...], Price]) -> bool:
    found = present.get((*price.key, price.origin))
    return found is not None and found.usd_per_million == price.usd_per_million


def _of_user(price: Price) -> Price:
    return replace(price, origin=USER)


def _refuse_two_words(prices: Sequence[Price]) -> None:
    told: dict[tuple[Any, ...], Price] = {}
    for each in prices:
        other = told.setdefault(each.key, each)
        if other.usd_per_million != each.usd_per_million:
            raise ConfigError(
                f"There are two prices for {each.token_kind} tokens of {each.model} from"
                f" {each.effective_from:%Y-%m-%d} on, {other.usd_per_million:f} and"
                f" {each.usd_per_million:f}; leave one of them out."
            )


def _upsert(connection: Connection, prices: Sequence[Price]) -> None:
    statement = insert(model_prices)
    new = {"usd_per_million": statement.excluded.usd_per_million}
    if prices:
        connection.execute(
            statement.on_conflict_do_update(index_elements=KEY, set_=new),
            [asdict(each) for each in prices],
        )


def _price(row: Any) -> Price:
    return Price(**row._asdict())
