"""Verify: what the tables hold of a thread against what the server says now."""

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal
from enum import Enum
from itertools import takewhile
from typing import Any, NamedTuple

from etl.domain.batch import TrackedThread
from etl.domain.bookmark import Bookmark
from etl.domain.run import Reject, Run, RunId
from etl.sync.ports import Source
from etl.transform import flatten, rebuild


class Kind(Enum):
    """In which way the tables differ from the server."""

    MISSING = "the server has it, the tables do not"
    UNKNOWN = "the tables have it, the server does not"
    REPEATED = "the tables have it more than once"
    DIFFERENT = "values differ"


class Difference(NamedTuple):
    """One run that is not the same on both sides, and the fields that differ."""

    run_id: RunId
    kind: Kind
    fields: tuple[str, ...] = ()


def verify_thread(
    thread: TrackedThread, source: Source, stored: Iterable[Run]
) -> list[Difference]:
    """Compare a thread's stored runs with the server's.

    What the next sync would bring anyway is no difference: runs that follow the
    bookmark, and runs that are watched.
    """
    rows = list(stored)
    ours = {run.run_id: run for run in rows}
    told = _told_by(source, thread)
    settled = _settled(told, thread.bookmark)
    return [
        *_missing(settled, ours),
        *_unknown(told, ours),
        *_repeated(rows),
        *_different(settled, ours),
    ]


def _told_by(source: Source, thread: TrackedThread) -> list[Run | Reject]:
    """What the server lists, oldest first; a reject stays with what it follows."""
    entries: list[tuple[int, Run | Reject]] = []
    created_at = 0
    for page in source.pages(thread.thread_id, bookmark=Bookmark()):
        for payload in page.payloads:
            entry = flatten(payload, thread_id=thread.thread_id)
            created_at = entry.created_at or created_at
            entries.append((created_at, entry))
    return [entry for _, entry in sorted(entries, key=lambda each: each[0])]


def _settled(told: Iterable[Run | Reject], bookmark: Bookmark) -> list[Run]:
    """The runs that no sync reads again."""
    if bookmark.synced_through is None:
        return []
    behind = list(takewhile(lambda each: each.run_id != bookmark.synced_through, told))
    last = [each for each in told if each.run_id == bookmark.synced_through]
    if not last:
        reached_at = bookmark.synced_through_at or 0
        behind = [each for each in behind if (each.created_at or 0) <= reached_at]
    return [
        entry
        for entry in (*behind, *last)
        if isinstance(entry, Run) and entry.run_id not in bookmark.watched
    ]


def _missing(settled: Iterable[Run], ours: Mapping[RunId, Run]) -> Iterator[Difference]:
    for run in settled:
        if run.run_id not in ours:
            yield Difference(run.run_id, Kind.MISSING)


def _unknown(
    told: Iterable[Run | Reject], ours: Mapping[RunId, Run]
) -> Iterator[Difference]:
    known = {entry.run_id for entry in told}
    for run_id in ours:
        if run_id not in known:
            yield Difference(run_id, Kind.UNKNOWN)


def _repeated(rows: Iterable[Run]) -> Iterator[Difference]:
    for run_id, number in Counter(run.run_id for run in rows).items():
        if number > 1:
            yield Difference(run_id, Kind.REPEATED)


def _different(settled: Iterable[Run], ours: Mapping[RunId, Run]) -> Iterator[Difference]:
    for run in settled:
        if run.run_id in ours:
            names = _names_that_differ(rebuild(ours[run.run_id]), rebuild(run))
            if names:
                yield Difference(run.run_id, Kind.DIFFERENT, tuple(names))


def _names_that_differ(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> list[str]:
    """Fields with other values, absent and null counted as equal."""
    return sorted(
        name
        for name in ours.keys() | theirs.keys()
        if _comparable(ours.get(name)) != _comparable(theirs.get(name))
    )


def _comparable(value: Any) -> Any:
    """A JSON value for `==`: without its null members, and 1e3 equals 1000.

    Postgres writes 1e23 with all its digits, which as an integer is another
    number than the double; true equals 1 in Python, so numbers are wrapped.
    """
    return json.loads(
        json.dumps(value),
        object_pairs_hook=_without_nulls,
        parse_int=_number,
        parse_float=_number,
    )


def _number(text: str) -> tuple[Decimal]:
    return (Decimal(text),)


def _without_nulls(members: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    return {key: value for key, value in members if value is not None}
