"""How every benchmark ends: its report printed and written, or a sentence instead."""

import sys
from collections.abc import Callable, Iterable
from pathlib import Path

import psycopg

from bench.measuring import CommandError
from bench.places import FOLDER


def written(measured: Callable[[], Iterable[str]], out: Path) -> int:
    """Measure, print the report and write it down; the command's exit code."""
    try:
        FOLDER.mkdir(exist_ok=True)
        text = "".join(measured())
    except KeyboardInterrupt:
        sys.stderr.write("Interrupted; nothing is written.\n")
        return 130
    except (CommandError, OSError, psycopg.Error) as error:
        sys.stderr.write(f"The benchmark cannot go on: {error}\n")
        return 1
    sys.stdout.write(text)
    out.write_text(text, encoding="utf-8")
    return 0
