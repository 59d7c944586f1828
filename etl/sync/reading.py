"""A pass: read what is new or still open in one thread, page by page."""

from collections.abc import Iterator

from etl.domain.batch import Increment, TrackedThread
from etl.domain.run import Instant, Reject, Run
from etl.sync.ports import Source
from etl.transform import flatten


def read_thread(thread: TrackedThread, source: Source) -> Iterator[Increment]:
    """Read what is new or still open in one thread, page by page."""
    bookmark, read_at = thread.bookmark, thread.read_at
    for page in source.pages(thread.thread_id, after=bookmark.synced_through):
        entries = [
            flatten(payload, thread_id=thread.thread_id) for payload in page.payloads
        ]
        bookmark = bookmark.advance(entries, after=page.after)
        read_before, read_at = read_at, _later(page.observed_at, read_at)
        yield Increment(
            source_id=thread.source_id,
            thread_id=thread.thread_id,
            read_before=read_before,
            read_at=read_at,
            runs=tuple(entry for entry in entries if isinstance(entry, Run)),
            rejects=tuple(entry for entry in entries if isinstance(entry, Reject)),
            payloads=page.payloads,
            bookmark=bookmark,
            completes=not page.has_more,
        )


def _later(observed_at: Instant, read_at: Instant | None) -> Instant:
    """The page's instant, moved on where a clock was set back since the last one."""
    return observed_at if read_at is None else Instant(max(observed_at, read_at + 1))
