"""`runtide verify`: the tables against what the server says now."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from threading import Event
from typing import TYPE_CHECKING, Annotated, Any

import typer

from etl.cli.options import settings_of
from etl.cli.progress import silence
from etl.cli.syncing import Json, as_json_object, show_report, stop_on_signals
from etl.cli.terminal import complain, counted, printable, say
from etl.cli.threads import SourceName
from etl.domain.outcome import Outcome, SyncReport

if TYPE_CHECKING:
    from etl.config import Settings
    from etl.wiring import Verified

FAILED = 1
DIFFERENCES_FOUND = 3


@dataclass(slots=True)
class Findings:
    """What a comparison found: only threads that differ or failed are kept."""

    compared: int = 0
    wrong: "list[Verified]" = field(default_factory=list)
    failed: "list[Verified]" = field(default_factory=list)

    @property
    def differences(self) -> int:
        """How many runs are not the same on both sides."""
        return sum(len(each.differences) for each in self.wrong)


@dataclass(frozen=True, slots=True)
class Mended:
    """What a repair did, and what it could not mend."""

    sync: SyncReport
    left: Findings


def add_to(app: typer.Typer) -> None:
    """Add the commands of this family."""
    app.command()(verify)


def verify(
    context: typer.Context,
    source: SourceName = None,
    sample: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", help="So many threads at random, not all."),
    ] = None,
    repair: Annotated[
        bool, typer.Option("--repair", help="Read threads that differ anew.")
    ] = False,
    as_json: Json = False,
) -> int:
    """Compare the tables with what the server says now; exit code 3 if they differ."""
    from etl import wiring  # noqa: PLC0415  # slow to import

    settings = settings_of(context)
    with stop_on_signals() as stop:
        checked = wiring.verify(settings, source=source, sample=sample, stop=stop)
        found = gathered(checked if as_json else _told(checked))
        if not as_json:
            _show_sums(found)
        mended = _mended(settings, source, found, stop) if repair and found.wrong else None
    if as_json:
        say(json.dumps(_as_json(found, mended)))
    elif mended:
        _show_repair(found, mended)
    return exit_code(found, mended)


def gathered(checked: "Iterable[Verified]") -> Findings:
    """Count what was compared, and keep what is not as it should be."""
    found = Findings()
    for each in checked:
        if each.error is not None:
            found.failed.append(each)
            continue
        found.compared += 1
        if each.differences:
            found.wrong.append(each)
    return found


def exit_code(found: Findings, mended: Mended | None) -> int:
    """A failure counts more than a difference; a mended difference still is one."""
    if found.failed or (mended and _has_failed(mended)):
        return FAILED
    return DIFFERENCES_FOUND if found.wrong else 0


def _has_failed(mended: Mended) -> bool:
    return mended.sync.outcome is not Outcome.SUCCEEDED or bool(mended.left.failed)


def _told(checked: "Iterable[Verified]") -> "Iterator[Verified]":
    """Say what is wrong as it is found."""
    for each in checked:
        _tell(each)
        yield each


def _tell(verified: "Verified") -> None:
    place = _place(verified)
    if verified.error is not None:
        complain(f"{place}: {verified.error}")
    for found in verified.differences:
        fields = f": {', '.join(found.fields)}" if found.fields else ""
        say(printable(f"{place}, run {found.run_id}: {found.kind.value}{fields}"))


def _place(verified: "Verified") -> str:
    if verified.key is None:
        return verified.source
    return f"{verified.source}, thread {verified.key[1]}"


def _show_sums(found: Findings) -> None:
    failed = f", {len(found.failed):,} could not be read" if found.failed else ""
    say(
        f"{counted(found.compared, 'thread')} compared{failed};"
        f" {counted(found.differences, 'difference')}"
        f" in {counted(len(found.wrong), 'thread')}."
    )


def _mended(
    settings: "Settings", source: str | None, found: Findings, stop: Event
) -> Mended:
    """Read the threads that differ from their start, and compare them once more."""
    from etl import wiring  # noqa: PLC0415

    keys = [each.key for each in found.wrong if each.key]
    report = wiring.repair(settings, source=source, keys=keys, watch=silence, stop=stop)
    again = wiring.verify_again(settings, source=source, keys=keys, stop=stop)
    return Mended(report, gathered(again))


def _show_repair(found: Findings, mended: Mended) -> None:
    say()
    show_report(mended.sync, quiet=False)
    for each in (*mended.left.wrong, *mended.left.failed):
        _tell(each)
    left = mended.left.differences
    say(f"{counted(found.differences - left, 'difference')} mended, {left:,} left.")
    if left:
        say("Rows are never deleted: a run that the server does not have is kept.")


def _as_json(found: Findings, mended: Mended | None) -> dict[str, Any]:
    return _findings_as_json(found) | {
        "repair": mended
        and {"sync": as_json_object(mended.sync), "left": _findings_as_json(mended.left)}
    }


def _findings_as_json(found: Findings) -> dict[str, Any]:
    return {
        "compared": found.compared,
        "differences": [
            {
                "source": each.source,
                "thread": each.key and each.key[1],
                "run": difference.run_id,
                "kind": difference.kind.name.lower(),
                "fields": list(difference.fields),
            }
            for each in found.wrong
            for difference in each.differences
        ],
        "errors": [
            {
                "source": each.source,
                "thread": each.key and each.key[1],
                "message": each.error,
            }
            for each in found.failed
        ],
    }
