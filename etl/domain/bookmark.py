"""The bookmark rule: how far into a thread nothing can change any more."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol, Self

from etl.domain.run import SECOND, Instant, RunId

GRACE = Instant(3_600 * SECOND)
"""How long past its deadline an open run counts as stale."""


SETTLING = Instant(10 * SECOND)
"""How long after a run's creation another one may still appear before it: runs of
one second have no order of their own, and a server may show them late."""


class Entry(Protocol):
    """A run or a reject, as far as the bookmark looks at it."""

    @property
    def run_id(self) -> RunId | None: ...

    @property
    def created_at(self) -> Instant | None: ...

    @property
    def is_open(self) -> bool: ...

    @property
    def deadline(self) -> Instant | None:
        """The instant by which an open run should have ended."""
        ...


def is_stale(entry: Entry, *, now: Instant) -> bool:
    """Whether a run is still open although its deadline is long past."""
    return entry.is_open and entry.deadline is not None and now > entry.deadline + GRACE


def is_settled(entry: Entry, *, now: Instant) -> bool:
    """Whether nothing of an entry, nor anything before it, can change any more."""
    if entry.created_at is not None and entry.created_at > now - SETTLING:
        return False
    return not entry.is_open or is_stale(entry, now=now)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bookmark:
    """The last run of a thread's leading stretch of settled runs.

    `overlap_from` is the last run of an earlier second: the next pass asks for
    what follows it, so that the bookmark's own run must come back. `watched` are
    the stale runs that the bookmark has moved over, the one asked longest ago
    first.
    """

    synced_through: RunId | None = None
    synced_through_at: Instant | None = None
    overlap_from: RunId | None = None
    watched: tuple[RunId, ...] = ()

    def advance(
        self, entries: Iterable[Entry], *, after: RunId | None, now: Instant
    ) -> Self:
        """Move over the leading settled runs of the page that follows `after`.

        Settled is what is terminal, rejected, or stale, and older than a few
        seconds; a stale run is watched from now on. A page that does not start at
        the bookmark cannot move it: an open run lies in between, and passing that
        run would lose its later changes. A reject without an id is passed over; it
        cannot be a cursor.
        """
        if after != self.synced_through:
            return self
        through, at, overlap_from = after, self.synced_through_at, self.overlap_from
        watched = dict.fromkeys(self.watched)
        for entry in entries:
            if not is_settled(entry, now=now):
                break
            if entry.run_id is None:
                continue
            if _is_later_second(entry.created_at, at):
                overlap_from = through
            through, at = entry.run_id, entry.created_at
            watched.pop(entry.run_id, None)
            if entry.is_open:
                watched[entry.run_id] = None
        return replace(
            self,
            synced_through=through,
            synced_through_at=at,
            overlap_from=overlap_from,
            watched=tuple(watched),
        )

    def rewound(self) -> Self:
        """The bookmark as it stood before its last second; runs of it come again."""
        return replace(self, synced_through=self.overlap_from, synced_through_at=None)

    def watching(self, watched: Sequence[RunId]) -> Self:
        """The same place, with other runs watched."""
        return replace(self, watched=tuple(watched))


def _is_later_second(created_at: Instant | None, than: Instant | None) -> bool:
    """Whether an entry is surely of a later second; a reject's is not known."""
    if created_at is None or than is None:
        return False
    return created_at // SECOND > than // SECOND
