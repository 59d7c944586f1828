"""`runtide forget`: erase a thread everywhere, for good."""

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from etl.cli.ids import read_ids
from etl.cli.options import settings_of
from etl.cli.terminal import counted, say
from etl.cli.threads import SourceName
from etl.domain.errors import ConfigError
from etl.domain.run import ThreadId

if TYPE_CHECKING:
    from etl.load.erasing import Erased, Leftovers, Traces

NOT_ERASED = 1


def add_to(app: typer.Typer) -> None:
    """Add the commands of this family."""
    app.command()(forget)


def forget(
    context: typer.Context,
    thread: Annotated[
        str | None, typer.Option("--thread", help="The thread to erase.", metavar="ID")
    ] = None,
    source: SourceName = None,
    leftovers: Annotated[
        bool,
        typer.Option(
            "--leftovers",
            help="Erase instructions and tool lists that no run refers to instead.",
        ),
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> int:
    """Erase a thread from every table, and keep it out."""
    if leftovers == (thread is not None):
        raise ConfigError(
            "Name what to erase: one thread with --thread, or what no run refers to"
            " with --leftovers."
        )
    if thread is None:
        return _forget_leftovers(context, source)
    if not (yes or sys.stdin.isatty()):
        raise ConfigError(
            "What is forgotten does not come back, and there is no terminal to ask at;"
            " say --yes if you mean it. Nothing was erased."
        )
    [thread_id] = read_ids([thread], None)
    return _forget_thread(context, thread_id, source, is_confirmed=yes)


def _forget_thread(
    context: typer.Context, thread_id: ThreadId, source: str | None, *, is_confirmed: bool
) -> int:
    from etl.wiring.forgetting import forget as erase  # noqa: PLC0415  # slow to import

    def confirm(found: "Traces") -> bool:
        place = f"source {source}" if source else "all sources"
        return is_confirmed or typer.confirm(
            f"Erase thread {thread_id} from {place}, with {counted(found.runs, 'run')} and"
            f" {counted(found.rejects, 'reject')}? This cannot be undone."
        )

    erased = erase(settings_of(context), thread=thread_id, source=source, confirm=confirm)
    if erased is None:
        say("Nothing was erased.")
        return NOT_ERASED
    say(_told(thread_id, erased))
    return 0


def _told(thread_id: ThreadId, erased: "Erased") -> str:
    if not erased.was_there:
        return f"Thread {thread_id} was not here; it is noted, so that it stays out."
    return (
        f"Thread {thread_id} is forgotten: {counted(erased.runs, 'run')},"
        f" {counted(erased.rejects, 'reject')}, {_entries(erased.leftovers)} erased."
    )


def _forget_leftovers(context: typer.Context, source: str | None) -> int:
    from etl.wiring.forgetting import forget_leftovers  # noqa: PLC0415

    if source is not None:
        raise ConfigError(
            "All sources share instructions and tool lists; leave --source out."
        )
    found = forget_leftovers(settings_of(context))
    say(f"{_entries(found)} erased, which no run referred to.")
    return 0


def _entries(found: "Leftovers") -> str:
    return (
        f"{counted(found.instructions, 'instructions text')} and"
        f" {counted(found.tool_sets, 'tool list')}"
    )
