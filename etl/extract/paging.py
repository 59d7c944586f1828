"""One walk through a thread's list, page by page, each checked against the last.

The next cursor is the last run of an earlier second, not the last run of the page:
so the runs of the page's last second must come back on the next page. A page full
of one second is left from its middle. A server that skips runs of equal second,
compares cursors by id, or does not know the cursor is noticed there.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import Enum
from operator import attrgetter

from etl.domain.errors import ContractError
from etl.domain.page import Page, Payload
from etl.domain.run import RunId, ThreadId
from etl.extract.client import Answer
from etl.extract.envelope import open_envelope
from etl.extract.failures import SomeError

Fetch = Callable[[RunId | None], Answer]
"""Fetch the page that follows a cursor."""

Doubt = Callable[[int], bool]
"""Whether a page of so many runs may not be the last one, though it says so."""

LARGEST_PAGE = 100
"""The most runs that the API sends at once."""

MOST_PAGES = 100_000
"""A thread longer than this is taken for a server that never ends."""


class Direction(Enum):
    """The order of a walk; the value is the query's."""

    ASCENDING = "asc"
    DESCENDING = "desc"


Key = RunId | bytes
KEY = attrgetter("key")


@dataclass
class Walk:
    """One walk through the runs of a thread that follow `after`.

    `pages` yields what is new on each page, and raises ContractError where the
    server breaks its rules: going on could lose runs or never end. A page that is
    doubted is not believed to be the last one until the server is asked once more:
    `confirmed_at` is the length of a page that was the last one indeed, `cut_at` of the
    shortest that was not. `answers` counts requests.
    """

    fetch: Fetch
    thread_id: ThreadId
    after: RunId | None
    doubts: Doubt
    direction: Direction = Direction.ASCENDING
    page_size: int = LARGEST_PAGE
    answers: int = 0
    first_page: Sequence[Payload] = ()
    confirmed_at: int | None = None
    cut_at: int | None = None
    _answer: Answer | None = None
    _overlap: set[Key] = field(default_factory=set)
    _previous: set[Key] = field(default_factory=set)
    _last_id: RunId | None = None
    _last_at: float | None = None
    _cursor_second: int | None = None

    def pages(self) -> Iterator[Page]:
        """Page through to the end; the last page has no more after it.

        An error names the request whose answer broke the rule.
        """
        try:
            yield from self._pages()
        except ContractError as error:
            self.blamed(error)
            raise

    def blamed(self, error: SomeError) -> SomeError:
        """The error with the request id of the answer that came last."""
        return error if self._answer is None else self._answer.blamed(error)

    def _pages(self) -> Iterator[Page]:
        cursor = self._last_id = self.after
        answer, payloads, promised = self._ask(cursor)
        was_promised = False
        while True:
            fresh = self._fresh(payloads, promised=promised or was_promised)
            if self.answers == 1:
                self.first_page = payloads
            after, last_id = self._last_id, _last_id(payloads) or self._last_id
            if not (promised or self._is_doubted(payloads, last_id)):
                yield self._page(answer, fresh, after, has_more=False)
                return
            cursor, self._overlap = self._next_cursor(payloads, last_id, promised=promised)
            was_promised = promised
            self._previous = set(map(KEY, payloads))
            self._last_id = last_id
            if promised:
                yield self._page(answer, fresh, after, has_more=True)
                answer, payloads, promised = self._ask(cursor)
                continue
            following = self._ask(cursor)
            more = bool(self._unseen(following[1]))
            if more:
                self.cut_at = min(len(payloads), self.cut_at or len(payloads))
            else:
                self.confirmed_at = len(payloads)
            yield self._page(answer, fresh, after, has_more=more)
            if not more:
                self._fresh(following[1], promised=False)
                return
            answer, payloads, promised = following

    @property
    def first_page_ends_at(self) -> float | None:
        """When the last run of the first page was created, in the server's unit."""
        instants = (payload.created_at for payload in reversed(self.first_page))
        return next((instant for instant in instants if instant is not None), None)

    def _ask(self, cursor: RunId | None) -> tuple[Answer, list[Payload], bool]:
        self.answers += 1
        if self.answers > MOST_PAGES:
            raise ContractError(f"the list does not end after {MOST_PAGES:,} pages")
        answer = self._answer = self.fetch(cursor)
        payloads, promised = open_envelope(answer.body)
        for payload in payloads:
            if payload.thread_id is not None and payload.thread_id != self.thread_id:
                raise ContractError(
                    f"run {payload.run_id} belongs to thread {payload.thread_id}: the"
                    " server ignores which thread it is asked for"
                )
        return answer, payloads, promised

    def _is_doubted(self, payloads: Sequence[Payload], last_id: RunId | None) -> bool:
        """Whether a page that promises no more is asked after; without an id, if full."""
        if last_id is None:
            return len(payloads) >= self.page_size
        return self.doubts(len(payloads))

    def _unseen(self, payloads: Sequence[Payload]) -> list[Payload]:
        seen = self._previous | {self.after}
        return [payload for payload in payloads if payload.key not in seen]

    def _fresh(self, payloads: Sequence[Payload], *, promised: bool) -> list[Payload]:
        """What the page adds; checks that it moves on, in order, without a gap."""
        fresh = self._unseen(payloads)
        if promised and not fresh:
            raise ContractError(
                f"after {self._last_id} the server promises more runs but sends none that"
                " are new: the cursor stands still"
            )
        if self._overlap and self._overlap - set(map(KEY, payloads)):
            raise ContractError(
                f"runs around {self._last_id} did not come back on the next page: the"
                " server's cursors skip runs"
            )
        self._check_order(fresh)
        if fresh:
            self._check_place(payloads)
        return fresh

    def _check_place(self, payloads: Sequence[Payload]) -> None:
        """A page that goes on from a cursor holds nothing from before it."""
        if self._cursor_second is None:
            return
        for payload in payloads:
            second = payload.second
            if second is not None and self._is_before(second, self._cursor_second):
                raise ContractError(
                    f"run {payload.run_id} came back on a page that should follow it: the"
                    " server's cursors do not go by creation"
                )

    def _is_before(self, instant: float, other: float) -> bool:
        """Whether an instant has its place before another in this walk's order."""
        if self.direction is Direction.ASCENDING:
            return instant < other
        return instant > other

    def _check_order(self, fresh: Iterable[Payload]) -> None:
        """What is new was created no earlier than what came before it."""
        last_at = self._last_at
        for payload in fresh:
            created_at = payload.created_at
            if created_at is None:
                continue  # the payload is damaged there; it says nothing about the order
            if last_at is not None and self._is_before(created_at, last_at):
                raise ContractError(
                    f"run {payload.run_id} is out of order: the server does not sort as"
                    " asked"
                )
            last_at = created_at
        self._last_at = last_at

    def _next_cursor(
        self, payloads: Sequence[Payload], last_id: RunId | None, *, promised: bool
    ) -> tuple[RunId, set[Key]]:
        """A run to go on from, and the keys that must come back after it."""
        if last_id is None:
            raise ContractError("the server promises more runs but names none of these")
        place = self._leaving_place(payloads, promised=promised)
        for payload in reversed(payloads[: place + 1]):
            if payload.run_id:
                self._cursor_second = payload.second
                return payload.run_id, set(map(KEY, payloads[place + 1 :]))
        return last_id, set()

    def _leaving_place(self, payloads: Sequence[Payload], *, promised: bool) -> int:
        """The last place of an earlier second; in a page full of one second, its middle."""
        last_second = payloads[-1].second
        for place in range(len(payloads) - 2, -1, -1):
            if payloads[place].run_id and payloads[place].second != last_second:
                return place
        is_full = promised or len(payloads) >= self.page_size
        return (len(payloads) - 1) // 2 if is_full else len(payloads) - 1

    def _page(
        self,
        answer: Answer,
        fresh: Sequence[Payload],
        after: RunId | None,
        *,
        has_more: bool,
    ) -> Page:
        return Page(
            thread_id=self.thread_id,
            after=after,
            payloads=tuple(fresh),
            has_more=has_more,
            observed_at=answer.sent_at,
        )


def disordered(payloads: Sequence[Payload]) -> tuple[RunId, RunId] | None:
    """Two runs of which the one created in a later second has the lower id."""
    greatest, second_of_greatest = RunId(""), None
    for payload in payloads:
        run_id, second = payload.run_id, payload.second
        if run_id is None or second is None:
            continue
        if run_id > greatest:
            greatest, second_of_greatest = run_id, second
        elif second_of_greatest is not None and second > second_of_greatest:
            return greatest, run_id
    return None


def _last_id(payloads: Sequence[Payload]) -> RunId | None:
    run_ids = (payload.run_id for payload in reversed(payloads))
    return next((run_id for run_id in run_ids if run_id), None)
