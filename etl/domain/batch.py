"""What goes to the store: increments of threads, committed together as a batch."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, NewType

from etl.domain.bookmark import Bookmark
from etl.domain.drift import Drift
from etl.domain.page import Payload
from etl.domain.run import Instant, Reject, Run, ThreadId

SourceId = NewType("SourceId", int)


class Lease(NamedTuple):
    """Some threads of a sync that one process has taken, and the token it took them with.

    Whoever takes them later has a higher token; with an older one nothing is written.
    """

    lease_id: int
    token: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TrackedThread:
    """One row of the registry, as far as a pass needs it.

    `read_at` is the instant of the last committed page; whoever commits next must
    have begun with it, and still hold the `lease`, if there is one.
    """

    source_id: SourceId
    thread_id: ThreadId
    bookmark: Bookmark
    read_at: Instant | None
    is_gone: bool = False
    lease: Lease | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Increment:
    """What one page adds to a thread.

    `read_before` is the thread's `read_at` that this increment builds on;
    `read_at` always lies after it. `payloads` are what the runs were read from, in
    case the database refuses one. `completes` tells that the page reached the
    thread's end, `walked` that the pass had begun at its start, `unsettled` that
    something behind the bookmark may still change.
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
    unsettled: bool = False
    drift: tuple[Drift, ...] = ()
    lease: Lease | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PassFailure:
    """A pass that ended early; what it committed before stands.

    `was_gone` tells that the thread is a tombstone, so that nothing is lost.
    """

    source_id: SourceId
    thread_id: ThreadId
    message: str
    was_gone: bool = False
    lease: Lease | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """One transaction's worth, from any number of threads.

    `unknown` are threads that the server does not know, and nothing follows yet;
    `missing` are those of them that are marked, once other threads of the source have
    shown that it knows any.
    """

    increments: Sequence[Increment] = ()
    failures: Sequence[PassFailure] = ()
    unknown: Sequence[PassFailure] = ()
    missing: Sequence[PassFailure] = ()
    requests: int = 0
    retries: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Committed:
    """What one batch did to the tables.

    An increment of an `overtaken` thread was not written: another sync had
    committed the thread first, or it was untracked. Nor is anything of a `refused` one:
    its lease was taken by another process, which reads it now.
    """

    created: int
    updated: int
    unchanged: int
    rejects: int
    pages: int
    overtaken: frozenset[tuple[SourceId, ThreadId]]
    refused: frozenset[tuple[SourceId, ThreadId]] = frozenset()
