"""`runtide sync`: copy what is new or still open."""

import json
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import typer

from etl.cli import logs
from etl.cli.clustering import Dask, Shards, cluster_sync
from etl.cli.options import settings_of
from etl.cli.progress import bar, lines, silence
from etl.cli.terminal import complain, counted, say, show_table
from etl.cli.threads import SourceName
from etl.domain.errors import ConfigError, HeldError
from etl.domain.outcome import Outcome, SyncReport
from etl.domain.run import ThreadId

if TYPE_CHECKING:
    from etl.config import Settings
    from etl.wiring import Watch

EXIT_CODES = {
    Outcome.SUCCEEDED: 0,
    Outcome.FAILED: 1,
    Outcome.PARTIAL: 3,
    Outcome.INTERRUPTED: 130,
}
HELD = 75
MOST_ERRORS_SHOWN = 10


def add_to(app: typer.Typer) -> None:
    """Add the commands of this family."""
    app.command()(sync)


ThreadName = Annotated[
    str | None, typer.Option("--thread", help="Only this tracked thread.", metavar="ID")
]
Json = Annotated[
    bool, typer.Option("--json", help="Print one JSON object and nothing else.")
]
Join = Annotated[
    bool,
    typer.Option(
        "--join",
        help="Share the sync with every other process that says so, on any machine.",
    ),
]
Quiet = Annotated[bool, typer.Option("--quiet", help="Print nothing but errors.")]


def sync(
    context: typer.Context,
    source: SourceName = None,
    thread: ThreadName = None,
    join: Join = False,
    dask: Dask = None,
    shards: Shards = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> int:
    """Copy what is new or still open in the tracked threads."""
    from etl.operations.afterwards import told  # noqa: PLC0415  # slow to import

    settings = settings_of(context)
    if thread and (join or dask):
        raise ConfigError("--join and --dask share whole syncs; leave out --thread.")
    if shards and not dask:
        raise ConfigError("--shards says how --dask divides a sync; name a cluster, too.")
    watch = watcher_for(settings, source, is_silent=as_json or quiet)
    with told(settings) as tell, quiet_when_held(quiet):
        report = run(settings, source, thread, watch, join=join, dask=dask, shards=shards)
        print_report(report, as_json=as_json, quiet=quiet)
        if trouble := tell(report):
            complain(trouble)
    return EXIT_CODES[report.outcome]


@contextmanager
def quiet_when_held(quiet: bool) -> Iterator[None]:
    """Where nothing but errors is to be printed, say nothing of another sync at work."""
    try:
        yield
    except HeldError:
        if quiet:
            raise typer.Exit(HELD) from None
        raise


def run(
    settings: "Settings",
    source: str | None,
    thread: str | None,
    watch: "Watch",
    *,
    join: bool = False,
    dask: str | None = None,
    shards: int | None = None,
) -> SyncReport:
    """Sync, and end early but in order where somebody asks for it."""
    from etl import wiring  # noqa: PLC0415  # slow to import

    if dask is not None:
        sync = cluster_sync(dask, shards)
    else:
        thread_id = ThreadId(thread) if thread else None
        sync = partial(wiring.run_sync, thread=thread_id, join=join)
    with stop_on_signals() as stop:
        return sync(settings, source=source, watch=watch, stop=stop)


@contextmanager
def stop_on_signals() -> Iterator[threading.Event]:
    """An event that SIGINT and SIGTERM set; a second SIGINT ends at once."""
    stop = threading.Event()

    def ask(number: int, _: object) -> None:
        stop.set()
        signal.signal(number, before[number])

    before: dict[int, Any] = {
        number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def watcher_for(settings: "Settings", source: str | None, *, is_silent: bool) -> "Watch":
    """A progress bar at a terminal, plain lines in a pipe, or nothing."""
    if is_silent:
        return silence
    budget = sum(each.requests_per_minute for each in settings.asked_sources(source))
    if sys.stdout.isatty() and not logs.fill_the_terminal():
        return partial(bar, requests_per_minute=budget)
    return lines


def print_report(report: SyncReport, *, as_json: bool, quiet: bool) -> None:
    """Print the report in the form that was asked for."""
    if as_json:
        say(json.dumps(as_json_object(report)))
    else:
        show_report(report, quiet=quiet)


def as_json_object(report: SyncReport) -> dict[str, Any]:
    """The report as `sync --json` prints it; the README lists its keys."""
    return asdict(report) | {
        "outcome": report.outcome.value,
        "seconds": round(report.seconds, 3),
    }


def show_report(report: SyncReport, *, quiet: bool) -> None:
    """Print the figures, and what failed."""
    if not quiet:
        headings = ["outcome", "threads", "failed", "read", "created", "updated"]
        headings += ["unchanged", "rejects", "requests", "seconds"]
        row = (
            report.outcome.value,
            report.threads,
            report.threads_failed,
            report.runs_read,
            report.runs_created,
            report.runs_updated,
            report.runs_unchanged,
            report.rejects,
            report.requests,
            round(report.seconds, 2),
        )
        show_table(headings, [row])
        _show_others(report)
        if report.threads_due == 0 and not report.errors and not report.threads_left:
            say("No threads are tracked; run `runtide track THREAD_ID …`.")
        for held in report.held:
            complain(held.message)
    for failure in report.errors[:MOST_ERRORS_SHOWN]:
        complain(failure.sentence)
    if len(report.errors) > MOST_ERRORS_SHOWN:
        more = len(report.errors) - MOST_ERRORS_SHOWN
        complain(f"… and {more:,} more; `runtide threads` shows them all.")


def _show_others(report: SyncReport) -> None:
    """Print what became of threads that were not tracked, not due, or not kept."""
    if report.threads_found:
        say(f"{counted(report.threads_found, 'new thread')} found.")
    if report.threads_left:
        left = counted(report.threads_left, "thread")
        say(f"{left} left for a later sync; `runtide plan` shows the next one.")
    if report.threads_refused:
        taken = counted(report.threads_refused, "thread")
        say(f"{taken} taken over by another process, for this one did not answer.")
