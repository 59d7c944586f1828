"""Threads whose payloads are exactly the bytes a test wants, over real HTTP."""

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from tests.integration.builders import NOW_SECONDS, a_payload
from tests.integration.raw_serving import Answer, Request, an_answer, raw_serving

Json = Any


def a_run_of(thread_id: str, number: int, **fields: Json) -> dict[str, Json]:
    """The thread's run of this number, each a minute after the one before."""
    place = {"thread_id": thread_id, "created_at": NOW_SECONDS - 86_400 + 60 * number}
    return a_payload(f"{thread_id}_run_{number}") | place | fields


class RawThreads:
    """Serves payloads in the order they were put in; a test may change them.

    `requests` are all that came; `interrupt` may answer in the server's place.
    """

    def __init__(self) -> None:
        self.threads: dict[str, dict[str, bytes]] = {}
        self.requests: list[Request] = []
        self.interrupt: Callable[[Request], Answer | None] = lambda _: None

    def put(self, thread_id: str, run_id: str, payload: Json) -> None:
        """Put in a payload, or change one; bytes stay as they are."""
        text = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
        self.threads.setdefault(thread_id, {})[run_id] = text

    def fill(self, thread_id: str, runs: int, **fields: Json) -> list[str]:
        """Put in a thread of so many runs; answer their ids."""
        payloads = [a_run_of(thread_id, number, **fields) for number in range(runs)]
        for payload in payloads:
            self.put(thread_id, payload["id"], payload)
        return [payload["id"] for payload in payloads]

    def change(self, thread_id: str, run_id: str, **fields: Json) -> None:
        """Give a run other values."""
        payload = json.loads(self.threads[thread_id][run_id])
        self.put(thread_id, run_id, payload | fields)

    def payloads(self) -> dict[str, Json]:
        """Every payload by its id; all of them have to be JSON."""
        return {
            run_id: json.loads(text)
            for runs in self.threads.values()
            for run_id, text in runs.items()
        }

    def asked(self) -> list[str]:
        """The threads that were asked for, one for each request."""
        return [request.thread_id for request in self.requests]

    @contextmanager
    def listening(self) -> Iterator[str]:
        """Serve until the end; lends the base URL."""
        with raw_serving(self._answer) as base_url:
            yield base_url

    def _answer(self, request: Request) -> Answer:
        self.requests.append(request)
        return self.interrupt(request) or self._told(request)

    def _told(self, request: Request) -> Answer:
        runs = self.threads.get(request.thread_id)
        if runs is None:
            error = {"message": f"No thread found with id '{request.thread_id}'."}
            return an_answer({"error": error}, status=404)
        if request.run_id is not None:
            return an_answer(runs[request.run_id])
        texts = list(runs.values())
        first = (
            place_of(request.query["after"], runs) + 1 if "after" in request.query else 0
        )
        last = first + int(request.query["limit"])
        return an_answer(a_list(texts[first:last], has_more=last < len(texts)))


def place_of(cursor: str, runs: dict[str, bytes]) -> int:
    """Where a run stands: a payload may tell another id than it was put in with."""
    told = f'"id": {json.dumps(cursor)}'.encode()
    return next(
        place
        for place, (run_id, text) in enumerate(runs.items())
        if run_id == cursor or told in text
    )


def a_list(texts: Sequence[bytes], *, has_more: bool = False) -> bytes:
    """The body of a list answer, made of the payloads' bytes."""
    end = b'],"has_more":' + json.dumps(has_more).encode() + b"}"
    return b'{"object":"list","data":[' + b",".join(texts) + end
