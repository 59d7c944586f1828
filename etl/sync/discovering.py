"""Finding threads that nobody has tracked yet: by a query, or from the server's list."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

from etl.domain.discovery import Discovered, Position, Rows
from etl.domain.found import Found
from etl.domain.run import ThreadId
from etl.domain.thread_id import as_thread_id
from etl.sync.ports import ThreadLister

MOST_SHOWN = 40

UNDERWAY = "underway"
"""The position of a server's list that is being read."""


class Registry(Protocol):
    """Where found threads go, and how far the discovery has come."""

    def track(self, thread_ids: Sequence[ThreadId]) -> Found:
        """Track those that are new; committed when this returns."""
        ...

    def note_whole(self, position: Position | None) -> None:
        """Note that everything was asked for."""
        ...

    def note_on(self, position: Position | None) -> None:
        """Note that what is new since the last discovery was asked for."""
        ...


def discover_by_query(
    asked: Callable[[Position | None], Iterator[Rows]],
    registry: Registry,
    found: Discovered,
    *,
    after: Position | None,
) -> Iterator[int]:
    """Track what a query answers behind a position, or all; yields how many were new.

    The position moves at the end, when all that lies before it is committed.
    """
    last = after
    for rows in asked(after):
        last = rows.position
        yield _take(rows.thread_ids, registry, found)
    if after is None:
        registry.note_whole(last)
    else:
        registry.note_on(last)


def discover_by_list(
    lister: ThreadLister, registry: Registry, found: Discovered, *, whole: bool
) -> Iterator[int]:
    """Track what the server lists, to the end or to the first page without a new thread.

    Such a walk that breaks off leaves a gap behind the newest threads; so it is noted
    as underway until it ends, and the next walk after it has to be a whole one.
    """
    if not whole:
        registry.note_on(UNDERWAY)
    for page in lister.thread_pages():
        added = _take(page, registry, found)
        yield added
        if page and not added and not whole:
            break
    if whole:
        registry.note_whole(None)
    else:
        registry.note_on(None)


def _take(values: Sequence[Any], registry: Registry, found: Discovered) -> int:
    """Track those of some values that are ids; count the rest."""
    ids = []
    for value in values:
        if value is None or (isinstance(value, str) and not value.strip()):
            found.blank += 1
        elif (thread_id := as_thread_id(value)) is not None:
            ids.append(thread_id)
        else:
            found.odd += 1
            found.odd_example = found.odd_example or repr(value)[:MOST_SHOWN]
    became = registry.track(ids)
    found.rows += len(values)
    found.added += became.added
    found.known += became.known
    found.kept_out += became.kept_out
    return became.added
