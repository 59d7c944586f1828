"""Ascending pages of one thread, each checked before the next is asked for."""

from collections.abc import Callable, Iterator, Sequence

from etl.domain.errors import ContractError
from etl.domain.page import Page, Payload
from etl.domain.run import Instant, RunId, ThreadId
from etl.extract.client import Answer
from etl.extract.envelope import Entry, open_envelope

Fetch = Callable[[RunId | None], Answer]
"""Fetch the page that follows a cursor."""


def pages(fetch: Fetch, thread_id: ThreadId, after: RunId | None) -> Iterator[Page]:
    """Page through a thread from `after` to its end.

    Raises ContractError where the order, the cursor or the thread is not the one
    asked for: going on could lose runs or never end.
    """
    cursor, last_at = after, 0.0
    while True:
        answer = fetch(cursor)
        entries, has_more = open_envelope(answer.body)
        page = _page(thread_id, cursor, entries, answer.sent_at, has_more=has_more)
        last_at = _verify(entries, thread_id, last_at)
        next_cursor = _next_cursor(page) if has_more else None
        yield page
        if next_cursor is None:
            return
        cursor = next_cursor


def id_of(value: object) -> str | None:
    """Read an id; look-alikes also send integers."""
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if not isinstance(value, str) or "\0" in value:  # which Postgres cannot store
        return None
    return value or None


def _payload(entry: Entry) -> Payload:
    run_id = id_of(entry.peek.id)
    return Payload(entry.text, RunId(run_id) if run_id else None)


def _page(
    thread_id: ThreadId,
    cursor: RunId | None,
    entries: Sequence[Entry],
    sent_at: Instant,
    *,
    has_more: bool,
) -> Page:
    payloads = tuple(map(_payload, entries))
    return Page(
        thread_id=thread_id,
        after=cursor,
        payloads=payloads,
        has_more=has_more,
        observed_at=sent_at,
    )


def _verify(entries: Sequence[Entry], thread_id: ThreadId, last_at: float) -> float:
    """Check owner and order; answer the creation time of the newest run so far."""
    for entry in entries:
        owner = id_of(entry.peek.thread_id)
        if owner is not None and owner != thread_id:
            raise ContractError(
                f"run {entry.peek.id} belongs to thread {owner}: the server ignores"
                " which thread it is asked for"
            )
        created_at = entry.peek.created_at
        if not isinstance(created_at, int | float):
            continue
        if created_at < last_at:
            raise ContractError(
                f"run {entry.peek.id} is older than the run before it: the server"
                " does not sort ascending"
            )
        last_at = created_at
    return last_at


def _next_cursor(page: Page) -> RunId:
    ids = [payload.run_id for payload in page.payloads if payload.run_id]
    if not ids:
        raise ContractError(
            f"after {page.after} the server promises more runs but names none"
        )
    if page.after in ids:
        raise ContractError(
            f"the cursor stays at {page.after}: the server repeats its page"
        )
    return ids[-1]
