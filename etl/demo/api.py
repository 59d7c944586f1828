"""The demo API without its HTTP: a request's target in, a payload out."""

import hmac
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from etl.demo.paging import ListRequest, page_of
from etl.demo.refusal import (
    malformed_id,
    no_key,
    no_run,
    no_such_path,
    no_thread,
    wrong_key,
)
from etl.demo.thread import Thread
from etl.demo.world import World


def check_key(authorization: str | None, api_key: str | None) -> None:
    """Raise RefusedError unless the header carries the API key, if there is one."""
    if api_key is None:
        return
    if not authorization:
        raise no_key()
    expected = f"Bearer {api_key}".encode()
    if not hmac.compare_digest(authorization.encode(), expected):
        raise wrong_key()


def answer(world: World, target: str, *, at: int) -> dict[str, Any]:
    """Answer `GET target` as of an instant; raises RefusedError."""
    url = urlsplit(target)
    match [unquote(part) for part in url.path.strip("/").split("/")]:
        case ["v1", "threads", thread_id, "runs"]:
            request = ListRequest.parsed(dict(parse_qsl(url.query)))
            return page_of(_thread(world, thread_id).as_of(at), request).payload(at)
        case ["v1", "threads", thread_id, "runs", run_id]:
            return _run(_thread(world, thread_id), run_id, at)
        case _:
            raise no_such_path("GET", url.path)


def _thread(world: World, thread_id: str) -> Thread:
    if not thread_id.startswith("thread"):
        raise malformed_id("thread_id", thread_id, "thread")
    thread = world.thread(thread_id)
    if thread is None:
        raise no_thread(thread_id)
    return thread


def _run(thread: Thread, run_id: str, at: int) -> dict[str, Any]:
    if not run_id.startswith("run"):
        raise malformed_id("run_id", run_id, "run")
    life = thread.run(run_id, at=at)
    if life is None:
        raise no_run(run_id)
    return life.payload(at)
