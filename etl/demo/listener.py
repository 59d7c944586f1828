"""HTTP/1.1 for the demo server: connections kept alive, JSON, gzip if asked."""

import gzip
import json
import socket
import sys
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from socketserver import ThreadingTCPServer
from time import perf_counter
from typing import Any, NamedTuple
from uuid import uuid4

from etl.demo.refusal import RefusedError, no_such_method

_SMALLEST_ZIPPED = 1024


class Reply(NamedTuple):
    """A status and the payload that goes with it."""

    status: int
    payload: dict[str, Any]


# From a request's first line, its target and its Authorization header.
Respond = Callable[[str, str, str | None], Reply]


class Listener(ThreadingTCPServer):
    """Accepts connections, one worker each, until it is stopped.

    Making one raises OSError, with the address in its words, if it is taken.
    """

    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, address: tuple[str, int], respond: Respond) -> None:
        self.respond = respond
        self._connections: set[socket.socket] = set()
        try:
            super().__init__(address, _Handler)
        except OSError as error:
            host, port = address
            message = f"cannot listen on {host}:{port}: {error.strerror}"
            raise OSError(error.errno, message) from error

    @property
    def address(self) -> tuple[str, int]:
        """Where it listens: host and port."""
        host, port = self.socket.getsockname()[:2]
        return host, port

    def serve(self) -> None:
        """Accept connections until `stop` is called."""
        self.serve_forever(poll_interval=0.05)

    def stop(self) -> None:
        """Hang up on everybody and free the port; needs `serve` to be running."""
        self.shutdown()
        self.server_close()
        for connection in tuple(self._connections):
            _hang_up(connection)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Remember a connection, so that `stop` can end it."""
        self._connections.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        """Forget a connection that has ended."""
        self._connections.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Keep quiet about clients that hang up; report our own faults."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # An unreadable request is answered with a head as well.
    default_request_version = "HTTP/1.1"
    # Head and body leave together: written apart, they would wait 40 ms for
    # the client's delayed acknowledgement.
    wbufsize = -1
    disable_nagle_algorithm = True
    server: Listener

    def do_GET(self) -> None:
        started = perf_counter()
        authorization = self.headers.get("Authorization")
        reply = self.server.respond(self.requestline, self.path, authorization)
        body = _json(reply.payload)
        is_zipped = len(body) >= _SMALLEST_ZIPPED and self._takes_gzip()
        if is_zipped:
            body = gzip.compress(body, compresslevel=1)
        self.send_response(reply.status)
        self._send_headers(body, milliseconds=round((perf_counter() - started) * 1e3))
        if is_zipped:
            self.send_header("Content-Encoding", "gzip")
        self.end_headers()
        self.wfile.write(body)

    def send_error(
        self, code: int, message: str | None = None, explain: str | None = None
    ) -> None:
        """Refuse what is no GET request, in the API's envelope, and hang up."""
        if code == HTTPStatus.NOT_IMPLEMENTED:
            refusal = no_such_method(self.command, self.path)
        else:
            refusal = RefusedError(code, message or HTTPStatus(code).phrase)
        body = _json(refusal.payload())
        self.send_response(refusal.status)
        self._send_headers(body, milliseconds=0)
        self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def version_string(self) -> str:
        """Name the server, without Python's version."""
        return "runtide-demo"

    def log_message(self, *_: object) -> None:
        """Keep quiet."""

    def _send_headers(self, body: bytes, *, milliseconds: int) -> None:
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("openai-version", "2020-10-01")
        self.send_header("openai-processing-ms", str(milliseconds))
        self.send_header("x-request-id", f"req_{uuid4().hex}")

    def _takes_gzip(self) -> bool:
        return "gzip" in self.headers.get("Accept-Encoding", "")


def _json(payload: dict[str, Any]) -> bytes:
    return json.dumps(payload, ensure_ascii=False, separators=(",", ":")).encode()


def _hang_up(connection: socket.socket) -> None:
    try:
        connection.shutdown(socket.SHUT_RDWR)
    except OSError:
        # The client was faster.
        return
