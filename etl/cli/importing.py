"""`runtide import`: run history out of files."""

import json
import sys
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from etl.cli import logs
from etl.cli.import_progress import bar, lines, silence
from etl.cli.options import settings_of
from etl.cli.syncing import EXIT_CODES, Json, Quiet, quiet_when_held, stop_on_signals
from etl.cli.terminal import complain, counted, printable, say, show_table
from etl.cli.threads import SourceName
from etl.domain.errors import ConfigError
from etl.domain.importing import ImportReport
from etl.domain.run import SECOND, Instant

if TYPE_CHECKING:
    from etl.wiring.importing import ImportWatch

NOTHING_WRITTEN = "Nothing was written: this is what an import would do."
KNOWN = " imported before and not changed since; --again reads them anew."
RESUMED = " gone on with where the last import ended."
LEFT = " not taken: what the tables have is as new or newer."
KEPT_OUT = " of forgotten threads kept out."
QUARANTINED = " in quarantine (run_sync.rejects), with the reason."


def add_to(app: typer.Typer) -> None:
    """Add the commands of this family."""
    app.command("import")(import_)


def import_(
    context: typer.Context,
    paths: Annotated[
        list[str],
        typer.Argument(
            metavar="PATH…",
            help="Files or folders of run history; - is standard input.",
            show_default=False,
        ),
    ],
    source: SourceName = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be done, and write nothing.")
    ] = False,
    track: Annotated[
        bool, typer.Option("--track", help="Track the threads that are found.")
    ] = False,
    saved_at: Annotated[
        str | None,
        typer.Option(
            metavar="INSTANT",
            help="When the files were saved: 2026-08-25, or 2026-08-25T12:00:00+02:00.",
        ),
    ] = None,
    again: Annotated[
        bool, typer.Option("--again", help="Read files that were imported before, too.")
    ] = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> int:
    """Take in run history that was saved in files; twice changes nothing."""
    from etl.wiring import importing  # noqa: PLC0415  # slow to import

    wanted = importing.Wanted(
        paths=paths,
        source=source,
        saved_at=None if saved_at is None else instant_of(saved_at),
        again=again,
        track=track,
    )
    act = importing.try_import if dry_run else importing.run_import
    watch = _watch_for(is_silent=as_json or quiet)
    with quiet_when_held(quiet), stop_on_signals() as stop:
        report = act(settings_of(context), wanted, watch=watch, stop=stop)
    if as_json:
        say(json.dumps(as_json_object(report)))
    else:
        show(report, quiet=quiet)
    return EXIT_CODES[report.outcome]


def instant_of(text: str) -> Instant:
    """Read a date or an instant, in UTC unless it tells its offset; raises ConfigError."""
    try:
        moment = datetime.fromisoformat(text)
        zoned = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        return Instant(round(zoned.timestamp() * SECOND))
    except (ValueError, OverflowError) as error:
        raise ConfigError(
            f"--saved-at is {text!r}; write a date or an instant such as 2026-08-25 or"
            " 2026-08-25T12:00:00Z."
        ) from error


def _watch_for(*, is_silent: bool) -> "ImportWatch":
    """A progress bar at a terminal, plain lines in a pipe, or nothing."""
    if is_silent:
        return silence
    return bar if sys.stdout.isatty() and not logs.fill_the_terminal() else lines


def as_json_object(report: ImportReport) -> dict[str, Any]:
    """The report as `import --json` prints it; docs/import.md lists its keys."""
    return asdict(report) | {
        "outcome": report.outcome.value,
        "dry_run": report.sync_id is None,
        "seconds": round(report.seconds, 3),
        "others": dict(report.others),
    }


def show(report: ImportReport, *, quiet: bool) -> None:
    """Print the figures, then what is noteworthy, then what is wrong with files."""
    if not quiet:
        _show_figures(report)
        for sentence in _notes(report):
            say(sentence)
    for trouble in report.troubles:
        complain(printable(trouble))
    more = report.troubles_count - len(report.troubles)
    if more:
        complain(f"… and {more:,} more; with `--log-level warning` all of them are logged.")


def _show_figures(report: ImportReport) -> None:
    headings = ["outcome", "files", "runs read", "created", "updated", "unchanged"]
    headings += ["left", "rejects", "seconds"]
    row = (
        report.outcome.value,
        report.files,
        report.runs_read,
        report.runs_created,
        report.runs_updated,
        report.runs_unchanged,
        report.runs_left,
        report.rejects,
        round(report.seconds, 2),
    )
    show_table(headings, [row])


def _notes(report: ImportReport) -> list[str]:
    """What a person should know besides the figures."""
    others = ", ".join(
        f"{count:,} {printable(kind)}" for kind, count in report.others.most_common()
    )
    known, resumed = report.files_known, report.files_resumed
    left, kept_out = report.runs_left, report.runs_kept_out
    tracked, rejects = report.threads_tracked, report.rejects
    told = (
        (report.sync_id is None, NOTHING_WRITTEN),
        (known, counted(known, "file") + KNOWN),
        (resumed, counted(resumed, "file") + RESUMED),
        (left, counted(left, "run") + LEFT),
        (kept_out, counted(kept_out, "run") + KEPT_OUT),
        (tracked, counted(tracked, "new thread") + " tracked."),
        (others, f"Objects that are no runs: {others}."),
        (rejects, counted(rejects, "payload") + QUARANTINED),
    )
    return [sentence for count, sentence in told if count]
