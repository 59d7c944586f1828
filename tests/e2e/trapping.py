"""The demo's world over HTTP, with a trap that goes off in the middle of a sync."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Event, Lock

from etl.demo.api import answer
from etl.demo.listener import Reply
from etl.demo.refusal import RefusedError
from etl.demo.world import World
from tests.integration.serving import listening


class TrappedApi:
    """Serves a world as of `now`; can be told to do something after some requests."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.now = world.now
        self._lock = Lock()
        self._requests = 0
        self._springs_after: int | None = None
        self._spring: Callable[[], object] = Event
        self._hangs_after: int | None = None
        self._waiting = 1
        self._hangs = Event()
        self._released = Event()

    @contextmanager
    def listening(self) -> Iterator[str]:
        """Serve until the end; lends the base URL."""
        with listening(self._reply) as base_url:
            try:
                yield base_url
            finally:
                self._released.set()

    def set_trap(self, *, after: int, spring: Callable[[], object]) -> None:
        """Call `spring` once, when so many more requests have come."""
        with self._lock:
            self._requests, self._springs_after, self._spring = 0, after, spring

    def hang(self, *, after: int, waiting: int = 1) -> Event:
        """Answer so many more requests and no others; tells when so many are waiting."""
        with self._lock:
            self._requests, self._hangs_after, self._waiting = 0, after, waiting
            self._hangs, self._released = Event(), Event()
        return self._hangs

    def let_others_pass(self) -> None:
        """Answer whoever comes from now on; those who wait go on waiting."""
        self._hangs_after = None

    def recover(self) -> None:
        """Answer again, those who wait as well."""
        self.let_others_pass()
        self._released.set()

    def _reply(self, _line: str, target: str, _authorization: str | None) -> Reply:
        self._count()
        try:
            return Reply(200, answer(self.world, target, at=self.now))
        except RefusedError as refusal:
            return Reply(refusal.status, refusal.payload())

    def _count(self) -> None:
        with self._lock:
            self._requests += 1
            springs = self._requests == self._springs_after
            too_many = (
                0 if self._hangs_after is None else self._requests - self._hangs_after
            )
        if springs:
            self._spring()
        if too_many >= self._waiting:
            self._hangs.set()
        if too_many > 0:
            self._released.wait()
