"""The registry's side of a batch: lock threads, move bookmarks, note failures."""

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from operator import attrgetter
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from etl.domain.batch import Increment, PassFailure, SourceId
from etl.domain.run import Instant, ThreadId
from etl.load.moments import moment
from etl.load.statements import (
    LOCK_THREADS,
    MARK_MISSING,
    MOVE_THREADS,
    NOTE_FAILURES,
    NOTE_REPLAYED,
)

Key = tuple[SourceId, ThreadId]
CREATED_AT = attrgetter("created_at")


def lock(
    connection: Connection, increments: Sequence[Increment]
) -> tuple[list[Increment], frozenset[Key]]:
    """Lock the threads; answer the increments that still build on what is there.

    The others are of threads that another sync has written since, or that were
    untracked. Who leased threads asks before whether the leases are still held.
    """
    keys = {(part.source_id, part.thread_id) for part in increments}
    if not keys:
        return [], frozenset()
    rows = connection.execute(LOCK_THREADS, _arrays(keys))
    read_at: dict[Key, Instant | None] = {
        (row.source_id, row.thread_id): row.read_at for row in rows
    }
    current, overtaken = [], set()
    for part in increments:
        key = part.source_id, part.thread_id
        if key in read_at and read_at[key] == part.read_before:
            read_at[key] = part.read_at
            current.append(part)
        else:
            overtaken.add(key)
    return current, frozenset(overtaken)


def move(
    connection: Connection,
    increments: Iterable[Increment],
    written: Mapping[Key, tuple[int, int]],
) -> None:
    """Move bookmarks and health; where a thread has several pages, the last counts."""
    last = {(part.source_id, part.thread_id): part for part in increments}
    newest: dict[Key, Instant] = {}
    for part in increments:
        if part.runs:
            key, latest = (part.source_id, part.thread_id), max(map(CREATED_AT, part.runs))
            newest[key] = max(newest.get(key, latest), latest)
    if not last:
        return
    marks = [part.bookmark for part in last.values()]
    facts = {
        "synced_through": [mark.synced_through for mark in marks],
        "synced_through_at": [_moment(mark.synced_through_at) for mark in marks],
        "overlap_from": [mark.overlap_from for mark in marks],
        "watched": [json.dumps(mark.watched) for mark in marks],
        "read_at": [moment(part.read_at) for part in last.values()],
        "completes": [part.completes for part in last.values()],
        "walked": [part.walked for part in last.values()],
        "unsettled": [part.unsettled for part in last.values()],
        "last_run_at": [_moment(newest.get(key)) for key in last],
        "created": [written.get(key, (0, 0))[0] for key in last],
    }
    connection.execute(MOVE_THREADS, _arrays(last) | facts)


def note_replayed(
    connection: Connection, key: Key, *, created: int, created_at: Instant
) -> None:
    """Count a run that came out of quarantine."""
    source_id, thread_id = key
    facts = {
        "source_id": source_id,
        "thread_id": thread_id,
        "created": created,
        "created_at": moment(created_at),
    }
    connection.execute(NOTE_REPLAYED, facts)


def note_failures(connection: Connection, failures: Sequence[PassFailure]) -> None:
    """Count a failed pass on its thread."""
    _note(connection, NOTE_FAILURES, failures)


def mark_missing(connection: Connection, failures: Sequence[PassFailure]) -> None:
    """Mark threads as missing, and those that were for an hour as gone."""
    _note(connection, MARK_MISSING, failures)


def _note(
    connection: Connection, statement: sa.TextClause, failures: Sequence[PassFailure]
) -> None:
    if failures:
        keys = [(failure.source_id, failure.thread_id) for failure in failures]
        messages = [failure.message for failure in failures]
        connection.execute(statement, _arrays(keys) | {"messages": messages})


def _arrays(keys: Iterable[Key]) -> dict[str, Any]:
    """Keys as two parallel arrays."""
    pairs = list(keys)
    return {
        "source_ids": [source_id for source_id, _ in pairs],
        "thread_ids": [thread_id for _, thread_id in pairs],
    }


def _moment(instant: Instant | None) -> datetime | None:
    return None if instant is None else moment(instant)
