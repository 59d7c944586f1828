"""The entry point: the only place where errors end, as one sentence and an exit code."""

import gc
import logging
import os
import signal
import sys
import traceback
from collections.abc import Sequence
from enum import IntEnum

import typer

from etl.cli import (
    db,
    demo,
    doctor,
    exporting,
    forgetting,
    importing,
    planning,
    prices,
    report,
    scheduling,
    setup,
    status,
    syncing,
    threads,
    upkeep,
    verifying,
)
from etl.cli.options import Options
from etl.cli.terminal import complain
from etl.domain.errors import ConfigError, HeldError, StoppedError, SyncError


class ExitCode(IntEnum):
    """What the exit code says; README, "Commands"."""

    SUCCEEDED = 0
    FAILED = 1
    USAGE = 2
    PARTIAL = 3
    HELD = syncing.HELD
    INTERRUPTED = 130


MOST_YOUNG_OBJECTS = 100_000
"""Runs come and go by the thousand and hold no cycles: looking for some more often
takes a fifth of a sync's time (bench/README.md)."""

app = typer.Typer(
    name="runtide",
    help="Keep the run history of Assistants-style threads in Postgres.",
    epilog="These options may stand anywhere on the command line.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
setup.add_to(app)
db.add_to(app)
threads.add_to(app)
planning.add_to(app)
syncing.add_to(app)
importing.add_to(app)
scheduling.add_to(app)
upkeep.add_to(app)
verifying.add_to(app)
forgetting.add_to(app)
prices.add_to(app)
status.add_to(app)
report.add_to(app)
exporting.add_to(app)
doctor.add_to(app)
demo.add_to(app)
app.callback()(Options.from_command_line)

GLOBAL_SWITCHES = {"--debug", "--version"}
GLOBAL_OPTIONS = {"--config", "--log-format", "--log-level"}


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit; SIGTERM ends it as Ctrl-C does."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    gc.freeze()
    gc.set_threshold(MOST_YOUNG_OBJECTS, 50, 100)
    # What the driver has to say of a lost connection comes as an error anyway.
    logging.getLogger("psycopg").addHandler(logging.NullHandler())
    sys.exit(run(sys.argv[1:] if arguments is None else arguments))


def run(arguments: Sequence[str]) -> int:
    """Run the command line; answer the exit code."""
    hoisted = hoist(arguments)
    try:
        return _invoke(hoisted)
    except (KeyboardInterrupt, StoppedError):
        return ExitCode.INTERRUPTED
    except BrokenPipeError:
        # Whoever read our output has left; nobody is there to be told.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return ExitCode.FAILED
    except Exception as error:  # the last stop of every error
        return _end(error, with_traceback="--debug" in hoisted)


def _code_of(error: SyncError) -> ExitCode:
    match error:
        case ConfigError():
            return ExitCode.USAGE
        case HeldError():
            return ExitCode.HELD
        case _:
            return ExitCode.FAILED


def _invoke(arguments: list[str]) -> int:
    code = app(arguments, standalone_mode=False)
    sys.stdout.flush()
    return code if isinstance(code, int) else ExitCode.SUCCEEDED


def hoist(arguments: Sequence[str]) -> list[str]:
    """Move the options of all commands to the front, wherever they stand."""
    front: list[str] = []
    rest: list[str] = []
    waiting = iter(arguments)
    for argument in waiting:
        if argument == "--":
            rest += [argument, *waiting]
        elif argument in GLOBAL_OPTIONS:
            front += [argument, *(value for value in [next(waiting, None)] if value)]
        elif argument in GLOBAL_SWITCHES or argument.partition("=")[0] in GLOBAL_OPTIONS:
            front.append(argument)
        else:
            rest.append(argument)
    return front + rest


def _end(error: Exception, *, with_traceback: bool) -> int:
    if with_traceback:
        traceback.print_exception(error)
    if isinstance(error, typer.Exit | typer.Abort):
        return getattr(error, "exit_code", ExitCode.FAILED)
    if type(error).__name__ == "NoArgsIsHelpError":
        print(error, file=sys.stderr)
        return ExitCode.USAGE
    if hasattr(error, "format_message"):  # click's errors of usage
        complain(f"{error.format_message()} See `runtide --help`.")
        return ExitCode.USAGE
    if isinstance(error, SyncError):
        complain(str(error))
        return _code_of(error)
    complain(
        f"This is a defect in runtide, {type(error).__name__}: {error}. Please report"
        " it with what `--debug` prints."
    )
    return ExitCode.FAILED
