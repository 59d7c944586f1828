"""`runtide track`, `untrack` and `threads`: which threads are copied."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from etl.cli.ids import read_ids_or_pipe
from etl.cli.options import settings_of
from etl.cli.terminal import counted, say, show_table
from etl.domain.errors import ConfigError
from etl.domain.run import ThreadId

if TYPE_CHECKING:
    from etl.config import Settings, SourceConfig

AT_ONCE = 10_000

SourceName = Annotated[
    str | None, typer.Option("--source", help="The source, if there are several.")
]
IdFile = Annotated[
    Path | None,
    typer.Option(
        "--file", help="One id a line, or CSV with a column thread_id; - is standard input."
    ),
]
ThreadIds = Annotated[
    list[str] | None, typer.Argument(metavar="THREAD_ID…", show_default=False)
]


def add_to(app: typer.Typer) -> None:
    """Add the commands of this family."""
    app.command()(track)
    app.command()(untrack)
    app.command()(threads)


def track(
    context: typer.Context,
    thread_ids: ThreadIds = None,
    source: SourceName = None,
    file: IdFile = None,
    forgotten: Annotated[
        bool, typer.Option("--forgotten", help="Track those that were forgotten, too.")
    ] = False,
) -> None:
    """Begin copying threads."""
    from etl.load import forgotten as erasures  # noqa: PLC0415  # slow to import
    from etl.load import tracking as registry  # noqa: PLC0415

    kept_out = 0

    def change(engine: Any, source_id: Any, ids: list[ThreadId]) -> int:
        nonlocal kept_out
        if forgotten:
            erasures.readmit(engine, source_id, ids)
        added = registry.track(engine, source_id, ids)
        if added < len(ids):  # only then may there be forgotten ones
            kept_out += erasures.count_forgotten(engine, source_id, ids)
        return added

    ids = read_ids_or_pipe(thread_ids, file)
    settings = settings_of(context)
    asked = settings.asked_sources(source)  # of an archive nothing could be read
    added = _in_registry(settings, asked, change, ids)
    say(_tracked(added, known=len(ids) - added - kept_out, kept_out=kept_out))


def _tracked(added: int, *, known: int, kept_out: int) -> str:
    already = f", {known:,} tracked already" if known else ""
    told = f"{counted(added, 'new thread')} tracked{already}."
    if kept_out:
        stay, them = ("stays", "it") if kept_out == 1 else ("stay", "them")
        told += (
            f" {counted(kept_out, 'forgotten thread')} {stay} out; --forgotten tracks"
            f" {them} all the same."
        )
    return told


def untrack(
    context: typer.Context,
    thread_ids: ThreadIds = None,
    source: SourceName = None,
    file: IdFile = None,
) -> None:
    """Stop copying threads; their runs stay."""
    from etl.load import tracking as registry  # noqa: PLC0415

    ids = read_ids_or_pipe(thread_ids, file)
    settings = settings_of(context)
    removed = _in_registry(settings, settings.sources(source), registry.untrack, ids)
    unknown = len(ids) - removed
    rest = f", {unknown:,} not tracked anyway." if unknown else "."
    say(f"{counted(removed, 'thread')} untracked, the runs stay{rest}")


def threads(context: typer.Context, source: SourceName = None) -> None:
    """List the tracked threads."""
    from etl import wiring  # noqa: PLC0415
    from etl.load.overview import threads_overview  # noqa: PLC0415

    headings = ["source", "thread", "runs", "last run", "last pass", "error"]
    with wiring.ready_database(settings_of(context)) as engine:
        rows = (
            (
                t.source,
                t.thread_id,
                t.runs_seen,
                t.last_run_at,
                t.last_pass_at,
                t.last_error,
            )
            for t in threads_overview(engine, source)
        )
        show_rows(headings, rows)


def show_rows(headings: list[str], rows: Iterator[tuple[object, ...]]) -> None:
    """Print a table at a terminal, tab-separated lines in a pipe."""
    if sys.stdout.isatty():
        show_table(headings, rows)
        return
    say("\t".join(headings))
    for row in rows:
        say("\t".join("" if value is None else str(value) for value in row))


def _in_registry(
    settings: "Settings",
    chosen: "tuple[SourceConfig, ...]",
    change: Callable[[Any, Any, list[ThreadId]], int],
    ids: list[ThreadId],
) -> int:
    """Change the registry for one source, ten thousand ids at a time."""
    from etl import wiring  # noqa: PLC0415

    if len(chosen) > 1:
        names = ", ".join(each.name for each in chosen)
        raise ConfigError(f"There are several sources ({names}); name one with --source.")
    with wiring.ready_database(settings) as engine:
        [source_id] = wiring.source_ids(engine, chosen)
        return sum(
            change(engine, source_id, ids[at : at + AT_ONCE])
            for at in range(0, len(ids), AT_ONCE)
        )
