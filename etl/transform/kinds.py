"""How one JSON value becomes one column, and the way back.

A kind reads a value without ever failing: it answers the column's value and
whether `restore` gives the JSON value back exactly. What is not exact stays in
`extra` as well, so nothing is dropped.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from etl.domain.published import BIGINT, MOST_SECONDS
from etl.domain.run import SECOND
from etl.transform.json_text import dump, load

Json = Any
"""A decoded JSON value: None, bool, int, float, str, list or dict."""

LAST_INSTANT = 253_402_300_800 * SECOND  # the year 10000, where datetime ends


@dataclass(frozen=True, slots=True)
class Kind:
    """A pair of inverse functions between a JSON value and a column."""

    read: Callable[[Json], tuple[Any, bool]]
    restore: Callable[[Any], Json]


def _unchanged(value: Any) -> Json:
    return value


def _read_text(value: Json) -> tuple[str | None, bool]:
    if isinstance(value, str):
        return value, True
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value), False
    return None, False


def _read_integer(value: Json) -> tuple[int | None, bool]:
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        return None, False
    return (value, True) if -BIGINT <= value < BIGINT else (None, False)


def _read_real(value: Json) -> tuple[float | None, bool]:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None, False
    try:
        real = float(value)
    except OverflowError:
        return None, False
    return (real, real == value) if math.isfinite(real) else (None, False)


def _read_flag(value: Json) -> tuple[bool | None, bool]:
    return (value, True) if isinstance(value, bool) else (None, False)


def _read_texts(value: Json) -> tuple[tuple[str, ...] | None, bool]:
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return tuple(value), True
    return None, False


def _read_object(value: Json) -> tuple[str | None, bool]:
    return (dump(value), True) if isinstance(value, dict) else (None, False)


def _read_instant(value: Json) -> tuple[int | None, bool]:
    if isinstance(value, str):
        return _instant_of_text(value), False
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None, False
    if not 0 < value < math.inf:  # an int may be too large for math.isfinite
        return None, False
    instant = _microseconds(value)
    if instant >= LAST_INSTANT:
        return None, False
    return instant, restore_instant(instant) == value


def _microseconds(value: float) -> int:
    unit = SECOND
    while value >= MOST_SECONDS * SECOND // unit and unit > 1:
        unit //= 1000
    if value >= MOST_SECONDS * SECOND:
        return int(value) // 1000
    return value * unit if isinstance(value, int) else round(value * unit)


def _instant_of_text(text: str) -> int | None:
    try:
        moment = datetime.fromisoformat(text)
        elapsed = moment.replace(tzinfo=moment.tzinfo or UTC) - EPOCH
    except (ValueError, OverflowError):
        return None
    instant = (elapsed.days * 86_400 + elapsed.seconds) * SECOND + elapsed.microseconds
    return instant if instant > 0 else None


EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def restore_instant(instant: int) -> Json:
    """Microseconds as Unix seconds: whole ones as an integer."""
    seconds, rest = divmod(instant, SECOND)
    return instant / SECOND if rest else seconds


TEXT = Kind(_read_text, _unchanged)
INTEGER = Kind(_read_integer, _unchanged)
REAL = Kind(_read_real, _unchanged)
FLAG = Kind(_read_flag, _unchanged)
TEXTS = Kind(_read_texts, list)
OBJECT = Kind(_read_object, load)
INSTANT = Kind(_read_instant, restore_instant)
