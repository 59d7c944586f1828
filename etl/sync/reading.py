"""A pass: read what is new or still open in one thread, page by page."""

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from etl.domain.batch import Increment, TrackedThread
from etl.domain.bookmark import Bookmark
from etl.domain.errors import ContractError, RunMissingError
from etl.domain.page import Page, Payload
from etl.domain.run import Instant, Reject, Run, RunId
from etl.sync.ports import Source
from etl.transform import drift_of, flatten

MOST_RETRIEVED = 20
"""Watched runs asked for in one pass; the others have their turn in the next."""


def read_thread(thread: TrackedThread, source: Source) -> Iterator[Increment]:
    """Read what is new or still open in one thread, page by page.

    A broken rule puts in doubt what came before it too: the next pass begins at the
    thread's start, so that no later one passes over what this one may have missed.
    """
    reading = _Pass(thread)
    yield from reading.watched(source)
    reading.bookmark = reading.bookmark.rewound()
    try:
        for page in source.pages(thread.thread_id, bookmark=reading.begins_at):
            yield reading.page(page)
    except ContractError:
        yield from reading.start_again()
        raise


def read_untrusted_thread(thread: TrackedThread, source: Source) -> Iterator[Increment]:
    """Read one thread of a server whose order is not believed.

    The rows of every page are kept as it comes; the bookmark moves only in the
    end, over all runs sorted by creation, once nothing can be missing.
    """
    reading = _Pass(thread)
    yield from reading.watched(source)
    start = reading.bookmark.rewound()
    found: dict[str, _Sighting] = {}
    for page in source.pages(thread.thread_id, bookmark=reading.begins_at):
        if page.after is None:
            start, reading.walked = Bookmark(), True
        entries = reading.flattened(page.payloads)
        found |= {_key(entry): _sighting(entry) for entry in entries}
        yield reading.increment(page, entries, completes=False)
    in_order = sorted(found.values(), key=lambda entry: entry.created_at or 0)
    yield reading.end(start, in_order)


class _Sighting(NamedTuple):
    """As much of an entry as the bookmark looks at."""

    run_id: RunId | None
    created_at: Instant | None
    is_open: bool
    deadline: Instant | None


def _sighting(entry: Run | Reject) -> _Sighting:
    return _Sighting(entry.run_id, entry.created_at, entry.is_open, entry.deadline)


def _key(entry: Run | Reject) -> str:
    if entry.run_id is not None:
        return entry.run_id
    return entry.payload if isinstance(entry, Reject) else ""


class _Pass:
    """The bookmark and the instant of one thread while it is read."""

    def __init__(self, thread: TrackedThread) -> None:
        self.bookmark = self.begins_at = thread.bookmark
        self.walked = False
        self._last: RunId | None = None
        self._thread = thread
        self._read_at = thread.read_at

    def flattened(self, payloads: Sequence[Payload]) -> list[Run | Reject]:
        """Flatten what a page holds."""
        return [flatten(each, thread_id=self._thread.thread_id) for each in payloads]

    def page(self, page: Page) -> Increment:
        """What a page in order adds; one with no `after` begins the thread anew."""
        if page.after is None:
            self.bookmark, self.walked = Bookmark(), True
        entries = self.flattened(page.payloads)
        self.bookmark = self.bookmark.advance(
            entries, after=page.after, now=page.observed_at
        )
        self._note_last(entry.run_id for entry in entries)
        return self.increment(page, entries, completes=not page.has_more)

    def watched(self, source: Source) -> Iterator[Increment]:
        """Ask for stale runs one by one; those that have ended are watched no more.

        The bookmark's own run comes with the next page anyway. Where the server does
        not know one, the pass begins at the thread's start: only the whole list tells
        whether the run is gone, or its thread was for a moment.
        """
        behind = [
            run_id
            for run_id in self.bookmark.watched
            if run_id != self.bookmark.synced_through
        ]
        for run_id in behind[:MOST_RETRIEVED]:
            others = tuple(each for each in self.bookmark.watched if each != run_id)
            try:
                payload, asked_at = source.retrieve(self._thread.thread_id, run_id)
            except RunMissingError:
                self.begins_at = Bookmark()
                return
            entries = self.flattened([payload])
            if any(entry.is_open for entry in entries):
                others = (*others, run_id)
            self.bookmark = self.bookmark.watching(others)
            page = Page(
                thread_id=self._thread.thread_id,
                after=run_id,
                payloads=(payload,),
                has_more=True,
                observed_at=asked_at,
            )
            yield self.increment(page, entries, completes=False)

    def end(self, start: Bookmark, in_order: Sequence[_Sighting]) -> Increment:
        """The bookmark over all that an untrusted walk has found."""
        now = self._read_at or Instant(0)
        watching = start.watching(self.bookmark.watched) if start.synced_through else start
        self.bookmark = watching.advance(in_order, after=start.synced_through, now=now)
        self._note_last(entry.run_id for entry in in_order)
        return self.increment(self._empty_page(now), [], completes=True)

    def _note_last(self, run_ids: Iterable[RunId | None]) -> None:
        """Keep in mind the last run with an id: a settled bookmark stands there."""
        named = [run_id for run_id in run_ids if run_id]
        self._last = named[-1] if named else self._last

    def start_again(self) -> Iterator[Increment]:
        """Forget the bookmark, if the thread was ever read."""
        if self._read_at is not None:
            self.bookmark = Bookmark(watched=self.bookmark.watched)
            yield self.increment(self._empty_page(self._read_at), [], completes=False)

    def _empty_page(self, observed_at: Instant) -> Page:
        return Page(
            thread_id=self._thread.thread_id,
            after=None,
            payloads=(),
            has_more=False,
            observed_at=observed_at,
        )

    def increment(
        self, page: Page, entries: Sequence[Run | Reject], *, completes: bool
    ) -> Increment:
        """An increment with the bookmark as it is, and the thread's next instant."""
        read_before, self._read_at = self._read_at, _later(page.observed_at, self._read_at)
        runs = tuple(entry for entry in entries if isinstance(entry, Run))
        return Increment(
            source_id=self._thread.source_id,
            thread_id=self._thread.thread_id,
            read_before=read_before,
            read_at=self._read_at,
            runs=runs,
            rejects=tuple(entry for entry in entries if isinstance(entry, Reject)),
            payloads=tuple([payload.as_text() for payload in page.payloads]),
            bookmark=self.bookmark,
            completes=completes,
            walked=completes and self.walked,
            unsettled=self._last not in {None, self.bookmark.synced_through},
            drift=tuple(drift_of(runs)),
            lease=self._thread.lease,
        )


def _later(observed_at: Instant, read_at: Instant | None) -> Instant:
    """The page's instant, moved on where a clock was set back since the last one."""
    return observed_at if read_at is None else Instant(max(observed_at, read_at + 1))
