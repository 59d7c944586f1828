"""Discovery: what an application's query has answered, and how far it has come."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

Position = str
"""A value of the growing column, as text that its own database reads again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """Some rows of an answer, in the order of their positions.

    `position` is the largest one so far; None where no row has had one. `active_at`
    tells when each thread was active; None where the answer does not tell that.
    """

    thread_ids: Sequence[Any]
    position: Position | None
    active_at: Sequence[Any] | None = None


@dataclass(slots=True, kw_only=True)
class Discovered:
    """What one discovery has found, counted while it works.

    `odd` are values that cannot be ids, `odd_instants` those that cannot be when a
    thread was active; the first of them is shown. `moved` are threads that were active
    later than was known.
    """

    rows: int = 0
    added: int = 0
    known: int = 0
    kept_out: int = 0
    blank: int = 0
    odd: int = 0
    odd_example: str | None = None
    moved: int = 0
    odd_instants: int = 0
    odd_instant_example: str | None = None
