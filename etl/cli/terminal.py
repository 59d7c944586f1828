"""What people look at: tables, sentences, and nothing on standard output but results."""

import os
import shutil
import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table

MINUTE, HOUR, DAY = 60, 3_600, 86_400
THOUSAND = 1_000
NUMBER = int | float | Decimal


def complain(sentence: str) -> None:
    """Say on standard error what went wrong."""
    print(f"runtide: {sentence}", file=sys.stderr)


def say(sentence: str = "") -> None:
    """Say one line."""
    print(sentence)


def printable(text: str) -> str:
    """A text that a server had a part in, without what a terminal would obey."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)


def command_name() -> str:
    """How this command is typed here: its path where the shell would not find it."""
    program = Path(sys.argv[0])
    found = shutil.which("runtide")
    if program.name != "runtide" or (found and Path(found).samefile(program)):
        return "runtide"
    return os.path.relpath(program) if program.is_absolute() else str(program)


def counted(number: int, noun: str) -> str:
    """A number with its noun: 1 thread, 2 threads."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def show_table(
    headings: Sequence[str], rows: Iterable[Sequence[object]], *, title: str = ""
) -> None:
    """Print a table: numbers to the right, texts to the left."""
    body = [list(row) for row in rows]
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 120)
    table = Table(
        box=SIMPLE_HEAD, title=title or None, title_justify="left", pad_edge=False
    )
    for place, heading in enumerate(headings):
        told = [row[place] for row in body if row[place] is not None]
        is_number = told and all(isinstance(value, NUMBER) for value in told)
        table.add_column(heading, justify="right" if is_number else "left", overflow="fold")
    for row in body:
        table.add_row(*(escape(in_words(value)) for value in row))
    console.print(table)


def in_words(value: object) -> str:
    """One value as a person reads it."""
    match value:
        case None:
            return "-"
        case datetime():
            return value.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S")
        case int():
            return f"{value:,}"
        case float():
            return f"{value:,.2f}"
        case Decimal():
            return f"{value:,f}"
        case _:
            return str(value)


def in_minutes(moment: datetime) -> str:
    """An instant to the minute, in UTC."""
    return moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC")


def in_bytes(number: int) -> str:
    """A size in its largest unit: 812 B, 61.2 MB."""
    size, units = float(number), ["B", "kB", "MB", "GB", "TB"]
    while abs(size) >= THOUSAND and len(units) > 1:
        size /= THOUSAND
        units.pop(0)
    return f"{size:,.0f} {units[0]}" if units[0] == "B" else f"{size:,.1f} {units[0]}"


def now() -> datetime:
    """The time by the clock of this machine."""
    return datetime.now(UTC)


UNKNOWN = datetime.fromtimestamp(0, UTC)
"""When a payload was true that tells no instant (etl/transform/proof.py)."""


def ago(moment: datetime | None, *, now: datetime) -> str:
    """How long ago something was, in its largest unit."""
    if moment is None:
        return "never"
    if moment == UNKNOWN:
        return "unknown"
    seconds = int((now - moment).total_seconds())
    for unit, name in ((DAY, "d"), (HOUR, "h"), (MINUTE, "min")):
        if seconds >= unit:
            return f"{seconds // unit} {name} ago"
    return f"{max(seconds, 0)} s ago"
