"""One process of a shared sync whose server answers at once that there are no runs.

So what it takes is the leasing and the committing, and the reading of empty pages.
"""

import json
import os
import resource
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

from bench.measuring import MAXRSS_BYTES, MEGABYTE
from etl.config import read_settings
from etl.domain.outcome import SyncReport
from etl.extract.client import Answer, Traffic
from etl.extract.openai import OpenAISource
from etl.sync import read_thread
from etl.wiring import syncs
from etl.wiring.sources import Opened

NO_RUNS = b'{"object":"list","data":[],"first_id":null,"last_id":null,"has_more":false}'


class Empty:
    """A client that answers from memory, and counts."""

    def __init__(self, now: Any) -> None:
        self.traffic = Traffic()
        self._now = now

    def ask(self, path: str, query: dict[str, str | int]) -> Answer:
        """A page without runs."""
        del path, query
        self.traffic.count(attempt=1)
        return Answer(NO_RUNS, self._now())


@contextmanager
def answered_at_once(*_: Any, now: Any, **__: Any) -> Iterator[Opened]:
    """What `http_source` opens, without HTTP."""
    source = OpenAISource(Empty(now), page_size=100)  # type: ignore[arg-type]
    yield Opened(source, read_thread, None)


class Unwatched:
    """A watcher that looks away."""

    def progressed(self, report: SyncReport) -> None:
        """Look away."""


def main() -> None:
    """Take part in the sync until nothing is left; print what was done."""
    setattr(syncs, "http_source", answered_at_once)  # noqa: B010  # in its place
    report = syncs.run_sync(
        read_settings(None),
        source=None,
        thread=None,
        watch=lambda: nullcontext(Unwatched()),
        stop=threading.Event(),
        join=True,
    )
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * MAXRSS_BYTES / MEGABYTE
    told = {"threads": report.threads, "seconds": report.seconds, "peak_megabytes": peak}
    json.dump(told | {"outcome": report.outcome.value, "process": os.getpid()}, sys.stdout)


if __name__ == "__main__":
    main()
