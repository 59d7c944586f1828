"""One walk through a thread's list, page by page, each checked against the last.

The next cursor is the last run of an earlier second, not the last run of the page:
so the runs of the page's last second must come back on the next page. A page full
of one second is left from its middle. A server that skips runs of equal second,
compares cursors by id, or does not know the cursor is noticed there.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import Enum
from hashlib import sha256

from etl.domain.errors import ContractError
from etl.domain.page import Page, Payload
from etl.domain.run import RunId, ThreadId
from etl.extract.client import Answer
from etl.extract.envelope import Entry, open_envelope

Fetch = Callable[[RunId | None], Answer]
"""Fetch the page that follows a cursor."""

NO_INSTANT = 2**63
"""From here on a number is no instant, whatever its unit."""

LARGEST_PAGE = 100
"""The most runs that the API sends at once."""

MOST_PAGES = 100_000
"""A thread longer than this is taken for a server that never ends."""


class Direction(Enum):
    """The order of a walk; the value is the query's."""

    ASCENDING = "asc"
    DESCENDING = "desc"


def id_of(value: object) -> str | None:
    """Read an id; look-alikes also send integers."""
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if not isinstance(value, str) or "\0" in value:  # which Postgres cannot store
        return None
    return value or None


def key_of(entry: Entry) -> str | bytes:
    """What tells one entry from another: its id, or all of its text."""
    return id_of(entry.peek.id) or sha256(entry.text).digest()


@dataclass
class Walk:
    """One walk through the runs of a thread that follow `after`.

    `pages` yields what is new on each page, and raises ContractError where the
    server breaks its rules: going on could lose runs or never end. A page of
    `doubted_from` runs or more is not believed to be the last one until the server
    is asked once more: `confirmed_at` is the length of a page that was the last one
    indeed, `cut_at` of the shortest that was not. `answers` counts requests.
    """

    fetch: Fetch
    thread_id: ThreadId
    after: RunId | None
    doubted_from: int
    direction: Direction = Direction.ASCENDING
    page_size: int = LARGEST_PAGE
    answers: int = 0
    first_page: Sequence[Entry] = ()
    confirmed_at: int | None = None
    cut_at: int | None = None
    _overlap: set[str | bytes] = field(default_factory=set)
    _previous: set[str | bytes] = field(default_factory=set)
    _last_id: RunId | None = None
    _last_at: float | None = None
    _cursor_second: int | None = None

    def pages(self) -> Iterator[Page]:
        """Page through to the end; the last page has no more after it."""
        cursor = self._last_id = self.after
        answer, entries, promised = self._ask(cursor)
        was_promised = False
        while True:
            fresh = self._fresh(entries, promised=promised or was_promised)
            if self.answers == 1:
                self.first_page = entries
            after, last_id = self._last_id, _last_id(entries) or self._last_id
            if not (promised or self._is_doubted(entries, last_id)):
                yield self._page(answer, fresh, after, has_more=False)
                return
            cursor, self._overlap = self._next_cursor(entries, last_id, promised=promised)
            was_promised = promised
            self._previous = set(map(key_of, entries))
            self._last_id = last_id
            if promised:
                yield self._page(answer, fresh, after, has_more=True)
                answer, entries, promised = self._ask(cursor)
                continue
            following = self._ask(cursor)
            more = bool(self._unseen(following[1]))
            if more:
                self.cut_at = min(len(entries), self.cut_at or len(entries))
            else:
                self.confirmed_at = len(entries)
            yield self._page(answer, fresh, after, has_more=more)
            if not more:
                self._fresh(following[1], promised=False)
                return
            answer, entries, promised = following

    @property
    def first_page_ends_at(self) -> float | None:
        """When the last run of the first page was created, in the server's unit."""
        instants = (_instant_of(entry) for entry in reversed(self.first_page))
        return next((instant for instant in instants if instant is not None), None)

    def _ask(self, cursor: RunId | None) -> tuple[Answer, list[Entry], bool]:
        self.answers += 1
        if self.answers > MOST_PAGES:
            raise ContractError(f"the list does not end after {MOST_PAGES:,} pages")
        answer = self.fetch(cursor)
        entries, promised = open_envelope(answer.body)
        for entry in entries:
            owner = id_of(entry.peek.thread_id)
            if owner is not None and owner != self.thread_id:
                raise ContractError(
                    f"run {entry.peek.id} belongs to thread {owner}: the server ignores"
                    " which thread it is asked for"
                )
        return answer, entries, promised

    def _is_doubted(self, entries: Sequence[Entry], last_id: RunId | None) -> bool:
        """Whether a page that promises no more is asked after; without an id, if full."""
        enough = self.page_size if last_id is None else self.doubted_from
        return len(entries) >= enough

    def _unseen(self, entries: Sequence[Entry]) -> list[Entry]:
        seen = self._previous | {self.after}
        return [entry for entry in entries if key_of(entry) not in seen]

    def _fresh(self, entries: Sequence[Entry], *, promised: bool) -> list[Entry]:
        """What the page adds; checks that it moves on, in order, without a gap."""
        fresh = self._unseen(entries)
        if promised and not fresh:
            raise ContractError(
                f"after {self._last_id} the server promises more runs but sends none that"
                " are new: the cursor stands still"
            )
        if self._overlap - set(map(key_of, entries)):
            raise ContractError(
                f"runs around {self._last_id} did not come back on the next page: the"
                " server's cursors skip runs"
            )
        for entry in fresh:
            self._check_order(entry)
        if fresh:
            self._check_place(entries)
        return fresh

    def _check_place(self, entries: Sequence[Entry]) -> None:
        """A page that goes on from a cursor holds nothing from before it."""
        if self._cursor_second is None:
            return
        for entry in entries:
            second = _second_of(entry)
            if second is not None and self._is_before(second, self._cursor_second):
                raise ContractError(
                    f"run {entry.peek.id} came back on a page that should follow it: the"
                    " server's cursors do not go by creation"
                )

    def _is_before(self, instant: float, other: float) -> bool:
        """Whether an instant has its place before another in this walk's order."""
        if self.direction is Direction.ASCENDING:
            return instant < other
        return instant > other

    def _check_order(self, entry: Entry) -> None:
        created_at = _instant_of(entry)
        if created_at is None:
            return  # the payload is damaged there; it says nothing about the order
        if self._last_at is not None and self._is_before(created_at, self._last_at):
            raise ContractError(
                f"run {entry.peek.id} is out of order: the server does not sort as asked"
            )
        self._last_at = created_at

    def _next_cursor(
        self, entries: Sequence[Entry], last_id: RunId | None, *, promised: bool
    ) -> tuple[RunId, set[str | bytes]]:
        """A run to go on from, and the keys that must come back after it."""
        if last_id is None:
            raise ContractError("the server promises more runs but names none of these")
        place = self._leaving_place(entries, promised=promised)
        for entry in reversed(entries[: place + 1]):
            if run_id := id_of(entry.peek.id):
                self._cursor_second = _second_of(entry)
                return RunId(run_id), set(map(key_of, entries[place + 1 :]))
        return last_id, set()

    def _leaving_place(self, entries: Sequence[Entry], *, promised: bool) -> int:
        """The last place of an earlier second; in a page full of one second, its middle."""
        last_second = _second_of(entries[-1])
        for place in range(len(entries) - 2, -1, -1):
            if id_of(entries[place].peek.id) and _second_of(entries[place]) != last_second:
                return place
        is_full = promised or len(entries) >= self.page_size
        return (len(entries) - 1) // 2 if is_full else len(entries) - 1

    def _page(
        self, answer: Answer, fresh: Sequence[Entry], after: RunId | None, *, has_more: bool
    ) -> Page:
        return Page(
            thread_id=self.thread_id,
            after=after,
            payloads=tuple(map(_payload, fresh)),
            has_more=has_more,
            observed_at=answer.sent_at,
        )


def disordered(entries: Sequence[Entry]) -> tuple[RunId, RunId] | None:
    """Two runs of which the one created in a later second has the lower id."""
    greatest, second_of_greatest = "", None
    for entry in entries:
        run_id, second = id_of(entry.peek.id), _second_of(entry)
        if run_id is None or second is None:
            continue
        if run_id > greatest:
            greatest, second_of_greatest = run_id, second
        elif second_of_greatest is not None and second > second_of_greatest:
            return RunId(greatest), RunId(run_id)
    return None


def _payload(entry: Entry) -> Payload:
    run_id = id_of(entry.peek.id)
    return Payload(entry.text, RunId(run_id) if run_id else None)


def _last_id(entries: Sequence[Entry]) -> RunId | None:
    ids = (id_of(entry.peek.id) for entry in reversed(entries))
    found = next((run_id for run_id in ids if run_id), None)
    return RunId(found) if found else None


def _instant_of(entry: Entry) -> float | None:
    """When a run was created, in the server's unit, if it says so."""
    created_at = entry.peek.created_at
    if not isinstance(created_at, int | float) or not 0 < created_at < NO_INSTANT:
        return None
    return created_at


def _second_of(entry: Entry) -> int | None:
    instant = _instant_of(entry)
    return None if instant is None else int(instant)
