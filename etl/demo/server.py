"""A small API server on loopback that shows the demo world to any HTTP client."""

from collections import deque
from dataclasses import dataclass
from threading import Lock
from threading import Thread as Worker
from types import TracebackType
from typing import Any, Self

from etl.demo.api import answer, check_key
from etl.demo.listener import Listener, Reply
from etl.demo.refusal import RefusedError
from etl.demo.world import World

_REMEMBERED_REQUESTS = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class SeenRequest:
    """A request's first line; of its API key only that there was one."""

    line: str
    has_authorization: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class SeenRequests:
    """How many requests came since the server's making, and the latest of them."""

    count: int
    recent: tuple[SeenRequest, ...]


class DemoServer:
    """Serves a world's runs as of `now`, an instant in Unix seconds.

    Use it as a context manager; entering it raises OSError when the port is in
    use. Port 0 takes a free one. With an `api_key`, requests need it. Time
    stands still until `now` is set or `advance` is called, from any worker.
    """

    def __init__(
        self,
        world: World,
        *,
        now: int,
        api_key: str | None = None,
        host: str = "127.0.0.1",
        port: int = 0,
    ) -> None:
        self.now = now
        self._world = world
        self._api_key = api_key
        self._address = (host, port)
        # Read here: it draws the world, and no request should wait for that.
        self.thread_ids = world.thread_ids
        self._lock = Lock()
        self._count = 0
        self._recent: deque[SeenRequest] = deque(maxlen=_REMEMBERED_REQUESTS)

    def __enter__(self) -> Self:
        self._listener = Listener(self._address, self._reply)
        self._worker = Worker(target=self._listener.serve, daemon=True)
        self._worker.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._listener.stop()
        self._worker.join()

    @property
    def base_url(self) -> str:
        """Where the API begins, ending in `/v1`; known once it is entered."""
        host, port = self._listener.address
        return f"http://{host}:{port}/v1"

    @property
    def requests(self) -> SeenRequests:
        """The GET requests so far, whatever was answered."""
        with self._lock:
            return SeenRequests(count=self._count, recent=tuple(self._recent))

    def advance(self, seconds: int) -> None:
        """Let time pass in the world."""
        with self._lock:
            self.now += seconds

    def _reply(self, line: str, target: str, authorization: str | None) -> Reply:
        self._remember(SeenRequest(line=line, has_authorization=bool(authorization)))
        try:
            return Reply(200, self._answer(target, authorization))
        except RefusedError as refusal:
            return Reply(refusal.status, refusal.payload())

    def _answer(self, target: str, authorization: str | None) -> dict[str, Any]:
        check_key(authorization, self._api_key)
        return answer(self._world, target, at=self.now)

    def _remember(self, request: SeenRequest) -> None:
        with self._lock:
            self._count += 1
            self._recent.append(request)
