"""`runtide doctor`: what keeps a sync from working, and what to do about it."""

import json
from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import typer

from etl.cli.options import settings_of
from etl.cli.syncing import Json
from etl.cli.terminal import counted, printable, say
from etl.cli.threads import SourceName
from etl.domain.errors import ConfigError

if TYPE_CHECKING:
    from etl.operations.doctor import Finding

FAILED = 1
WIDTH = len("left out")


def add_to(app: typer.Typer) -> None:
    """Add the commands of this family."""
    app.command()(doctor)


def doctor(context: typer.Context, source: SourceName = None, as_json: Json = False) -> int:
    """Check configuration, database and sources; changes nothing."""
    findings = _findings(context, source)
    found = list(findings if as_json else _told(findings))
    verdicts = Counter(each.verdict.value for each in found)
    if as_json:
        say(json.dumps(_as_json(found)))
    else:
        counts = ", ".join(
            f"{verdicts[each]} {each}" for each in ("ok", "warning", "failed", "left out")
        )
        say(f"{counted(len(found), 'check')}: {counts}.")
    return FAILED if verdicts["failed"] else 0


def _findings(context: typer.Context, source: str | None) -> "Iterator[Finding]":
    from etl.operations.doctor import examine, without_settings  # noqa: PLC0415

    try:
        settings = settings_of(context)
    except ConfigError as error:
        return without_settings(error)
    chosen = settings.sources(source) if source else settings.config.sources
    return examine(settings, chosen)


def _told(findings: "Iterator[Finding]") -> "Iterator[Finding]":
    """Print each line as soon as its check is made."""
    for each in findings:
        advice = f"; {each.advice}" if each.advice else ""
        line = f"{each.place}, {each.check}: {each.told}{advice}"
        say(printable(f"{each.verdict.value:<{WIDTH}}  {line}"))
        yield each


def _as_json(found: "list[Finding]") -> dict[str, Any]:
    return {
        "healthy": all(each.verdict.value != "failed" for each in found),
        "checks": [
            {
                "place": each.place,
                "check": each.check,
                "verdict": each.verdict.value.replace(" ", "_"),
                "told": each.told,
                "advice": each.advice,
            }
            for each in found
        ],
    }
