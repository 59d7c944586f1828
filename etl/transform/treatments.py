"""What can be done to one value of a payload: keep it, hash it with a key, omit it."""

import hmac
import json
import re
from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from functools import partial
from typing import Any, TypeAlias

from msgspec import UNSET

MARK = "hmac-sha256:"
_is_mark = re.compile(rf"{MARK}[0-9a-f]{{64}}").fullmatch

Json = Any
"""A decoded JSON value: None, bool, int, float, str, list or dict."""

Treat = Callable[[Json], Json]
"""Answers what stands in a value's place; UNSET where nothing does."""


class Treatment(Enum):
    """What happens to a value; the words are those of the configuration."""

    KEEP = "keep"
    HASH = "hash"
    OMIT = "omit"


class Leaf(Enum):
    """Where a shape ends: at any value, or at a text, number or flag."""

    ANY = "any"
    PLAIN = "plain"


Shape: TypeAlias = "Leaf | Mapping[str, Shape] | Sequence[Shape]"
"""Which parts of a value stay: members by their names (`*` is every other one), the
entries of a list by the one shape they all have."""

EVERY_OTHER = "*"


def treating(treatment: Treatment, key: bytes) -> Treat:
    """Answer what a treatment does."""
    match treatment:
        case Treatment.KEEP:
            return _kept
        case Treatment.HASH:
            return partial(hashed, key=key)
        case Treatment.OMIT:
            return _omitted


def strictest(treatments: Sequence[Treatment]) -> Treatment:
    """The one of some treatments that leaves least."""
    return max(treatments, key=list(Treatment).index)


def hashed(value: Json, *, key: bytes) -> Json:
    """A keyed hash of a text, or of any other value as compact JSON with sorted keys.

    Null says nothing and stays; so does a hash, or every replay would hash it anew.
    """
    if value is None or is_hashed(value):
        return value
    text = value if isinstance(value, str) else _as_text(value)
    content = text.encode("utf-8", "surrogatepass")
    return MARK + hmac.digest(key, content, "sha256").hex()


def is_hashed(value: Json) -> bool:
    """Whether a value is a hash already."""
    return isinstance(value, str) and _is_mark(value) is not None


def trimmed(value: Json, shape: Shape, treat: Treat) -> Json:
    """The value with all of it treated that the shape does not name.

    What has another type than its place in the shape says is treated as a whole.
    """
    if value is None or shape is Leaf.ANY:
        return value
    if isinstance(shape, Mapping) and isinstance(value, dict):
        return _trimmed_object(value, shape, treat)
    if isinstance(shape, Sequence) and isinstance(value, list):
        entries = [trimmed(entry, shape[0], treat) for entry in value]
        return [entry for entry in entries if entry is not UNSET]
    if shape is Leaf.PLAIN and isinstance(value, str | int | float):
        return value
    return treat(value)


def _trimmed_object(
    value: dict[str, Json], shape: Mapping[str, Shape], treat: Treat
) -> dict[str, Json]:
    kept = {}
    for name, member in value.items():
        below = shape.get(name, shape.get(EVERY_OTHER))
        left = treat(member) if below is None else trimmed(member, below, treat)
        if left is not UNSET:
            kept[name] = left
    return kept


def _as_text(value: Json) -> str:
    return json.dumps(value, separators=(",", ":"), sort_keys=True)


def _kept(value: Json) -> Json:
    return value


def _omitted(_: Json) -> Json:
    return UNSET
