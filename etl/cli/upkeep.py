"""`runtide backfill`, `verify` and `replay`: make sure, and mend."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from etl.cli.options import settings_of
from etl.cli.syncing import (
    EXIT_CODES,
    Json,
    Quiet,
    ThreadName,
    print_report,
    stop_on_signals,
    watcher_for,
)
from etl.cli.terminal import complain, counted, say, show_table
from etl.cli.threads import SourceName
from etl.domain.run import ThreadId

if TYPE_CHECKING:
    from etl.config import Settings
    from etl.wiring import Verified

DIFFERENCES_FOUND = 3
MOST_SHOWN = 50


def add_to(app: typer.Typer) -> None:
    """Add the commands of this family."""
    app.command()(backfill)
    app.command()(verify)
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
    with stop_on_signals() as stop:
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


def verify(
    context: typer.Context,
    source: SourceName = None,
    sample: Annotated[
        int | None, typer.Option(min=1, help="So many threads at random, not all.")
    ] = None,
    repair: Annotated[
        bool, typer.Option("--repair", help="Read threads that differ anew.")
    ] = False,
) -> int:
    """Compare the tables with what the server says now; exit code 3 if they differ."""
    from etl import wiring  # noqa: PLC0415  # slow to import

    settings = settings_of(context)
    with stop_on_signals() as stop:
        checked = list(wiring.verify(settings, source=source, sample=sample, stop=stop))
    wrong = [each for each in checked if each.differences]
    failed = [each for each in checked if each.error]
    _show(checked, wrong, failed)
    if wrong and repair:
        _mend(settings, wrong)
    if failed:
        return 1
    return DIFFERENCES_FOUND if wrong else 0


def replay(context: typer.Context, source: SourceName = None) -> None:
    """Send quarantined payloads through again, after an upgrade."""
    from etl import wiring  # noqa: PLC0415  # slow to import

    report = wiring.replay(settings_of(context), source=source)
    say(
        f"{counted(report.looked_at, 'reject')} looked at: {report.replayed:,} became"
        f" runs ({report.runs_created:,} created, {report.runs_updated:,} updated),"
        f" {report.still_waiting:,} stay in quarantine."
    )


def _show(
    checked: "list[Verified]", wrong: "list[Verified]", failed: "list[Verified]"
) -> None:
    rows = [
        (each.source, each.thread.thread_id, found.run_id, found.kind.value, found.detail)
        for each in wrong
        for found in each.differences
    ]
    if rows:
        headings = ["source", "thread", "run", "difference", "fields"]
        show_table(headings, rows[:MOST_SHOWN])
    if len(rows) > MOST_SHOWN:
        say(f"… and {len(rows) - MOST_SHOWN:,} more.")
    for each in failed[:MOST_SHOWN]:
        complain(f"{each.source}, thread {each.thread.thread_id}: {each.error}")
    say(
        f"{counted(len(checked) - len(failed), 'thread')} compared,"
        f" {counted(len(rows), 'difference')} in {counted(len(wrong), 'thread')}."
    )


def _mend(settings: "Settings", wrong: "list[Verified]") -> None:
    from etl import wiring  # noqa: PLC0415

    with stop_on_signals() as stop:
        report = wiring.repair(
            settings,
            [each.thread for each in wrong],
            watch=watcher_for(settings, None, is_silent=True),
            stop=stop,
        )
    print_report(report, as_json=False, quiet=False)
    say("Rows of runs that the server does not have are kept.")
