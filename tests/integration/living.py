"""A world of threads that a test changes at will, also while it is being read."""

import json
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from enum import Enum, auto
from hashlib import sha256
from itertools import count
from threading import Event, Lock
from urllib.parse import parse_qsl, unquote, urlsplit

from etl.demo.listener import Reply
from etl.domain.run import is_terminal
from tests.integration.serving import Value, listening

DAY = 86_400
NEXT = {
    "queued": "in_progress",
    "in_progress": "requires_action",
    "requires_action": "queued",
}
"""How a run goes on while it is open: round and round."""

DAMAGES: Sequence[Value] = (
    {"created_at": None},
    {"status": {"is": "unknown"}},
    {"instructions": "a NUL: \0"},
    {"max_prompt_tokens": float("nan")},
    {"id": None},
)
"""What makes a payload a reject. The last one stands in the way of pages of one."""


class Act(Enum):
    """What can happen in a world."""

    CREATE = auto()
    GO_ON = auto()
    END = auto()
    TAG = auto()
    MEND = auto()
    LAPSE = auto()
    VANISH_RUN = auto()
    VANISH_THREAD = auto()
    RETURN_THREAD = auto()


@dataclass(frozen=True, kw_only=True)
class Change:
    """One act; the numbers choose whom it befalls, and what becomes of them."""

    act: Act
    thread: int = 0
    run: int = 0
    seconds: int = 0
    status: str = "queued"
    is_stale: bool = False
    damage: Value = field(default_factory=dict)


@dataclass(kw_only=True)
class LivingRun:
    """A run as its server sees it; `versions` are the payloads it has had."""

    run_id: str
    thread_id: str
    created_at: int
    tie: str
    status: str
    expires_at: int
    damage: Value
    versions: list[Value] = field(default_factory=list)
    is_late: bool = False
    """Whether it has changed since no incremental pass needs to see it any more."""

    def __post_init__(self) -> None:
        self.changed()

    @property
    def is_open(self) -> bool:
        return not is_terminal(self.status)

    @property
    def payload(self) -> Value:
        return self.versions[-1]

    def changed(self) -> None:
        """Write the payload anew; its metadata tells which version it is."""
        whole: Value = {
            "id": self.run_id,
            "object": "thread.run",
            "thread_id": self.thread_id,
            "created_at": self.created_at,
            "status": self.status,
            "expires_at": self.expires_at if self.is_open else None,
            "required_action": {"type": "submit_tool_outputs"}
            if self.status == "requires_action"
            else None,
            "usage": None if self.is_open else {"total_tokens": self.created_at % 1000},
            "metadata": {"version": str(len(self.versions))},
        }
        self.versions.append(whole | self.damage)


class LivingThread:
    """A thread that may vanish and return, with all its runs."""

    def __init__(self, thread_id: str, *, now: int) -> None:
        self.thread_id = thread_id
        self.is_gone = False
        self.runs: list[LivingRun] = []
        self._now = now

    @property
    def has_a_run_without_id(self) -> bool:
        return any("id" in run.damage for run in self.runs)

    def create(self, run_id: str, change: Change, *, tie: str) -> LivingRun:
        """Begin a run, no earlier than the one before."""
        self._now += change.seconds
        run = LivingRun(
            run_id=run_id,
            thread_id=self.thread_id,
            created_at=self._now,
            tie=tie,
            status=change.status,
            expires_at=self._now + (600 if change.is_stale else 30 * DAY),
            damage=change.damage,
        )
        self.runs.append(run)
        self.runs.sort(key=lambda each: (each.created_at, each.tie))
        return run


class LivingSource:
    """The threads of one server.

    Runs of one second stand in the order of their creation, or, as
    `are_ties_sorted_by_id` tells, in one in which a new run may be anywhere.
    """

    def __init__(self, name: str, threads: int, *, are_ties_sorted_by_id: bool) -> None:
        self.name = name
        past = int(time.time()) - 3 * DAY
        self.threads = [LivingThread(f"thread_{n}", now=past) for n in range(threads)]
        self.everything: dict[str, LivingRun] = {}
        self._are_ties_sorted_by_id = are_ties_sorted_by_id
        self._numbers = count()

    @property
    def runs(self) -> dict[str, LivingRun]:
        """The runs that are there, by id."""
        return {run.run_id: run for thread in self.threads for run in thread.runs}

    def apply(self, change: Change, *, while_read: bool = False) -> None:
        """Let something happen, if there is somebody whom it can befall."""
        thread = self.threads[change.thread % len(self.threads)]
        match change.act:
            case Act.CREATE:
                self._create(thread, change, while_read=while_read)
            case Act.VANISH_THREAD:
                thread.is_gone = True
            case Act.RETURN_THREAD:
                thread.is_gone = False
            case _:
                runs = [run for run in thread.runs if _can(run, change.act)]
                if runs:
                    _befall(thread, runs[change.run % len(runs)], change)

    def answer(self, path: Sequence[str], query: dict[str, str]) -> Reply:
        """List the runs of a thread, or retrieve one."""
        thread_id, _, *run_ids = path
        thread = next(each for each in self.threads if each.thread_id == thread_id)
        runs = {run.run_id: run.payload for run in thread.runs}
        asked = [*run_ids, *(query[key] for key in ("after",) if key in query)]
        if thread.is_gone or not runs.keys() >= set(asked):
            return Reply(404, {"error": {"message": f"No {thread_id} with {asked}."}})
        if run_ids:
            return Reply(200, runs[run_ids[0]])
        ids = list(runs) if query["order"] == "asc" else list(runs)[::-1]
        first = ids.index(query["after"]) + 1 if "after" in query else 0
        page = ids[first : first + int(query["limit"])]
        return Reply(
            200,
            {
                "object": "list",
                "data": [runs[run_id] for run_id in page],
                "has_more": first + len(page) < len(ids),
            },
        )

    def _create(self, thread: LivingThread, change: Change, *, while_read: bool) -> None:
        number = f"{next(self._numbers):06}"
        run_id = f"run_{number}"
        tie = number
        if self._are_ties_sorted_by_id:
            tie = sha256(run_id.encode()).hexdigest()
            # No server could show such a run to who has passed its place already.
            if while_read:
                change = replace(change, seconds=max(1, change.seconds))
        if "id" in change.damage and thread.has_a_run_without_id:
            change = replace(change, damage={})
        self.everything[run_id] = thread.create(run_id, change, tie=tie)


def _can(run: LivingRun, act: Act) -> bool:
    match act:
        case Act.GO_ON | Act.END | Act.LAPSE:
            return run.is_open
        case Act.MEND:
            return bool(run.damage)
        case _:
            return True


def _befall(thread: LivingThread, run: LivingRun, change: Change) -> None:
    run.is_late = run.is_late or not run.is_open or bool(run.damage)
    match change.act:
        case Act.GO_ON:
            run.status = NEXT.get(run.status, "cancelling")
        case Act.END:
            run.status = "failed" if change.run % 2 else "completed"
        case Act.MEND:
            run.damage = {}
        case Act.LAPSE:
            run.expires_at = run.created_at + 600
        case Act.VANISH_RUN:
            thread.runs.remove(run)
        case _:
            pass
    run.changed()


@dataclass(frozen=True, kw_only=True)
class Scheduled:
    """What happens while a sync reads: before so many requests are answered."""

    after: int
    source: int
    change: Change


class LivingWorld:
    """Some sources behind one address, and what is to happen while they are read."""

    def __init__(self, sources: Sequence[LivingSource]) -> None:
        self.sources = sources
        self._lock = Lock()
        self._requests = 0
        self._scheduled: list[Scheduled] = []
        self._stops: Event | None = None
        self._stops_after = 0

    def schedule(self, scheduled: Sequence[Scheduled]) -> None:
        """Have changes happen, counted from the next request on."""
        with self._lock:
            self._requests = 0
            self._scheduled = list(scheduled)
            self._stops = None

    def stop_after(self, requests: int, stop: Event) -> None:
        """Ask a sync to stop, before so many requests are answered."""
        with self._lock:
            self._stops, self._stops_after = stop, requests

    def catch_up(self) -> None:
        """Let happen what was scheduled for requests that nobody made."""
        with self._lock:
            self._happen(self._scheduled, while_read=False)

    @contextmanager
    def listening(self) -> Iterator[list[str]]:
        """Serve until the end; lends each source's base URL."""
        with listening(self._reply) as base_url:
            root = base_url.removesuffix("v1")
            yield [f"{root}{place}/v1" for place in range(len(self.sources))]

    def _reply(self, _line: str, target: str, _authorization: str | None) -> Reply:
        url = urlsplit(target)
        place, _, _, *path = map(unquote, url.path.strip("/").split("/"))
        with self._lock:
            self._requests += 1
            due = [each for each in self._scheduled if each.after < self._requests]
            self._happen(due, while_read=True)
            if self._stops and self._requests > self._stops_after:
                self._stops.set()
            return self.sources[int(place)].answer(path, dict(parse_qsl(url.query)))

    def _happen(self, due: Sequence[Scheduled], *, while_read: bool) -> None:
        for each in due:
            source = self.sources[each.source % len(self.sources)]
            source.apply(each.change, while_read=while_read)
        self._scheduled = [each for each in self._scheduled if each not in due]


def as_sent(payload: Value) -> str:
    """A payload's text as the server writes it."""
    return json.dumps(payload, ensure_ascii=False, separators=(",", ":"))
