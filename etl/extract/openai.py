"""Sources of kind `openai`: OpenAI and everything that speaks its protocol."""

from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from operator import le
from urllib.parse import quote

from etl.domain.bookmark import Bookmark
from etl.domain.errors import (
    CursorLostError,
    RefusedError,
    RunMissingError,
    SourceUnavailableError,
    ThreadMissingError,
)
from etl.domain.page import Page, Payload
from etl.domain.run import Instant, RunId, ThreadId
from etl.extract.client import Answer, Client
from etl.extract.paging import MOST_PAGES, Direction, Walk
from etl.extract.proof import Pool, Proof

HEADERS = {"OpenAI-Beta": "assistants=v2", "Accept": "application/json"}
"""What every request carries beside the API key (API reference, "Authentication")."""


class OpenAISource:
    """List-runs and retrieve-run of one server whose cursors are trusted."""

    def __init__(self, client: Client, *, page_size: int, pool: Pool | None = None) -> None:
        self.traffic = client.traffic
        self.page_size = page_size
        self._client = client
        self._proof = Proof(pool)

    def pages(self, thread_id: ThreadId, *, bookmark: Bookmark) -> Iterator[Page]:
        """Page through what may have changed since `bookmark`, oldest run first.

        Begins before the bookmark's second, and at the thread's start (a page
        with no `after`) where the bookmark's run does not come back.
        """
        if bookmark.overlap_from is not None:
            try:
                yield from self._on_from(thread_id, bookmark)
            except CursorLostError:
                pass
            else:
                return
        yield from self._whole(thread_id)

    def _on_from(self, thread_id: ThreadId, bookmark: Bookmark) -> Iterator[Page]:
        walk = self.walk(thread_id, bookmark.overlap_from)
        yield from expecting(walk.pages(), bookmark.synced_through)
        self._proof.note_end(walk)

    def _whole(self, thread_id: ThreadId) -> Iterator[Page]:
        walk = self.walk(thread_id, None)
        for page in walk.pages():
            if page.after is None:
                with suppress(CursorLostError):
                    self._prove(walk)
            yield page
        self._proof.note_end(walk)

    def _prove(self, walk: Walk) -> None:
        """Let the proof ask what follows a run; its error names that answer's request."""
        asked = walk

        def following(cursor: RunId) -> set[RunId | None]:
            nonlocal asked
            asked = self.walk(walk.thread_id, cursor, doubted_from=MOST_PAGES)
            return {payload.run_id for payload in next(asked.pages()).payloads}

        try:
            self._proof.test_cursors(walk, following)
        except SourceUnavailableError as error:
            asked.blamed(error)
            raise

    def retrieve(self, thread_id: ThreadId, run_id: RunId) -> tuple[Payload, Instant]:
        """Fetch one run and the instant it was asked for; raises RunMissingError."""
        path = f"{_runs_of(thread_id)}/{quote(run_id, safe='')}"
        try:
            answer = self._client.ask(path, {})
        except (ThreadMissingError, RefusedError) as error:
            raise RunMissingError(str(error)) from error
        return Payload(answer.body, run_id), answer.sent_at

    def walk(
        self,
        thread_id: ThreadId,
        after: RunId | None,
        *,
        page_size: int | None = None,
        doubted_from: int | None = None,
        direction: Direction = Direction.ASCENDING,
    ) -> Walk:
        """One walk through a thread; doubts what is unproved, or from a length on.

        An answer of 400 or 404 to a request with a cursor raises CursorLostError:
        the cursor's run may be what is gone.
        """
        size = page_size or self.page_size
        query: dict[str, str | int] = {"limit": size, "order": direction.value}

        def fetch(cursor: RunId | None) -> Answer:
            if cursor is None:
                return self._client.ask(_runs_of(thread_id), query)
            try:
                return self._client.ask(_runs_of(thread_id), {**query, "after": cursor})
            except (ThreadMissingError, RefusedError) as error:
                raise CursorLostError(str(error)) from error

        doubts = partial(le, doubted_from) if doubted_from else self._proof.doubts
        return Walk(fetch, thread_id, after, doubts, direction, size)


def expecting(pages: Iterator[Page], run_id: RunId | None) -> Iterator[Page]:
    """Pass pages on; raises CursorLostError unless the first one holds this run."""
    first = next(pages)
    if run_id not in {payload.run_id for payload in first.payloads}:
        raise CursorLostError(f"run {run_id} did not come back")
    yield first
    yield from pages


def _runs_of(thread_id: ThreadId) -> str:
    return f"threads/{quote(thread_id, safe='')}/runs"
