"""The scheduler's address: `/metrics`, `/healthz` and `/readyz`, for machines."""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from etl.domain.errors import ConfigError

Sentences = Callable[[], Sequence[str]]
"""What is wrong at the moment; nothing is well."""

TEXT = "text/plain; charset=utf-8"
PROMETHEUS = "text/plain; version=0.0.4; charset=utf-8"


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    allow_reuse_address = True

    def __init__(
        self,
        address: tuple[str, int],
        metrics: Callable[[], bytes],
        healthy: Sentences,
        ready: Sentences,
    ) -> None:
        self.metrics = metrics
        self.judges = {"/healthz": healthy, "/readyz": ready}
        super().__init__(address, _Handler)


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    server_version = "runtide"
    sys_version = ""

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        if path == "/metrics":
            self._answer(HTTPStatus.OK, self.server.metrics(), PROMETHEUS)
        elif (judge := self.server.judges.get(path)) is not None:
            wrong = judge()
            status = HTTPStatus.SERVICE_UNAVAILABLE if wrong else HTTPStatus.OK
            self._answer(status, "\n".join(wrong or ["ok"]).encode() + b"\n", TEXT)
        else:
            known = b"There is /metrics, /healthz and /readyz.\n"
            self._answer(HTTPStatus.NOT_FOUND, known, TEXT)

    do_HEAD = do_GET  # noqa: N815  # the name that http.server looks for

    def log_message(self, *_: object) -> None:
        """Keep quiet."""

    def _answer(self, status: HTTPStatus, body: bytes, kind: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


def _parsed(address: str) -> tuple[str, int]:
    """Host and port; raises ConfigError where these are not what is said."""
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal():
        raise ConfigError(
            f"Metrics cannot be served at {address!r}; write a host and a port such as"
            " 127.0.0.1:9464."
        )
    return host, int(port)


@contextmanager
def serving(
    address: str, *, metrics: Callable[[], bytes], healthy: Sentences, ready: Sentences
) -> Iterator[tuple[str, int]]:
    """Answer at `host:port` until the end; lends where it listens.

    Raises ConfigError where it cannot.
    """
    try:
        server = _Server(_parsed(address), metrics, healthy, ready)
    except (OSError, OverflowError) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise ConfigError(
            f"Metrics cannot be served at {address}: {why}; choose another host:port."
        ) from error
    worker = threading.Thread(target=server.serve_forever, name="metrics", daemon=True)
    worker.start()
    try:
        yield server.server_address[0], server.server_address[1]  # type: ignore[misc]
    finally:
        server.shutdown()
        server.server_close()
        worker.join()
