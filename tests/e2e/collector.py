"""A collector of traces on loopback: takes OTLP over HTTP, as a real one does."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from gzip import decompress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.trace.v1.trace_pb2 import Span

Value = str | int | float | bool | None


@dataclass(frozen=True)
class Seen:
    """One span, as it came over the wire."""

    name: str
    span_id: bytes
    parent_id: bytes
    trace_id: bytes
    attributes: dict[str, Value]
    is_error: bool
    said: str
    nanoseconds: int


@dataclass
class Collector:
    """What came; `status` is what every request is answered with."""

    status: int = 200
    endpoint: str = ""
    spans: list[Seen] = field(default_factory=list)
    resources: list[dict[str, Value]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)
    is_silent: bool = False
    released: Event = field(default_factory=Event)

    def named(self, name: str) -> list[Seen]:
        return [span for span in self.spans if span.name == name]

    def take(self, path: str, headers: dict[str, str], body: bytes) -> None:
        assert path == "/v1/traces"
        assert headers["content-type"] == "application/x-protobuf"
        if headers.get("content-encoding") == "gzip":
            body = decompress(body)
        request = ExportTraceServiceRequest.FromString(body)
        self.headers.append(headers)
        self.bodies.append(body)
        for resource in request.resource_spans:
            self.resources.append(values(resource.resource.attributes))
            for scope in resource.scope_spans:
                assert scope.scope.name == "runtide"
                self.spans += map(seen, scope.spans)


def seen(span: Span) -> Seen:
    return Seen(
        name=span.name,
        span_id=span.span_id,
        parent_id=span.parent_span_id,
        trace_id=span.trace_id,
        attributes=values(span.attributes),
        is_error=span.status.code == 2,
        said=span.status.message,
        nanoseconds=span.end_time_unix_nano - span.start_time_unix_nano,
    )


def values(attributes: Any) -> dict[str, Value]:
    return {
        each.key: getattr(each.value, each.value.WhichOneof("value")) for each in attributes
    }


@contextmanager
def collecting(collector: Collector) -> Iterator[Collector]:
    """Listen on loopback until the end."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            told = {name.lower(): value for name, value in self.headers.items()}
            collector.take(self.path, told, body)
            if collector.is_silent:
                collector.released.wait(60)
            answer = ExportTraceServiceResponse().SerializeToString()
            self.send_response(collector.status)
            self.send_header("content-length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        worker = Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        worker.start()
        collector.endpoint = f"http://127.0.0.1:{server.server_address[1]}"
        try:
            yield collector
        finally:
            collector.released.set()
            server.shutdown()
            worker.join()
