"""Verify: what the tables hold of a thread against what the server says now."""

from collections.abc import Iterator, Mapping
from enum import Enum
from typing import Any, NamedTuple

from etl.domain.batch import TrackedThread
from etl.domain.bookmark import Bookmark
from etl.domain.run import Run, RunId
from etl.sync.ports import Source
from etl.transform import flatten, rebuild


class Kind(Enum):
    """In which way the tables differ from the server."""

    MISSING = "the server has it, the tables do not"
    UNKNOWN = "the tables have it, the server does not"
    DIFFERENT = "values differ"


class Difference(NamedTuple):
    """One run that is not the same on both sides."""

    run_id: RunId
    kind: Kind
    detail: str = ""


def verify_thread(
    thread: TrackedThread, source: Source, stored: Mapping[RunId, Run]
) -> list[Difference]:
    """Compare a thread's stored runs with the server's.

    What the next sync would bring anyway is no difference: runs that follow the
    bookmark, and runs stored as open.
    """
    told = _told_by(source, thread)
    return [*_lacking(thread, told, stored), *_differing(told, stored)]


def _told_by(source: Source, thread: TrackedThread) -> dict[RunId, Run]:
    pages = source.pages(thread.thread_id, bookmark=Bookmark())
    entries = (
        flatten(payload, thread_id=thread.thread_id)
        for page in pages
        for payload in page.payloads
    )
    return {entry.run_id: entry for entry in entries if isinstance(entry, Run)}


def _lacking(
    thread: TrackedThread, told: Mapping[RunId, Run], stored: Mapping[RunId, Run]
) -> Iterator[Difference]:
    synced_through_at = thread.bookmark.synced_through_at or 0
    for run_id, run in told.items():
        if run_id not in stored and run.created_at <= synced_through_at:
            yield Difference(run_id, Kind.MISSING)
    for run_id in stored:
        if run_id not in told:
            yield Difference(run_id, Kind.UNKNOWN)


def _differing(
    told: Mapping[RunId, Run], stored: Mapping[RunId, Run]
) -> Iterator[Difference]:
    for run_id in told.keys() & stored.keys():
        if stored[run_id].is_open:
            continue
        ours, theirs = rebuild(stored[run_id]), rebuild(told[run_id])
        if names := _names_that_differ(ours, theirs):
            yield Difference(run_id, Kind.DIFFERENT, ", ".join(names))


def _names_that_differ(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> list[str]:
    """Fields with other values, absent and null counted as equal."""
    return sorted(
        name
        for name in ours.keys() | theirs.keys()
        if _bare(ours.get(name)) != _bare(theirs.get(name))
    )


def _bare(value: Any) -> Any:
    """A JSON value without its null members."""
    match value:
        case dict():
            return {key: _bare(each) for key, each in value.items() if each is not None}
        case list():
            return [_bare(each) for each in value]
        case _:
            return value
