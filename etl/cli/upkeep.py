"""`runtide backfill` and `replay`: read again what was read before."""

from datetime import UTC, datetime
from typing import Annotated

import typer

from etl.cli.options import settings_of
from etl.cli.syncing import (
    EXIT_CODES,
    Json,
    Quiet,
    ThreadName,
    print_report,
    quiet_when_held,
    stop_on_signals,
    watcher_for,
)
from etl.cli.terminal import counted, say
from etl.cli.threads import SourceName
from etl.domain.run import ThreadId


def add_to(app: typer.Typer) -> None:
    """Add the commands of this family."""
    app.command()(backfill)
    app.command()(replay)


def backfill(
    context: typer.Context,
    source: SourceName = None,
    thread: ThreadName = None,
    since: Annotated[
        datetime | None,
        typer.Option(
            formats=["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S"],
            help="Only threads with a run created since then (UTC).",
        ),
    ] = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> int:
    """Read threads from their start; finds what changed after a run had ended."""
    from etl import wiring  # noqa: PLC0415  # slow to import

    settings = settings_of(context)
    with stop_on_signals() as stop, quiet_when_held(quiet):
        report = wiring.run_backfill(
            settings,
            source=source,
            thread=ThreadId(thread) if thread else None,
            since=since.replace(tzinfo=UTC) if since else None,
            watch=watcher_for(settings, source, is_silent=as_json or quiet),
            stop=stop,
        )
    print_report(report, as_json=as_json, quiet=quiet)
    return EXIT_CODES[report.outcome]


def replay(context: typer.Context, source: SourceName = None) -> None:
    """Send quarantined payloads through again, after an upgrade."""
    from etl import wiring  # noqa: PLC0415  # slow to import

    report = wiring.replay(settings_of(context), source=source)
    if report.rewritten:
        say(f"{counted(report.rewritten, 'reject')} cleaned by the privacy settings.")
    say(
        f"{counted(report.looked_at, 'reject')} looked at;"
        f" {report.replayed:,} now in the tables ({report.runs_created:,} created,"
        f" {report.runs_updated:,} updated), {report.still_waiting:,} still in quarantine."
    )
