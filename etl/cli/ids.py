"""Thread ids of a command line, a file or a pipe, as people write them."""

import csv
import os
import re
import stat
import sys
from codecs import BOM_UTF16_BE, BOM_UTF16_LE
from collections.abc import Iterable, Iterator
from pathlib import Path

from etl.domain.errors import ConfigError
from etl.domain.run import ThreadId
from etl.domain.thread_id import MOST_CHARACTERS, is_thread_id

PIPE = Path("-")
HEADING = re.compile(r"\w*thread_?id", re.IGNORECASE)
"""The name of a column; nobody's id. A column alone may also be named `id`."""

SEPARATORS = ",;\t"


def read_ids(given: list[str] | None, file: Path | None) -> list[ThreadId]:
    """The distinct thread ids of the command line and the file, blanks left out.

    Raises ConfigError where there is none, or where one cannot be an id.
    """
    named = [*(given or []), *(() if file is None else _read_lines(file))]
    ids = dict.fromkeys(filter(None, map(str.strip, named)))
    if not ids:
        raise ConfigError(
            "No thread id is given; name some, or a file of them with --file."
        )
    _check(ids)
    return list(map(ThreadId, ids))


def read_ids_or_pipe(given: list[str] | None, file: Path | None) -> list[ThreadId]:
    """The same; where neither is given, what is piped in is read."""
    is_piped = file is None and not given and _is_piped()
    return read_ids(given, PIPE if is_piped else file)


def _check(ids: Iterable[str]) -> None:
    """Refuse all, where one is none: a file that is wrong anywhere is the wrong file."""
    odd = [each for each in ids if not is_thread_id(each)]
    if odd:
        more = f" (and {len(odd) - 1:,} more)" if len(odd) > 1 else ""
        raise ConfigError(
            f"{odd[0][:40]!r}{more} is no thread id: it is . or .., or holds control"
            f" characters or more than {MOST_CHARACTERS} characters. Nothing was changed."
        )


def _is_piped() -> bool:
    """Whether standard input is a pipe or a file; a terminal would wait for a person."""
    try:
        mode = os.fstat(sys.stdin.fileno()).st_mode
    except (AttributeError, OSError, ValueError):
        return False
    return stat.S_ISFIFO(mode) or stat.S_ISREG(mode)


def _read_lines(file: Path) -> Iterator[str]:
    try:
        content = sys.stdin.buffer.read() if file == PIPE else file.read_bytes()
    except OSError as error:
        raise ConfigError(f"{file} cannot be read: {error.strerror}.") from error
    lines = _decoded(file, content).replace("\r\n", "\n").replace("\r", "\n").split("\n")
    return _listed(file, lines)


def _decoded(file: Path, content: bytes) -> str:
    """UTF-8, or UTF-16 where a mark says so, as Windows writes it."""
    is_wide = content.startswith((BOM_UTF16_LE, BOM_UTF16_BE))
    try:
        return content.decode("utf-16" if is_wide else "utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigError(f"{file} is not UTF-8 text: {error}.") from error


def _listed(file: Path, lines: list[str]) -> Iterator[str]:
    """The ids of lines: the whole line, or the column that the first line names."""
    first = next((line for line in lines if line.strip()), "")
    if first.lstrip().startswith(("{", "[")):
        raise ConfigError(
            f"{file} looks like JSON ({first.strip()[:40]!r}); write one id a line. Nothing"
            " was changed."
        )
    separator = next((each for each in SEPARATORS if each in first), ",")
    headings = [each.strip().strip('"') for each in first.split(separator)]
    named = [place for place, each in enumerate(headings) if HEADING.fullmatch(each)]
    if named or [each.lower() for each in headings] == ["id"]:
        place = named[0] if named else 0
        return _column(file, lines[lines.index(first) + 1 :], place, separator)
    if separator in first:
        raise ConfigError(
            f"{file} looks like a table ({first.strip()[:40]!r}), and no column of its"
            " first line is named thread_id; name one so, or write one id a line. Nothing"
            " was changed."
        )
    return (line.strip().strip('"') for line in lines)


def _column(file: Path, lines: list[str], place: int, separator: str) -> Iterator[str]:
    try:
        for row in csv.reader(lines, delimiter=separator):
            if len(row) > place:
                yield row[place]
    except csv.Error as error:
        raise ConfigError(
            f"{file} cannot be read as CSV: {error}; look for a quotation mark that is not"
            " closed. Nothing was changed."
        ) from error
