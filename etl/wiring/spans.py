"""A sync as spans: `sync`, below it one `pass` a thread and one `commit` a batch.

Needs the extra `otel`; everything else goes by OpenTelemetry's standard variables.
"""

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from threading import Thread

from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import (
    BatchSpanProcessor,
    SpanExporter,
    SpanExportResult,
)
from opentelemetry.trace import Span, StatusCode, set_span_in_context

from etl.domain.batch import Batch, Committed, Increment, TrackedThread
from etl.domain.outcome import Outcome, SyncReport
from etl.sync import Reader, Source
from etl.sync.ports import Store
from etl.wiring.journal import figures, said
from etl.wiring.tracing import log

SENDING_SECONDS = 2.0
"""How long the end of a sync waits for the collector."""

NOT_SENT = "Not all OpenTelemetry traces could be sent; check the collector."


class Spans:
    """Follows one sync, and sends what it saw to the collector."""

    def __init__(self) -> None:
        _silence()
        self._exporter = _Counting(OTLPSpanExporter())
        self._provider = TracerProvider(resource=_resource(), shutdown_on_exit=False)
        self._provider.add_span_processor(BatchSpanProcessor(self._exporter))
        self._tracer = self._provider.get_tracer("runtide", version("runtide"))
        self._sync = Context()

    @contextmanager
    def following(self, report: SyncReport, *, trigger: str) -> Iterator[None]:
        """The span `sync`, with the figures of the report when it ends."""
        about = {"sync_id": report.sync_id, "trigger": trigger}
        with self._span("sync", about) as span:
            self._sync = set_span_in_context(span)
            try:
                yield
            finally:
                counted = figures(report)
                span.set_attributes(_attributes(counted))
                if report.outcome is Outcome.FAILED:
                    span.set_status(StatusCode.ERROR, str(counted["error"] or ""))

    def reader(self, read: Reader, *, source: str) -> Reader:
        """The same way to read a thread, each pass a span."""

        def followed(thread: TrackedThread, pages_of: Source) -> Iterator[Increment]:
            about = {"source": source, "thread_id": thread.thread_id}
            pages = runs = 0
            with self._span("pass", about) as span:
                try:
                    for increment in read(thread, pages_of):
                        pages, runs = pages + 1, runs + len(increment.runs)
                        yield increment
                finally:
                    span.set_attributes(_attributes({"pages": pages, "runs": runs}))

        return followed

    def store(self, store: Store) -> Store:
        """The same store, each commit a span."""
        return _FollowedStore(self, store)

    def commit(self, store: Store, batch: Batch) -> Committed:
        """Commit a batch; the span counts runs read and rows written."""
        with self._span("commit", {"pages": len(batch.increments)}) as span:
            committed = store.commit(batch)
            rows = committed.created + committed.updated
            counted = {"runs": rows + committed.unchanged, "rows": rows}
            span.set_attributes(_attributes(counted | {"rejects": committed.rejects}))
        return committed

    def close(self) -> None:
        """Send what is left, for two seconds at most."""
        sender = Thread(target=self._provider.shutdown, name="traces", daemon=True)
        sender.start()
        sender.join(SENDING_SECONDS)
        if sender.is_alive():
            self._exporter.shutdown()  # wakes it where it waits between two attempts
        if sender.is_alive() or self._exporter.lost:
            log.warning(NOT_SENT, extra={"spans_lost": self._exporter.lost or None})

    @contextmanager
    def _span(self, name: str, about: Mapping[str, object]) -> Iterator[Span]:
        span = self._tracer.start_span(
            name, self._sync, attributes=_attributes(about), record_exception=False
        )
        try:
            yield span
        except Exception as error:
            span.set_status(StatusCode.ERROR, said(error))
            raise
        finally:
            span.end()


class _FollowedStore:
    def __init__(self, spans: Spans, store: Store) -> None:
        self._spans = spans
        self._store = store

    def commit(self, batch: Batch) -> Committed:
        """Write a batch in one transaction, or raise and write nothing."""
        return self._spans.commit(self._store, batch)

    def tend(self) -> int:
        """Keep hold of what is read; nobody needs a span of that."""
        return self._store.tend()


class _Counting(SpanExporter):
    """An exporter that knows how many spans it could not send."""

    def __init__(self, exporter: SpanExporter) -> None:
        self._exporter = exporter
        self.lost = 0

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Send some spans."""
        result = self._exporter.export(spans)
        if result is not SpanExportResult.SUCCESS:
            self.lost += len(spans)
        return result

    def shutdown(self) -> None:
        """Send nothing more."""
        self._exporter.shutdown()


def _attributes(fields: Mapping[str, object]) -> dict[str, str | int | float]:
    return {
        f"runtide.{name}": value
        for name, value in fields.items()
        if isinstance(value, str | int | float)
    }


def _resource() -> Resource:
    """Who sends the spans: runtide, unless the environment names it otherwise."""
    ours = {"service.name": "runtide", "service.version": version("runtide")}
    return Resource.create(ours).merge(OTELResourceDetector().detect())


def _silence() -> None:
    """Keep the sender's own complaints, attempt by attempt, off the terminal."""
    theirs = logging.getLogger("opentelemetry")
    if not theirs.handlers:
        theirs.addHandler(logging.NullHandler())
        theirs.propagate = False
