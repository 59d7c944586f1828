"""Reads a report's figures in one transaction, so that all of them agree."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime
from functools import cache
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from etl.analytics.report.period import Grain, Period, asked_period
from etl.analytics.report.questions import (
    DATED,
    FRESHNESS,
    KEPT,
    NEWEST_DAY,
    OTHERS,
    USAGE,
    Wording,
)
from etl.domain.errors import ConfigError
from etl.load.database import connected

MOST_ROWS = 40_000
"""Of one answer in a page; where there would be more, days become weeks, then months."""

MOST_STRETCHES = 800
"""More bars than that no chart can show beside each other."""

MOST_NAMES = 100
"""Models, and assistants, that are told apart where even months would be too many."""


Values = Mapping[str, Callable[[], Any]]
"""Parameters by name, each found by asking."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A statement as it was run, its parameters, and what the database answered."""

    sql: str
    parameters: Mapping[str, Any]
    columns: Sequence[str]
    rows: Sequence[tuple[Any, ...]]

    @property
    def dicts(self) -> list[dict[str, Any]]:
        """The rows with their columns' names."""
        return [dict(zip(self.columns, row, strict=True)) for row in self.rows]


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """Everything a report tells, as of one instant."""

    period: Period
    grain: Grain
    is_folded: bool
    generated_at: datetime
    answers: Mapping[str, Answer]

    @property
    def totals(self) -> dict[str, Any]:
        """The sums over the whole period; tokens and costs are None where no run is."""
        return self.answers["totals"].dicts[0]

    @property
    def sources(self) -> list[str]:
        """The names of the sources it is about."""
        return [row["source"] for row in self.answers["freshness"].dicts]


@contextmanager
def _snapshot(engine: Engine) -> Iterator[Connection]:
    reading = engine.execution_options(
        isolation_level="REPEATABLE READ", postgresql_readonly=True
    )
    with connected(reading) as connection:
        yield connection


def read_report(
    engine: Engine,
    first_day: date | None = None,
    last_day: date | None = None,
    *,
    source: str | None = None,
    at: datetime,
    most_rows: int = MOST_ROWS,
) -> Report:
    """Read a report; `at` is now. Raises ConfigError where no source has that name."""
    with _snapshot(engine) as connection:
        period = _period(connection, first_day, last_day, source, at.date())
        wording, dated = _dated(connection, period, most_rows)
        values = _values(connection, period, wording)
        others = {
            name: _answer(connection, sql, wording, values) for name, sql in OTHERS.items()
        }
    return Report(
        period=period,
        grain=wording.grain,
        is_folded=wording.is_folded,
        generated_at=at,
        answers=dated | others,
    )


def read_usage(
    engine: Engine,
    first_day: date | None = None,
    last_day: date | None = None,
    *,
    source: str | None = None,
    at: datetime,
) -> Answer:
    """Tokens and costs by day, source, model and assistant, however many rows that is."""
    with _snapshot(engine) as connection:
        period = _period(connection, first_day, last_day, source, at.date())
        wording = Wording(has_source=source is not None)
        values = _values(connection, period, wording)
        return _answer(connection, USAGE, wording, values)


def _period(
    connection: Connection,
    first_day: date | None,
    last_day: date | None,
    source: str | None,
    today: date,
) -> Period:
    _check_source(connection, source)
    statement = NEWEST_DAY.format(**Wording(has_source=source is not None).parts)
    asked = {"today": today, "source": source}
    return asked_period(
        first_day,
        last_day,
        newest_day=connection.scalar(sa.text(statement), asked),
        today=today,
        source=source,
    )


def _check_source(connection: Connection, source: str | None) -> None:
    every = sa.text(FRESHNESS.format(**Wording().parts))
    known = [row.source for row in connection.execute(every)]
    if source is None or source in known:
        return
    there = f"it has {', '.join(known)}" if known else "it has none yet"
    raise ConfigError(f"The database has no source {source!r}; {there}.")


def _dated(
    connection: Connection, period: Period, most_rows: int
) -> tuple[Wording, dict[str, Answer]]:
    """The answers by day or, where those are too many, by week or month."""
    *finer, coarsest = _wordings(period)
    for wording in finer:
        if len(period.starts(wording.grain)) > MOST_STRETCHES:
            continue
        values = _values(connection, period, wording)
        answers: dict[str, Answer] = {}
        for name, sql in DATED.items():
            answers[name] = _answer(connection, sql, wording, values)
            if len(answers[name].rows) > most_rows:
                break
        else:
            return wording, answers
    values = _values(connection, period, coarsest)
    return coarsest, {
        name: _answer(connection, sql, coarsest, values) for name, sql in DATED.items()
    }


def _wordings(period: Period) -> list[Wording]:
    """From the finest to the coarsest."""
    has_source = period.source is not None
    grains = [Wording(grain=grain, has_source=has_source) for grain in Grain]
    coarsest = Wording(grain=Grain.MONTH, is_folded=True, has_source=has_source)
    return [*grains, coarsest]


def _answer(connection: Connection, sql: str, wording: Wording, values: Values) -> Answer:
    statement = sa.text(sql.format(**wording.parts))
    parameters = {name: values[name]() for name in statement.compile().params}
    result = connection.execute(statement, parameters)
    return Answer(statement.text, parameters, list(result.keys()), _tuples(result))


def _tuples(result: sa.CursorResult[Any]) -> list[tuple[Any, ...]]:
    return [tuple(row) for row in result]


def _values(connection: Connection, period: Period, wording: Wording) -> Values:
    """What statements may ask for, found when the first of them does."""
    return {
        "first_day": lambda: period.first_day,
        "last_day": lambda: period.last_day,
        "begins_at": lambda: period.begins_at,
        "ends_at": lambda: period.ends_at,
        "source": lambda: period.source,
        "kept_models": cache(lambda: _kept(connection, "model", period, wording)),
        "kept_assistants": cache(
            lambda: _kept(connection, "assistant_id", period, wording)
        ),
    }


def _kept(
    connection: Connection, column: str, period: Period, wording: Wording
) -> list[str]:
    statement = KEPT.format(column=column, of_source=wording.parts["of_source"])
    asked = {
        "first_day": period.first_day,
        "last_day": period.last_day,
        "source": period.source,
        "most": MOST_NAMES,
    }
    return list(connection.scalars(sa.text(statement), asked))
