"""A source whose payloads are cleaned before anything else looks at them."""

from collections.abc import Callable, Iterator
from dataclasses import replace

from etl.domain.bookmark import Bookmark
from etl.domain.page import Page, Payload
from etl.domain.run import Instant, RunId, ThreadId
from etl.sync.ports import Source

Clean = Callable[[bytes], bytes]
"""Answers the text of a payload without what goes no further."""


class PrivateSource:
    """Another source, with every payload cleaned: the listed ones and the retrieved."""

    def __init__(self, source: Source, clean: Clean) -> None:
        self.traffic = source.traffic
        self._source = source
        self._clean = clean

    def pages(self, thread_id: ThreadId, *, bookmark: Bookmark) -> Iterator[Page]:
        """Page through as the other source does."""
        for page in self._source.pages(thread_id, bookmark=bookmark):
            yield replace(page, payloads=tuple(map(self._cleaned, page.payloads)))

    def retrieve(self, thread_id: ThreadId, run_id: RunId) -> tuple[Payload, Instant]:
        """Fetch one run as the other source does."""
        payload, asked_at = self._source.retrieve(thread_id, run_id)
        return self._cleaned(payload), asked_at

    def _cleaned(self, payload: Payload) -> Payload:
        """The payload with its text cleaned; paging has read ids and instants of it."""
        text = self._clean(payload.text)
        return Payload(text, payload.run_id, payload.thread_id, payload.created_at)
