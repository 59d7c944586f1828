"""Traces for OpenTelemetry, where its variables ask for them; nothing of it elsewhere.

The messages are sentences: a command that keeps no log shows them as they are.
"""

import logging
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from typing import Protocol

from etl.domain.outcome import SyncReport
from etl.sync import Reader
from etl.sync.ports import Store

log = logging.getLogger(__name__)

ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")

NOT_INSTALLED = (
    "The environment asks for OpenTelemetry traces, but what sends them is not"
    " installed; run `pip install 'runtide[otel]'`."
)
NOT_USABLE = (
    "The environment asks for OpenTelemetry traces, but its OTEL_ variables cannot be"
    " used; nothing is traced."
)


class Traces(Protocol):
    """Who follows a sync, without its knowing."""

    def following(
        self, report: SyncReport, *, trigger: str
    ) -> AbstractContextManager[object]:
        """Follow a sync for as long as it lasts."""
        ...

    def reader(self, read: Reader, *, source: str) -> Reader:
        """The same way to read a thread, each pass followed."""
        ...

    def store(self, store: Store) -> Store:
        """The same store, each commit followed."""
        ...


class NoTraces:
    """Follows nothing, and costs nothing."""

    def following(
        self, report: SyncReport, *, trigger: str
    ) -> AbstractContextManager[object]:
        """Look away."""
        del report, trigger
        return nullcontext()

    def reader(self, read: Reader, *, source: str) -> Reader:
        """The very same."""
        del source
        return read

    def store(self, store: Store) -> Store:
        """The very same."""
        return store


@contextmanager
def traces(environment: Mapping[str, str]) -> Iterator[Traces]:
    """Traces as the environment asks for them; sent before they are closed."""
    found = _opened() if is_wanted(environment) else None
    if found is None:
        yield NoTraces()
        return
    with closing(found):
        yield found


def is_wanted(environment: Mapping[str, str]) -> bool:
    """Whether OpenTelemetry's standard variables ask for traces over OTLP."""
    if environment.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return False
    exporters = environment.get("OTEL_TRACES_EXPORTER", "").split(",")
    if any(each.strip() for each in exporters):
        return "otlp" in map(str.strip, exporters)
    return any(environment.get(name, "").strip() for name in ENDPOINTS)


class _Closable(Traces, Protocol):
    def close(self) -> None: ...


def _opened() -> _Closable | None:
    try:
        from etl.wiring.spans import Spans  # noqa: PLC0415  # an extra
    except ImportError:
        log.warning(NOT_INSTALLED)
        return None
    try:
        return Spans()
    except Exception as error:  # a sync is worth more than its traces
        log.warning(NOT_USABLE, extra={"error": str(error)})
        return None
