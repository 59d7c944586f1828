"""When a thread was active, in the many ways that databases tell it."""

from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

MOST_SECONDS = 100_000_000_000
"""Numbers beyond are milliseconds: as seconds they would lie in the year 5138."""

EARLIEST = datetime(1970, 1, 2, tzinfo=UTC)


def as_activity(value: Any) -> datetime | None:
    """The instant that a database's value is; None where it is none.

    What has no zone is UTC. A day without a time is over at its end: what happened on it
    may have happened then. Numbers are seconds of the epoch, or milliseconds.
    """
    try:
        found = _instant(value)
    except (ValueError, OverflowError, ArithmeticError, OSError):
        return None
    return found if found is not None and found >= EARLIEST else None


def _instant(value: Any) -> datetime | None:
    match value:
        case bool():
            return None
        case datetime():
            return value.astimezone(UTC) if value.tzinfo else value.replace(tzinfo=UTC)
        case date():
            return datetime.combine(value, time(), UTC) + timedelta(days=1)
        case int() | float() | Decimal():
            return _of_epoch(float(value))
        case str():
            return _of_text(value.strip())
        case _:
            return None


def _of_epoch(number: float) -> datetime:
    seconds = number / 1_000 if abs(number) >= MOST_SECONDS else number
    return datetime.fromtimestamp(seconds, UTC)


def _of_text(text: str) -> datetime | None:
    """ISO 8601 as any database writes it, or a number."""
    if text.replace(".", "", 1).isdecimal():
        return _of_epoch(float(text))
    if len(text) == len("2026-11-20"):
        return _instant(date.fromisoformat(text))
    return _instant(datetime.fromisoformat(text))
