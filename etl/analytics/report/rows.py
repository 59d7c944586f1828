"""The report for programs: its rows as CSV, all of its figures as JSON."""

import csv
import io
import json
from collections.abc import Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

from etl.analytics.report.reading import Answer, Report


def csv_lines(answer: Answer) -> Iterator[str]:
    """A line of headings, then one for each row; nothing stands for null."""
    yield _line(answer.columns)
    for row in answer.rows:
        yield _line([exactly(value) for value in row])


def _line(values: Any) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(values)
    return text.getvalue()


def as_json(report: Report) -> str:
    """Everything that the page shows; numbers with decimals are texts, and exact."""
    told = {
        "generated_at": report.generated_at,
        "period": {
            "first_day": report.period.first_day,
            "last_day": report.period.last_day,
            "source": report.period.source,
            "grain": report.grain.value,
            "has_others": report.is_folded,
        },
        "totals": report.totals,
        "answers": {
            name: {
                "sql": answer.sql,
                "parameters": dict(answer.parameters),
                "rows": answer.dicts,
            }
            for name, answer in report.answers.items()
        },
    }
    return json.dumps(_in_json(told), indent=1) + "\n"


def _in_json(value: Any) -> Any:
    match value:
        case dict():
            return {key: _of_column(key, each) for key, each in value.items()}
        case list():
            return [_in_json(each) for each in value]
        case _:
            return exactly(value)


def _of_column(column: str, value: Any) -> Any:
    """Token sums are numeric in Postgres, and whole numbers all the same."""
    if isinstance(value, Decimal) and column.endswith("_tokens"):
        return int(value)
    return _in_json(value)


def exactly(value: Any) -> Any:
    """A value as text where JSON and CSV could not tell it exactly."""
    match value:
        case Decimal():
            return f"{value:f}"
        case datetime():
            return value.astimezone(UTC).isoformat()
        case date():
            return value.isoformat()
        case _:
            return value
