"""Discovery: what an application's query has answered, and how far it has come."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

Position = str
"""A value of the growing column, as text that its own database reads again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """Some rows of an answer, in the order of their positions.

    `position` is the largest one so far; None where no row has had one.
    """

    thread_ids: Sequence[Any]
    position: Position | None


@dataclass(slots=True, kw_only=True)
class Discovered:
    """What one discovery has found, counted while it works.

    `odd` are values that cannot be ids; the first of them is shown.
    """

    rows: int = 0
    added: int = 0
    known: int = 0
    kept_out: int = 0
    blank: int = 0
    odd: int = 0
    odd_example: str | None = None
