"""A server's list of its threads, page by page, newest first."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from etl.domain.errors import ContractError, DiscoveryError, ThreadMissingError
from etl.domain.page import Payload
from etl.domain.run import RunId, ThreadId
from etl.extract.client import Answer, Client
from etl.extract.envelope import DAMAGE, id_of, open_envelope
from etl.extract.paging import LARGEST_PAGE, MOST_PAGES


class ThreadList:
    """The threads of one project, as its server lists them."""

    def __init__(self, client: Client) -> None:
        self.traffic = client.traffic
        self._client = client

    def thread_pages(self) -> Iterator[tuple[ThreadId, ...]]:
        """Page through all threads, newest first; ids that cannot be used are left out.

        Raises DiscoveryError where there is no such list, and ContractError
        where the server breaks its rules: going on could miss threads or never end.
        """
        place = _Place()
        for _ in range(MOST_PAGES):
            answer = self._ask(place.cursor)
            try:
                ids = place.move_over(answer.body)
            except ContractError as error:
                answer.blamed(error)
                raise
            yield ids
            if not place.has_more:
                return
        raise ContractError(f"the list of threads does not end after {MOST_PAGES:,} pages")

    def _ask(self, cursor: str | None) -> Answer:
        query: dict[str, str | int] = {"limit": LARGEST_PAGE, "order": "desc"}
        if cursor is not None:
            query["after"] = cursor
        try:
            return self._client.ask("threads", query)
        except ThreadMissingError as error:
            said = str(error).partition(": ")[2]
            missing = DiscoveryError(
                f"the server has no list of threads: {said}; check base_url, which ends in"
                " /api/projects/ and the project's name, or set list_threads = false"
            )
            missing.request_id = error.request_id
            raise missing from error


@dataclass
class _Place:
    """How far the list was read."""

    cursor: str | None = None
    has_more: bool = True
    _previous: frozenset[RunId | bytes] = frozenset()
    _oldest: float | None = None

    def move_over(self, body: bytes) -> tuple[ThreadId, ...]:
        """Answer the ids that a page adds; raises ContractError where it goes nowhere."""
        listed, self.has_more = open_envelope(body, of="threads")
        self._check_order(listed)
        keys, ids = frozenset(each.key for each in listed), self._new_ids(listed)
        if self.has_more:
            following = _last_id(body, listed)
            if following in {None, self.cursor} or not keys - self._previous:
                raise ContractError(
                    f"after {self.cursor or 'its first page'} the list of threads promises"
                    " more but does not go on: the cursor stands still"
                )
            self.cursor = following
        self._previous = keys
        return ids

    def _check_order(self, listed: Sequence[Payload]) -> None:
        """Whoever stops at what is known relies on it that the newest come first."""
        for each in listed:
            if each.created_at is None:
                continue
            if self._oldest is not None and each.created_at > self._oldest:
                raise ContractError(
                    f"thread {each.run_id} is out of order: the server does not list the"
                    " newest threads first"
                )
            self._oldest = each.created_at

    def _new_ids(self, listed: Sequence[Payload]) -> tuple[ThreadId, ...]:
        """Each usable id once, without those of the page before."""
        ids = (each.run_id for each in listed)
        new = dict.fromkeys(each for each in ids if each and each not in self._previous)
        return tuple(map(ThreadId, new))


class _Envelope(msgspec.Struct):
    """What a page says of the one that follows it."""

    last_id: Any = None


_decode = msgspec.json.Decoder(_Envelope).decode


def _last_id(body: bytes, listed: Sequence[Payload]) -> str | None:
    """The envelope's `last_id`, which Azure's own client follows; else the last thread."""
    try:
        told = id_of(_decode(body).last_id)
    except DAMAGE:
        told = None
    ids = (each.run_id for each in reversed(listed))
    return told or next((each for each in ids if each), None)
