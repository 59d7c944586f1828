"""`runtide plan`: what the next sync asks, what it leaves, and how late that makes runs."""

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from etl.cli.options import settings_of
from etl.cli.planning_words import changes, duration, sentences, span_of
from etl.cli.terminal import counted, say, show_table
from etl.cli.threads import SourceName

if TYPE_CHECKING:
    from etl.config import Settings
    from etl.wiring import Outlook


def add_to(app: typer.Typer) -> None:
    """Add the commands of this family."""
    app.command()(plan)


def plan(
    context: typer.Context,
    source: SourceName = None,
    window: Annotated[
        str | None,
        typer.Option(metavar="SPAN", help="As if [sync] window were this, such as 8h."),
    ] = None,
    requests_per_minute: Annotated[
        int | None,
        typer.Option(
            "--requests-per-minute", min=1, metavar="N", help="As if the budget were this."
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Show which threads the next sync asks, without a request."""
    from etl import wiring  # noqa: PLC0415  # slow to import

    settings = _supposing(settings_of(context), window, requests_per_minute)
    found = wiring.outlooks(settings, source=source)
    if as_json:
        say(json.dumps({"sources": [as_json_object(each) for each in found]}))
        return
    for number, each in enumerate(found):
        if number:
            say()
        show(each)


def _supposing(
    settings: "Settings", window: str | None, requests_per_minute: int | None
) -> "Settings":
    """The settings, with what the command line says over them."""
    from etl.config import supposing  # noqa: PLC0415

    return supposing(settings, window=window, requests_per_minute=requests_per_minute)


def show(outlook: "Outlook") -> None:
    """Print one source for a person."""
    planned = outlook.plan
    if not planned.known:
        say(f"{outlook.source}: no thread is to be asked; run `runtide track THREAD_ID …`.")
        return
    say(
        f"{outlook.source}: {counted(planned.known, 'thread')} known,"
        f" {planned.due:,} due now, {planned.left:,} left for later."
    )
    for sentence in sentences(outlook):
        say(sentence)
    if planned.left:
        show_table(
            ["idle for", "threads", "due now", "asked about every", "at the latest after"],
            _classes(outlook),
        )
        say("A new run is seen when its thread is asked, so as much later as that.")
        show_table(["why they are due now", "threads"], _reasons(outlook))
    for sentence in changes(outlook):
        say(sentence)


def _reasons(outlook: "Outlook") -> list[tuple[str, int]]:
    from etl.cli.planning_words import REASONS  # noqa: PLC0415

    told = outlook.plan.reasons
    return [(words, told[reason]) for reason, words in REASONS.items() if told.get(reason)]


def _classes(outlook: "Outlook") -> list[tuple[str, int, int, str, str]]:
    return [
        (
            span_of(each.days),
            each.threads,
            each.due_of(outlook.plan.idle),
            duration(each.every),
            duration(each.latest),
        )
        for each in outlook.pace.classes
    ]


def as_json_object(outlook: "Outlook") -> dict[str, Any]:
    """The outlook as `plan --json` prints it; docs/operations.md lists its keys."""
    planned, pace = outlook.plan, outlook.pace
    return {
        "source": outlook.source,
        "planned_at": planned.planned_at.isoformat(),
        "hints": planned.rule.hints,
        "window": outlook.window,
        "requests_per_minute": outlook.requests_per_minute,
        "max_interval": outlook.max_interval,
        "threads_known": planned.known,
        "threads_due": planned.due,
        "threads_left": planned.left,
        "due": {reason.name.lower(): n for reason, n in sorted(planned.reasons.items())},
        "requests_expected": planned.requests_expected,
        "seconds_expected": round(
            planned.requests_expected * 60 / outlook.requests_per_minute, 1
        ),
        "factor": planned.factor,
        "long_run": {
            "seconds_between_syncs": outlook.gap.total_seconds(),
            "factor": pace.factor,
            "requests": pace.requests,
            "requests_to_ask_everybody": pace.requests_of_all,
            "requests_to_keep_max_interval": pace.requests_of_checks,
            "keeps_max_interval": pace.stretch == 1,
            "idle": [
                {
                    "from_days": each.days[0],
                    "to_days": each.days[1],
                    "threads": each.threads,
                    "threads_due": each.due_of(planned.idle),
                    "seconds_every": round(each.every.total_seconds()),
                    "seconds_latest": round(each.latest.total_seconds()),
                }
                for each in pace.classes
            ],
        },
        "doubled": outlook.doubled
        and {
            "threads_due": outlook.doubled.plan.due,
            "requests_expected": outlook.doubled.plan.requests_expected,
            "factor": outlook.doubled.pace.factor,
        },
    }
