"""The bookmark rule: how far into a thread nothing can change any more."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Protocol, Self

from etl.domain.run import Instant, RunId


class Settleable(Protocol):
    """A run or a reject, as far as the bookmark looks at it."""

    @property
    def run_id(self) -> RunId | None: ...

    @property
    def created_at(self) -> Instant | None: ...

    @property
    def is_settled(self) -> bool: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Bookmark:
    """The last run of a thread's leading stretch of settled runs."""

    synced_through: RunId | None = None
    synced_through_at: Instant | None = None

    def advance(self, entries: Iterable[Settleable], *, after: RunId | None) -> Self:
        """Move over the leading settled runs of the page that follows `after`.

        A page that does not start at the bookmark cannot move it: an open run
        lies in between, and passing that run would lose its later changes. A
        reject without an id is passed over; it cannot be a cursor.
        """
        if after != self.synced_through:
            return self
        reached = self
        for entry in entries:
            if not entry.is_settled:
                break
            if entry.run_id:
                reached = replace(
                    self,
                    synced_through=entry.run_id,
                    synced_through_at=entry.created_at or reached.synced_through_at,
                )
        return reached
