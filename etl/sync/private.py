"""A source whose payloads are cleaned before anything else looks at them."""

from collections.abc import Callable, Iterator
from dataclasses import replace

from etl.domain.bookmark import Bookmark
from etl.domain.page import Page, Payload
from etl.domain.run import Instant, RunId, ThreadId
from etl.sync.ports import Source

Clean = Callable[[bytes], bytes]
"""Answers the text of a payload without what goes no further."""

Concerns = Callable[[Payload], bool]
"""Whether there may be something in a payload that goes no further."""


class PrivateSource:
    """Another source, with the payloads cleaned that it concerns, listed or retrieved."""

    def __init__(self, source: Source, clean: Clean, concerns: Concerns) -> None:
        self.traffic = source.traffic
        self._source = source
        self._clean = clean
        self._concerns = concerns

    def pages(self, thread_id: ThreadId, *, bookmark: Bookmark) -> Iterator[Page]:
        """Page through as the other source does."""
        for page in self._source.pages(thread_id, bookmark=bookmark):
            if any(map(self._concerns, page.payloads)):
                yield replace(page, payloads=tuple(map(self._cleaned, page.payloads)))
            else:
                yield page

    def retrieve(self, thread_id: ThreadId, run_id: RunId) -> tuple[Payload, Instant]:
        """Fetch one run as the other source does."""
        payload, asked_at = self._source.retrieve(thread_id, run_id)
        return self._cleaned(payload), asked_at

    def _cleaned(self, payload: Payload) -> Payload:
        """The payload with its text cleaned; paging has read ids and instants of it."""
        if not self._concerns(payload):
            return payload
        told = payload.text
        text = self._clean(told)
        if text is told:
            return payload
        return Payload(text, payload.run_id, payload.thread_id, payload.created_at)
