"""A server that sends exactly the bytes a test wants, and breaks off where it wants."""

import json
import socket
import struct
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http import HTTPStatus
from socketserver import StreamRequestHandler, ThreadingTCPServer
from ssl import SSLContext, SSLError
from threading import Event
from threading import Thread as Worker
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

RESET = struct.pack("ii", 1, 0)
"""Linger for no time: closing the connection resets it."""


@dataclass(frozen=True, slots=True)
class Request:
    """One request, as far as list-runs and retrieve-run look at it."""

    thread_id: str
    run_id: str | None
    query: Mapping[str, str]
    headers: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Answer:
    """What goes out on the connection, and what becomes of it then.

    Each part of `parts` is one packet. `ends` is "keep" or "close", "reset" it,
    "hold" it without a word until the client leaves, or "leave": the server closes
    this connection and accepts no other.
    """

    parts: Iterable[bytes]
    ends: str = "keep"


Respond = Callable[[Request], Answer]


def an_answer(
    body: Any = b"", *, status: int = 200, ends: str = "keep", **headers: str
) -> Answer:
    """A whole answer: a JSON value, or the bytes given; `_` in a header's name is `-`."""
    text = body if isinstance(body, bytes) else json.dumps(body).encode()
    told = {
        "content-type": "application/json",
        "content-length": str(len(text)),
        "x-request-id": "req_of_test",
    } | {name.replace("_", "-"): value for name, value in headers.items()}
    lines = [f"HTTP/1.1 {status} {HTTPStatus(status).phrase}"]
    lines += [f"{name}: {value}" for name, value in told.items() if value]
    return Answer([("\r\n".join(lines) + "\r\n\r\n").encode(), text], ends)


class _Server(ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 128
    respond: Respond
    tls: SSLContext | None = None

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.stopping = Event()
        self.connections: set[socket.socket] = set()

    def get_request(self) -> tuple[socket.socket, Any]:
        connection, address = super().get_request()
        self.connections.add(connection)
        return connection, address

    def leave(self) -> None:
        """Accept nobody any more; from now on connections are refused."""
        self.shutdown()
        self.server_close()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients that leave are what these tests are about."""


class _Handler(StreamRequestHandler):
    server: _Server
    disable_nagle_algorithm = True

    def setup(self) -> None:
        if self.server.tls is not None:
            self.request = self.server.tls.wrap_socket(self.request, server_side=True)
            self.server.connections.add(self.request)
        super().setup()

    def finish(self) -> None:
        super().finish()
        if self.server.tls is not None:  # the server itself knows the socket within
            self.request.close()

    def handle(self) -> None:
        with suppress(OSError, SSLError):
            while (request := self._read()) is not None:
                answer = self.server.respond(request)
                for part in answer.parts:
                    self.wfile.write(part)
                if answer.ends == "hold":
                    self.rfile.read(1)
                if answer.ends == "leave":
                    self.server.leave()
                if answer.ends == "reset":
                    self.request.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
                    self.request.close()
                if answer.ends != "keep":
                    return

    def _read(self) -> Request | None:
        line = self.rfile.readline().decode()
        if not line:
            return None
        headers = {}
        while (header := self.rfile.readline().decode().strip()) != "":
            name, _, value = header.partition(":")
            headers[name.lower()] = value.strip()
        url = urlsplit(line.split()[1])
        _, _, _, thread_id, _, *run_ids = map(unquote, url.path.split("/"))
        query = dict(parse_qsl(url.query))
        return Request(thread_id, run_ids[0] if run_ids else None, query, headers)


@contextmanager
def raw_serving(respond: Respond, *, tls: SSLContext | None = None) -> Iterator[str]:
    """Answer requests on loopback until the end; lends the base URL."""
    server = _Server()
    server.respond, server.tls = respond, tls
    worker = Worker(target=server.serve_forever, args=(0.02,), daemon=True)
    worker.start()
    try:
        scheme = "https" if tls else "http"
        yield f"{scheme}://127.0.0.1:{server.server_address[1]}/v1"
    finally:
        server.shutdown()
        server.server_close()
        for connection in server.connections:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        worker.join()
