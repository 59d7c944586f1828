"""`runtide report`: tokens, cost, failures and latency in one file."""

from datetime import date, datetime
from pathlib import Path
from typing import Annotated

import typer

from etl.cli.options import settings_of
from etl.cli.terminal import now, say
from etl.domain.errors import ConfigError

CENTURY = 20
FORMATS = ("html", "png", "csv", "json")


def add_to(app: typer.Typer) -> None:
    """Add the commands of this family."""
    app.command()(report)


def day_of(text: str | None) -> date | None:
    """Read a day of the command line; raises ConfigError where it is none."""
    if text is None:
        return None
    try:
        day = datetime.strptime(text, "%Y-%m-%d").date()  # noqa: DTZ007  # a day has no zone
    except ValueError as error:
        raise ConfigError(f"{text!r} is no day; write it as 2026-11-30.") from error
    if day.year // 100 != CENTURY:
        raise ConfigError(f"{text} is no day of this century; write it as 2026-11-30.")
    return day


def format_of(text: str) -> str:
    """Read a format of the command line; raises ConfigError where there is none such."""
    if text not in FORMATS:
        raise ConfigError(f"There is no format {text!r}; choose {', '.join(FORMATS)}.")
    return text


def is_yes(text: str) -> bool:
    """Read a yes or no of the command line; raises ConfigError where it is neither."""
    if text not in {"yes", "no"}:
        raise ConfigError(f"--open is yes or no, not {text!r}.")
    return text == "yes"


def report(
    context: typer.Context,
    first_day: Annotated[
        str | None, typer.Option("--from", metavar="DATE", help="The first day (UTC).")
    ] = None,
    last_day: Annotated[
        str | None, typer.Option("--to", metavar="DATE", help="The last day (UTC).")
    ] = None,
    source: Annotated[
        str | None, typer.Option(metavar="NAME", help="Only this source.")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(metavar="PATH", help="The file; runtide-report.html by default."),
    ] = None,
    form: Annotated[
        str, typer.Option("--format", metavar="|".join(FORMATS), help="What to write.")
    ] = "html",
    opened: Annotated[
        str, typer.Option("--open", metavar="yes|no", help="Show it in a browser.")
    ] = "no",
) -> int:
    """Write a report of tokens, cost, failures and latency into one file.

    Without dates it is about the last 30 days that have data, up to today.
    """
    from etl import wiring  # noqa: PLC0415  # slow to import
    from etl.analytics.report import Format, require_extra, write_report  # noqa: PLC0415

    wanted, is_opened = Format(format_of(form)), is_yes(opened)
    first, last = day_of(first_day), day_of(last_day)
    require_extra(wanted)
    path = out or Path(f"runtide-report.{wanted}")
    with wiring.ready_database(settings_of(context)) as engine:
        write_report(
            engine, path, wanted, first_day=first, last_day=last, source=source, at=now()
        )
    say(f"The report is {path}.")
    if is_opened:
        _open(path)
    return 0


def _open(path: Path) -> None:
    import webbrowser  # noqa: PLC0415

    if not webbrowser.open(path.resolve().as_uri()):
        say("No browser was found to show it.")
