"""A server on loopback that answers GET and POST with JSON, over TLS if asked."""

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ssl import SSLContext
from threading import Thread as Worker
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

Json = Any


@dataclass(frozen=True, slots=True)
class Request:
    """One request; `form` is what was posted."""

    path: tuple[str, ...]
    query: Mapping[str, str]
    headers: Mapping[str, str]
    form: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Answer:
    """A status, a JSON value and more headers."""

    status: int
    payload: Json
    headers: Mapping[str, str] = field(default_factory=dict)


Respond = Callable[[Request], Answer]


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    respond: Respond


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1
    disable_nagle_algorithm = True
    server: _Server

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        posted = self.rfile.read(int(self.headers.get("content-length", 0))).decode()
        request = Request(
            tuple(map(unquote, url.path.strip("/").split("/"))),
            dict(parse_qsl(url.query)),
            {name.lower(): value for name, value in self.headers.items()},
            dict(parse_qsl(posted)),
        )
        answer = self.server.respond(request)
        body = json.dumps(answer.payload).encode()
        self.send_response(answer.status)
        told = {"content-type": "application/json", "x-request-id": "req_of_test"}
        for name, value in (told | dict(answer.headers)).items():
            self.send_header(name, value)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self) -> None:
        self.do_GET()

    def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002
        """Keep quiet."""


@contextmanager
def json_serving(respond: Respond, *, tls: SSLContext | None = None) -> Iterator[str]:
    """Answer requests until the end; lends scheme, host and port."""
    server = _Server(("127.0.0.1", 0), _Handler)
    server.respond = respond
    if tls is not None:
        server.socket = tls.wrap_socket(
            server.socket, server_side=True, do_handshake_on_connect=False
        )
    worker = Worker(target=server.serve_forever, args=(0.02,), daemon=True)
    worker.start()
    try:
        scheme = "https" if tls else "http"
        yield f"{scheme}://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        worker.join()
