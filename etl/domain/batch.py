"""What goes to the store: increments of threads, committed together as a batch."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NewType

from etl.domain.bookmark import Bookmark
from etl.domain.drift import Drift
from etl.domain.page import Payload
from etl.domain.run import Instant, Reject, Run, ThreadId

SourceId = NewType("SourceId", int)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrackedThread:
    """One row of the registry, as far as a pass needs it.

    `read_at` is the instant of the last committed page; whoever commits next must
    have begun with it.
    """

    source_id: SourceId
    thread_id: ThreadId
    bookmark: Bookmark
    read_at: Instant | None
    is_gone: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Increment:
    """What one page adds to a thread.

    `read_before` is the thread's `read_at` that this increment builds on;
    `read_at` always lies after it. `payloads` are what the runs were read from, in
    case the database refuses one. `completes` tells that the page reached the
    thread's end, `walked` that the pass had begun at its start.
    """

    source_id: SourceId
    thread_id: ThreadId
    read_before: Instant | None
    read_at: Instant
    runs: tuple[Run, ...]
    rejects: tuple[Reject, ...]
    payloads: tuple[Payload, ...]
    bookmark: Bookmark
    completes: bool
    walked: bool
    drift: tuple[Drift, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class PassFailure:
    """A pass that ended early; what it committed before stands.

    `was_gone` tells that the thread is a tombstone, so that nothing is lost.
    """

    source_id: SourceId
    thread_id: ThreadId
    message: str
    was_gone: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """One transaction's worth, from any number of threads.

    `missing` are threads that the server does not know, once other threads of the
    source have shown that it knows any.
    """

    increments: Sequence[Increment] = ()
    failures: Sequence[PassFailure] = ()
    missing: Sequence[PassFailure] = ()
    requests: int = 0
    retries: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Committed:
    """What one batch did to the tables.

    An increment of an `overtaken` thread was not written: another sync had
    committed the thread first, or it was untracked.
    """

    created: int
    updated: int
    unchanged: int
    rejects: int
    pages: int
    overtaken: frozenset[tuple[SourceId, ThreadId]]
