"""Servers that look like the API and set the traps of docs/wire.md, one each.

`LookAlike` keeps every rule. A trap is a subclass that gets one thing wrong.
"""

import random
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from tests.integration.builders import a_payload
from tests.integration.raw_serving import Answer, Request, an_answer, raw_serving

Value = dict[str, Any]
Runs = list[Value]

NOW = int(time.time())  # open runs are not stale
BEGAN = NOW - 20 * 3600

MOST_REQUESTS = 200
"""More requests than this for one thread in one sync are an endless loop."""


def apart(number: int) -> int:
    return BEGAN + 60 * number


def in_sevens(number: int) -> int:
    """Seven runs share a second, also at most page borders."""
    return BEGAN + number // 7


def in_a_crowd(number: int) -> int:
    """After twenty runs come 120 of one second: more than a page holds."""
    return BEGAN + min(number, 20) + max(0, number - 139)


def at_once(_: int) -> int:
    return BEGAN


World = Mapping[str, tuple[int, Callable[[int], int]]]
"""Each thread's number of runs, and when they were created."""

WORLD: World = {
    "none": (0, apart),
    "one": (1, apart),
    "five_at_once": (5, at_once),
    "most_of_a_page": (99, apart),
    "a_page": (100, apart),
    "a_page_and_one": (101, apart),
    "pages": (248, apart),
    "sevens": (248, in_sevens),
    "crowd": (248, in_a_crowd),
}
STUCK, OPEN_TOO = 60, 120
"""Places of open runs in "pages": one was forgotten long ago; the last is open too."""

OPEN = {"status": "in_progress", "usage": None}


class LookAlike:
    """Keeps every rule; counts the requests for each thread."""

    cap = 100

    def __init__(self, world: World | None = None) -> None:
        self.threads: dict[str, Runs] = {}
        self.requests: Counter[str] = Counter()
        self._numbers = iter(range(1_000_000))
        for thread_id, (count, created_at) in (world or WORLD).items():
            self.threads[thread_id] = []
            self.grow(thread_id, [created_at(number) for number in range(count)])

    def open_some(self) -> None:
        """Two open runs at once, and a stuck one in the middle."""
        runs = self.threads["pages"]
        runs[STUCK] |= OPEN | {"expires_at": BEGAN}
        runs[OPEN_TOO] |= OPEN | {"status": "requires_action"}
        runs[-1] |= OPEN

    def grow(self, thread_id: str, created_at: Sequence[int]) -> None:
        """Add runs to the end of a thread."""
        self.threads[thread_id] += [
            self.a_run(next(self._numbers), thread_id, second) for second in created_at
        ]

    def a_run(self, number: int, thread_id: str, second: int) -> Value:
        run_id = self.name(number)
        return a_payload(run_id, thread_id=thread_id, created_at=second)

    def name(self, number: int) -> str:
        return f"run_{number:09d}"

    def forget_all(self) -> None:
        """Begin anew: the same threads, as many runs, other ids."""
        for thread_id, runs in self.threads.items():
            count = len(runs)
            runs.clear()
            self.grow(thread_id, [apart(number) for number in range(count)])

    @contextmanager
    def listening(self) -> Iterator[str]:
        with raw_serving(self.answer) as base_url:
            yield base_url

    def answer(self, request: Request) -> Answer:
        if request.run_id is not None:
            return self.retrieve(request.thread_id, request.run_id)
        self.requests[request.thread_id] += 1
        if self.requests[request.thread_id] > MOST_REQUESTS:
            return an_answer({"error": {"message": "an endless loop"}}, status=400)
        return self.listed(request)

    def retrieve(self, thread_id: str, run_id: str) -> Answer:
        for run in self.threads[thread_id]:
            if str(run["id"]) == run_id:
                return an_answer(run)
        return an_answer({"error": {"message": "no such run"}}, status=404)

    def listed(self, request: Request) -> Answer:
        order = self.order(request.query["order"])
        runs = self.sorted(self.runs_of(request.thread_id), order)
        cursor = request.query.get("after")
        if cursor is not None:
            place = next((n for n, run in enumerate(runs) if str(run["id"]) == cursor), -1)
            if place < 0:
                return self.unknown_cursor(cursor)
            runs = self.following(runs, place, order)
        size = min(int(request.query["limit"]), self.cap)
        return self.page(runs[:size], runs[size:])

    def page(self, data: Runs, others: Runs) -> Answer:
        return an_answer(self.envelope(data, others))

    def order(self, asked: str) -> str:
        return asked

    def runs_of(self, thread_id: str) -> Runs:
        return list(self.threads[thread_id])

    def sorted(self, runs: Runs, order: str) -> Runs:
        return sorted(runs, key=created_at_of, reverse=order == "desc")

    def following(self, runs: Runs, place: int, _order: str) -> Runs:
        return runs[place + 1 :]

    def unknown_cursor(self, cursor: str) -> Answer:
        return an_answer({"error": {"message": f"No run found: {cursor}"}}, status=400)

    def envelope(self, data: Runs, others: Runs) -> Value:
        return {
            "object": "list",
            "data": data,
            "first_id": data[0]["id"] if data else None,
            "last_id": data[-1]["id"] if data else None,
            "has_more": bool(others),
        }


def created_at_of(run: Value) -> float:
    return float(run["created_at"])


# Traps that real servers set (docs/wire.md) ------------------------------------------


class PromisesNothing(LookAlike):
    """`has_more` is always false (myla)."""

    def envelope(self, data: Runs, others: Runs) -> Value:
        return super().envelope(data, others) | {"has_more": False}


class ComparesSeconds(LookAlike):
    """What follows a cursor is what was created in a later second (myla)."""

    def following(self, runs: Runs, place: int, order: str) -> Runs:
        at = created_at_of(runs[place])
        if order == "asc":
            return [run for run in runs if created_at_of(run) > at]
        return [run for run in runs if created_at_of(run) < at]


class ComparesIds(LookAlike):
    """Sorts by creation; what follows a cursor has a larger id (open-assistant-api)."""

    def name(self, number: int) -> str:
        """Ids in the order of creation, but for neighbours up to twenty places apart."""
        place = 1_000 + number * 10 + random.Random(number).randrange(-100, 100)  # noqa: S311
        return f"run_{place:06d}{number:04d}"

    def following(self, runs: Runs, place: int, order: str) -> Runs:
        cursor = runs[place]["id"]
        if order == "asc":
            return [run for run in runs if run["id"] > cursor]
        return [run for run in runs if run["id"] < cursor]


class ComparesUnorderedIds(ComparesIds):
    def name(self, number: int) -> str:
        return f"run_{random.Random(number).getrandbits(64):016x}"  # noqa: S311


class KnowsNothingAfterUnknown(LookAlike):
    """An unknown cursor is answered with an empty list (open-assistant-api)."""

    def unknown_cursor(self, cursor: str) -> Answer:
        return self.page([], [])


class FailsAfterUnknown(LookAlike):
    """An unknown cursor is answered with 500 and plain text (myla)."""

    def unknown_cursor(self, cursor: str) -> Answer:
        return an_answer(b"Internal Server Error", status=500, content_type="text/plain")


class NamesAnotherLast(LookAlike):
    """`last_id` is not that of the last run (Prism)."""

    def envelope(self, data: Runs, others: Runs) -> Value:
        return super().envelope(data, others) | {"last_id": "run_abc456"}


class PromisesMoreThanNothing(LookAlike):
    """An empty page promises more (Prism)."""

    def envelope(self, data: Runs, others: Runs) -> Value:
        return super().envelope(data, others) | {"has_more": bool(others or not data)}


class AlwaysPromises(LookAlike):
    def envelope(self, data: Runs, others: Runs) -> Value:
        return super().envelope(data, others) | {"has_more": True}


class IgnoresCursor(LookAlike):
    """Every page is the first one, and promises more if there is (Prism)."""

    def following(self, runs: Runs, place: int, _order: str) -> Runs:
        return runs


class IsInclusive(LookAlike):
    """A page begins with its cursor's run (OpenGPTs)."""

    def following(self, runs: Runs, place: int, _order: str) -> Runs:
        return runs[place:]


class IgnoresThread(LookAlike):
    """Lists the runs of all threads (astra-assistants-api)."""

    def runs_of(self, thread_id: str) -> Runs:
        return [run for runs in self.threads.values() for run in runs]


class AlwaysDescends(LookAlike):
    def order(self, asked: str) -> str:
        return "desc"


class AlwaysAscends(LookAlike):
    def order(self, asked: str) -> str:
        return "asc"


class SendsShortPages(LookAlike):
    cap = 20


class BareEnvelope(LookAlike):
    """No `object` and no `first_id` (Foundry)."""

    def envelope(self, data: Runs, others: Runs) -> Value:
        told = super().envelope(data, others)
        return {key: told[key] for key in ("data", "last_id", "has_more")}


class TellsMilliseconds(LookAlike):
    """Timestamps in milliseconds (myla, hal-9100, DashScope)."""

    def a_run(self, number: int, thread_id: str, second: int) -> Value:
        return super().a_run(number, thread_id, second * 1000 + number % 1000)


class NumbersRuns(LookAlike):
    """Ids are integers."""

    def a_run(self, number: int, thread_id: str, second: int) -> Value:
        return super().a_run(number, thread_id, second) | {"id": number}


# Several at once, as they were seen ---------------------------------------------------


class Myla(PromisesNothing, ComparesSeconds, FailsAfterUnknown, TellsMilliseconds):
    """All that was seen at myla."""


class MylaInSeconds(PromisesNothing, ComparesSeconds, FailsAfterUnknown):
    """The same, where seconds are shared."""


class OpenAssistant(ComparesIds, KnowsNothingAfterUnknown):
    """All that was seen at open-assistant-api."""


class ComparesIdsAndPromisesNothing(ComparesIds, PromisesNothing):
    pass


class Prism(IgnoresCursor, NamesAnotherLast, AlwaysPromises):
    """All that was seen at Prism."""


class SendsShortPagesAndPromisesNothing(SendsShortPages, PromisesNothing):
    pass


class ComparesSecondsWithFixedTies(ComparesSeconds):
    """Runs of one second come in the same order, whichever way is asked for."""

    def sorted(self, runs: Runs, order: str) -> Runs:
        sign = 1 if order == "asc" else -1
        return sorted(runs, key=lambda run: (sign * created_at_of(run), str(run["id"])))
