"""`runtide export`: run history on to a warehouse, as files."""

import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from functools import partial
from threading import Event
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from etl.cli.logs import LogFormat
from etl.cli.options import settings_of
from etl.cli.syncing import Json, Quiet, quiet_when_held, stop_on_signals
from etl.cli.terminal import complain, counted, in_bytes, in_minutes, now, say
from etl.domain.errors import ConfigError, StoppedError

if TYPE_CHECKING:
    from etl.config import ExportConfig, Settings
    from etl.warehouse import Exported, Progress, Watch

FORMATS = ("parquet", "jsonl", "iceberg")
SECONDS_BETWEEN_LINES = 10.0


def add_to(app: typer.Typer) -> None:
    """Add the commands of this family."""
    app.command()(export)


def export(
    context: typer.Context,
    to: Annotated[
        str | None,
        typer.Option(
            metavar="PATH|URL", help="A folder, s3://…, gs://…; else those of [[exports]]."
        ),
    ] = None,
    form: Annotated[
        str | None,
        typer.Option("--format", metavar="|".join(FORMATS), help="Parquet, by default."),
    ] = None,
    full: Annotated[bool, typer.Option("--full", help="Write everything anew.")] = False,
    schedule: Annotated[
        bool,
        typer.Option("--schedule", help="Stay, and export after each sync until stopped."),
    ] = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> int:
    """Write what has changed since the last export: Parquet, or the API's own objects."""
    from etl import wiring  # noqa: PLC0415  # slow to import

    if schedule:
        return _stay(context, to, form, is_full=full)
    settings = settings_of(context)
    for entry in entries_of(settings, to, form):
        with (
            stop_on_signals() as stop,
            quiet_when_held(quiet),
            watcher(stop, is_silent=as_json or quiet) as watch,
        ):
            done = wiring.export(settings, entry, is_full=full, watch=watch)
        if as_json:
            say(json.dumps(as_json_object(done)))
        elif not quiet:
            show(done)
    return 0


def _stay(
    context: typer.Context, to: str | None, form: str | None, *, is_full: bool
) -> int:
    """Export after each sync, and tell it in the log."""
    from etl import wiring  # noqa: PLC0415
    from etl.operations.alerts import alerts_of  # noqa: PLC0415
    from etl.operations.exporting import follow_syncs  # noqa: PLC0415
    from etl.operations.incidents import Incidents  # noqa: PLC0415

    if is_full:
        raise ConfigError(
            "--full and --schedule do not go together; export once with --full, then stay"
            " with --schedule."
        )
    context.obj.set_up_logs(default=LogFormat.AUTO)
    settings = settings_of(context)
    entries = entries_of(settings, to, form)
    with stop_on_signals() as stop, wiring.database_url(settings):
        for entry in entries:
            wiring.check_export(entry)
        alerts = alerts_of(settings, sleep=partial(_sleep, stop))
        follow_syncs(settings, entries, Incidents(alerts.send, now=now), stop)
    return 0


def _sleep(stop: Event, seconds: float) -> None:
    stop.wait(seconds)


def entries_of(
    settings: "Settings", to: str | None, form: str | None
) -> "tuple[ExportConfig, ...]":
    """What is to be exported: what the command line says, else what the file does."""
    from etl.config import ExportConfig  # noqa: PLC0415

    if form is not None and form not in FORMATS:
        known = f"{', '.join(FORMATS[:-1])} or {FORMATS[-1]}"
        raise ConfigError(f"There is no format {form!r}; choose {known}.")
    if to is not None:
        told: Any = form or _told_before(settings, to)
        new = ExportConfig(to=to, format=told)
        return (next((each for each in settings.exports if _is_for(each, new)), new),)
    if form is not None:
        raise ConfigError("--format goes with --to; [[exports]] name formats of their own.")
    if not settings.exports:
        raise ConfigError(
            f"There is nowhere to export to; name a place with --to, or add [[exports]] to"
            f" {settings.path}."
        )
    return settings.exports


def _told_before(settings: "Settings", to: str) -> str:
    """The format that the file has for a place."""
    return next((each.format for each in settings.exports if each.to == to), FORMATS[0])


def _is_for(entry: "ExportConfig", told: "ExportConfig") -> bool:
    """Whether an entry of the file is what somebody told: it may know more of it."""
    return (entry.to, entry.format) == (told.to, told.format)


def as_json_object(done: "Exported") -> dict[str, Any]:
    """What `export --json` prints; docs/export.md lists its keys."""
    through = done.complete_through
    return asdict(done) | {"complete_through": through and through.isoformat()}


def show(done: "Exported") -> None:
    """Say what was written, and how far it is complete."""
    if done.reason:
        complain(done.reason)
    say(sentence(done))


def sentence(done: "Exported") -> str:
    """What an export did, in one sentence."""
    through = done.complete_through
    complete = f"complete through {in_minutes(through)}" if through else "not complete yet"
    if not done.months_rewritten:
        return f"{done.to}: nothing has changed; {complete}."
    return (
        f"{done.to}: {counted(done.months_rewritten, 'month')} of {done.months:,}"
        f" rewritten: {counted(done.rows, 'row')}, {counted(done.files, 'file')},"
        f" {in_bytes(done.bytes)}; {complete}."
    )


@contextmanager
def watcher(stop: Event, *, is_silent: bool) -> "Iterator[Watch]":
    """Show how far it is: at a terminal in one line, in a pipe now and then."""
    if is_silent:
        yield lambda _: _end_if(stop)
    elif sys.stdout.isatty():
        with Console().status("exporting") as status:

            def update(progress: "Progress") -> None:
                _end_if(stop)
                status.update(_told(progress))

            yield update
    else:
        yield _Lines(stop).show


class _Lines:
    def __init__(self, stop: Event) -> None:
        self._stop = stop
        self._said_at = time.monotonic()

    def show(self, progress: "Progress") -> None:
        """Say how far it is, every ten seconds."""
        _end_if(self._stop)
        if time.monotonic() - self._said_at >= SECONDS_BETWEEN_LINES:
            self._said_at = time.monotonic()
            say(_told(progress))


def _end_if(stop: Event) -> None:
    if stop.is_set():
        raise StoppedError("The export was stopped; what was exported before stands.")


def _told(progress: "Progress") -> str:
    return (
        f"{progress.partitions:,} of {progress.of:,} partitions,"
        f" {counted(progress.rows, 'row')}, {counted(progress.files, 'file')}"
    )
