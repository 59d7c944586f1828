"""Split a JSON object into columns and a remainder, and put it together again.

Absent and null count as equal. An object that only held taken values is gone
from the remainder, because putting the columns back brings it back too; an
object that was empty from the start stays in it.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from etl.transform.fields import Field

Columns = dict[str, Any]


def split(source: dict[str, Any], fields: Iterable[Field]) -> tuple[Columns, Columns]:
    """Answer the columns of an object, and what they alone would not give back."""
    columns: Columns = {}
    taken: dict[str, Any] = {}
    for field in fields:
        value = _at(source, field.path)
        if value is None:
            columns.setdefault(field.column, None)
            continue
        read, exact = field.kind.read(value)
        if columns.get(field.column) is None:
            columns[field.column] = read
        if exact and not field.derived:
            _mark(taken, field.path)
    return columns, _remainder(source, taken)


def join(columns: Mapping[str, Any], fields: Iterable[Field]) -> dict[str, Any]:
    """Put columns back where their values came from."""
    target: dict[str, Any] = {}
    for field in fields:
        value = columns[field.column]
        if value is not None and not field.derived:
            _put(target, field.path, field.kind.restore(value))
    return target


def overlay(under: Any, over: Any) -> Any:
    """Lay a remainder over joined columns; where both speak, the remainder is right."""
    if not (isinstance(under, dict) and isinstance(over, dict)):
        return over
    return under | {
        key: overlay(under[key], value) if key in under else value
        for key, value in over.items()
    }


def _at(source: Any, path: tuple[str, ...]) -> Any:
    for key in path:
        if not isinstance(source, dict):
            return None
        source = source.get(key)
    return source


def _mark(taken: dict[str, Any], path: tuple[str, ...]) -> None:
    for key in path[:-1]:
        taken = taken.setdefault(key, {})
    taken[path[-1]] = True


def _put(target: dict[str, Any], path: tuple[str, ...], value: Any) -> None:
    for key in path[:-1]:
        target = target.setdefault(key, {})
    target[path[-1]] = value


def _remainder(source: dict[str, Any], taken: dict[str, Any]) -> dict[str, Any]:
    rest = {}
    for key, value in source.items():
        below = taken.get(key)
        if value is None or below is True:
            continue
        if below:
            kept = _remainder(value, below)
            if kept:
                rest[key] = kept
        else:
            rest[key] = value
    return rest
