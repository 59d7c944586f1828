"""Finding threads that nobody has tracked yet: by a query, or from the server's list."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from itertools import zip_longest
from types import MappingProxyType
from typing import Any, Protocol

from etl.domain.activity import as_activity
from etl.domain.discovery import Discovered, Position, Rows
from etl.domain.found import Found
from etl.domain.run import ThreadId
from etl.domain.thread_id import as_thread_id
from etl.sync.ports import ThreadLister

MOST_SHOWN = 40

Activity = Mapping[ThreadId, datetime]
"""When threads were last active."""

UNTOLD: Activity = MappingProxyType({})

UNDERWAY = "underway"
"""The position of a server's list that is being read."""


class Registry(Protocol):
    """Where found threads go, and how far the discovery has come."""

    def track(self, thread_ids: Sequence[ThreadId], active_at: Activity = UNTOLD) -> Found:
        """Track those that are new, note activity; committed when this returns."""
        ...

    def note_hints(self, *, told: bool) -> None:
        """Note whether the answer tells when threads were active."""
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
    last, hints = after, None
    for rows in asked(after):
        last, hints = rows.position, rows.active_at is not None
        yield _take(rows.thread_ids, registry, found, active_at=rows.active_at or ())
    if after is None:
        registry.note_whole(last)
    else:
        registry.note_on(last)
    if hints is not None:
        registry.note_hints(told=hints)


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


def _take(
    values: Sequence[Any],
    registry: Registry,
    found: Discovered,
    *,
    active_at: Sequence[Any] = (),
) -> int:
    """Track those of some values that are ids; count the rest."""
    ids: list[ThreadId] = []
    activity: dict[ThreadId, datetime] = {}
    for value, told in zip_longest(values, active_at):
        if is_blank(value):
            found.blank += 1
        elif (thread_id := as_thread_id(value)) is not None:
            ids.append(thread_id)
            _note_activity(thread_id, told, activity, found)
        else:
            found.odd += 1
            found.odd_example = found.odd_example or repr(value)[:MOST_SHOWN]
    became = registry.track(ids, activity)
    found.rows += len(values)
    found.added += became.added
    found.known += became.known
    found.kept_out += became.kept_out
    found.moved += became.moved
    return became.added


def is_blank(value: Any) -> bool:
    """Whether a value says nothing."""
    return value is None or (isinstance(value, str) and not value.strip())


def _note_activity(
    thread_id: ThreadId, told: Any, activity: dict[ThreadId, datetime], found: Discovered
) -> None:
    """Keep the latest instant of a thread; count what is none."""
    if is_blank(told):
        return
    instant = as_activity(told)
    if instant is None:
        found.odd_instants += 1
        example = found.odd_instant_example or repr(told)[:MOST_SHOWN]
        found.odd_instant_example = example
    else:
        activity[thread_id] = max(instant, activity.get(thread_id, instant))
