"""A server of runs, made of given payloads, over real HTTP on loopback."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from threading import Thread as Worker
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from etl.demo.listener import Listener, Reply, Respond

Value = dict[str, Any]


@contextmanager
def listening(respond: Respond) -> Iterator[str]:
    """Answer requests on loopback until the end; lends the base URL."""
    listener = Listener(("127.0.0.1", 0), respond)
    worker = Worker(target=listener.serve, daemon=True)
    worker.start()
    host, port = listener.address
    try:
        yield f"http://{host}:{port}/v1"
    finally:
        listener.stop()
        worker.join()


class RunsServer:
    """Lists and retrieves runs; each run shows one of its states.

    Payloads of one id are successive states of one run. `moment` says how many
    have passed; a run without so many stays in its last one.
    """

    def __init__(self, payloads: Iterable[Value]) -> None:
        self.moment = 0
        self._threads: dict[str, dict[str, list[Value]]] = {}
        for payload in payloads:
            states = self._threads.setdefault(payload["thread_id"], {}).setdefault(
                payload["id"], []
            )
            if payload not in states:
                states.append(payload)

    @property
    def thread_ids(self) -> list[str]:
        return list(self._threads)

    @property
    def moments(self) -> range:
        """Every value of `moment` that shows something new."""
        return range(max(map(len, self._states())))

    def payloads(self) -> dict[str, Value]:
        """What every run looks like now, by its id."""
        return {states[0]["id"]: self._now(states) for states in self._states()}

    @contextmanager
    def listening(self) -> Iterator[str]:
        """Serve until the end; lends the base URL."""
        with listening(self._reply) as base_url:
            yield base_url

    def _states(self) -> Iterator[list[Value]]:
        for thread in self._threads.values():
            yield from thread.values()

    def _now(self, states: list[Value]) -> Value:
        return states[min(self.moment, len(states) - 1)]

    def _reply(self, _line: str, target: str, _authorization: str | None) -> Reply:
        url = urlsplit(target)
        thread_id, _, *run_ids = map(unquote, url.path.split("/")[3:])
        query = dict(parse_qsl(url.query))
        for run_id in run_ids:
            return Reply(200, self._now(self._threads[thread_id][run_id]))
        assert query["order"] == "asc"
        runs = [self._now(states) for states in self._threads[thread_id].values()]
        runs.sort(key=lambda run: float(run["created_at"]))
        ids = [run["id"] for run in runs]
        first = ids.index(query["after"]) + 1 if "after" in query else 0
        limit = int(query["limit"])
        data = runs[first : first + limit]
        return Reply(
            200,
            {
                "object": "list",
                "data": data,
                "first_id": data[0]["id"] if data else None,
                "last_id": data[-1]["id"] if data else None,
                "has_more": first + limit < len(runs),
            },
        )
