"""A report's figures as the page holds them: short rows, and money in whole units."""

import json
from collections.abc import Iterable
from datetime import UTC, date, datetime
from decimal import Decimal
from fractions import Fraction
from typing import Any

from etl.analytics.report.period import label
from etl.analytics.report.reading import Answer, Report

KEYS = ("day", "source", "model", "assistant_id", "thread_id")
"""Columns whose values repeat; a row holds their places in a list of names."""

IN_PAGE = (
    "usage",
    "waste",
    "failures",
    "messages",
    "latency",
    "threads",
    "growth",
    "tools",
)
FEWEST_DECIMALS = 6
LARGEST_EXACT = 2**53
"""Beyond it a browser's numbers skip some."""


def embedded(report: Report) -> str:
    """The figures as JSON that may stand inside of a script element.

    Money is a text of whole units of 10^-decimals US dollars, which the page adds up
    exactly. No character of it can end the element or begin a comment.
    """
    names: dict[str, dict[Any, int]] = {key: {} for key in KEYS}
    decimals = _decimals(report)
    for start in report.period.starts(report.grain):
        names["day"].setdefault(start.isoformat(), len(names["day"]))
    tables = {name: _table(report.answers[name], names, decimals) for name in IN_PAGE}
    told = {
        "grain": report.grain.value,
        "labels": {
            start.isoformat(): label(start, report.grain, report.period)
            for start in report.period.starts(report.grain)
        },
        "decimals": decimals,
        "names": {key: list(places) for key, places in names.items()},
        "tables": tables,
    }
    text = json.dumps(told, ensure_ascii=True, separators=(",", ":"), allow_nan=False)
    for harmful in "<>&":
        text = text.replace(harmful, f"\\u{ord(harmful):04x}")
    return text


def _decimals(report: Report) -> int:
    """As many as the longest of the costs has."""
    return max(
        FEWEST_DECIMALS,
        *(
            -int(value.as_tuple().exponent)
            for answer in report.answers.values()
            for value in _costs(answer)
        ),
    )


def _costs(answer: Answer) -> Iterable[Decimal]:
    places = [n for n, column in enumerate(answer.columns) if column.endswith("cost_usd")]
    return (row[place] for row in answer.rows for place in places if row[place] is not None)


def _table(
    answer: Answer, names: dict[str, dict[Any, int]], decimals: int
) -> dict[str, Any]:
    rows = [
        [
            _in_page(column, value, names, decimals)
            for column, value in zip(answer.columns, row, strict=True)
        ]
        for row in answer.rows
    ]
    return {"columns": list(answer.columns), "rows": rows}


def _in_page(
    column: str, value: Any, names: dict[str, dict[Any, int]], decimals: int
) -> Any:
    if column in KEYS:
        text = value.isoformat() if isinstance(value, date) else value
        return names[column].setdefault(text, len(names[column]))
    if value is None:
        return None
    if column.endswith("cost_usd"):
        return str(int(Fraction(value) * 10**decimals))
    return _plain(value)


def _plain(value: Any) -> Any:
    """A value in JSON: counts are whole numbers, instants in UTC."""
    match value:
        case Decimal() if value != value.to_integral_value():
            return float(value)
        case Decimal() | int():
            return _count(int(value))
        case datetime():
            return value.astimezone(UTC).isoformat(timespec="seconds")
        case _:
            return value


def _count(number: int) -> int | str:
    return number if abs(number) <= LARGEST_EXACT else str(number)
