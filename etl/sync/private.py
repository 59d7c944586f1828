"""A source whose payloads are cleaned before anything else looks at them."""

from collections.abc import Callable, Iterator
from dataclasses import replace

from etl.domain.bookmark import Bookmark
from etl.domain.page import Page, Payload
from etl.domain.run import Instant, RunId, ThreadId
from etl.sync.ports import Source

Cleaned = Callable[[Payload], Payload]
"""Answers a payload without what goes no further; itself where there is nothing."""


class PrivateSource:
    """Another source, with all payloads cleaned, listed or retrieved."""

    def __init__(self, source: Source, cleaned: Cleaned) -> None:
        self.traffic = source.traffic
        self._source = source
        self._cleaned = cleaned

    def pages(self, thread_id: ThreadId, *, bookmark: Bookmark) -> Iterator[Page]:
        """Page through as the other source does."""
        for page in self._source.pages(thread_id, bookmark=bookmark):
            yield replace(page, payloads=tuple(map(self._cleaned, page.payloads)))

    def retrieve(self, thread_id: ThreadId, run_id: RunId) -> tuple[Payload, Instant]:
        """Fetch one run as the other source does."""
        payload, asked_at = self._source.retrieve(thread_id, run_id)
        return self._cleaned(payload), asked_at
