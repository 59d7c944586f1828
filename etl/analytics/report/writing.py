"""Writes a report's file: whole or not at all."""

import errno
import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from datetime import date, datetime
from enum import StrEnum
from importlib.util import find_spec
from pathlib import Path

from sqlalchemy.engine import Engine

from etl.analytics.report.reading import Report, read_report, read_usage
from etl.domain.errors import ConfigError

NEEDED = ("altair", "jinja2", "vl_convert")


class Format(StrEnum):
    """What a report can be, and how its file's name ends."""

    HTML = "html"
    PNG = "png"
    CSV = "csv"
    JSON = "json"


def has_extra() -> bool:
    """Whether the packages that draw are installed."""
    return all(find_spec(name) is not None for name in NEEDED)


def require_extra(form: Format) -> None:
    """Raise ConfigError where a format needs packages that are not installed."""
    if form in {Format.HTML, Format.PNG} and not has_extra():
        raise ConfigError(
            "A report needs packages that are not installed; install runtide with its"
            " extra `report` (pip install '.[report]' in its repository), or choose"
            " --format csv or json."
        )


def write_report(
    engine: Engine,
    path: Path,
    form: Format = Format.HTML,
    *,
    first_day: date | None = None,
    last_day: date | None = None,
    source: str | None = None,
    at: datetime,
) -> None:
    """Write a report; `at` is now.

    A file of that name is replaced. Raises ConfigError where it cannot be written.
    """
    if form is Format.CSV:
        from etl.analytics.report.rows import csv_lines  # noqa: PLC0415

        usage = read_usage(engine, first_day, last_day, source=source, at=at)
        write_atomically(path, _encoded(csv_lines(usage)))
    else:
        report = read_report(engine, first_day, last_day, source=source, at=at)
        write_atomically(path, _made(report, form))


def _made(report: Report, form: Format) -> Iterator[bytes]:
    match form:
        case Format.PNG:
            from etl.analytics.report.picture import png  # noqa: PLC0415

            yield png(report)
        case Format.JSON:
            from etl.analytics.report.rows import as_json  # noqa: PLC0415

            yield as_json(report).encode()
        case _:
            from etl.analytics.report.page import html  # noqa: PLC0415

            yield from _encoded(html(report))


def _encoded(texts: Iterable[str]) -> Iterator[bytes]:
    # What no file can hold, a lone surrogate, cannot come from Postgres either.
    return (text.encode() for text in texts)


def write_atomically(path: Path, parts: Iterable[bytes]) -> None:
    """Write beside the file, then take its place: who reads it sees the old or the new.

    A link stays, and what it leads to is replaced. Raises ConfigError.
    """
    try:
        _refuse_what_is_no_file(path)
        _replace(Path(os.path.realpath(path)), parts)
    except OSError as error:
        raise ConfigError(
            f"{path} cannot be written: {error.strerror}; choose another place with --out."
        ) from error


def _refuse_what_is_no_file(path: Path) -> None:
    """Raise OSError for a directory, and for a device or a pipe, which others use, too."""
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    if path.exists() and not path.is_file():
        raise OSError(errno.EINVAL, "It is no ordinary file")


def _replace(path: Path, parts: Iterable[bytes]) -> None:
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with beside.open("wb") as file:
            file.writelines(parts)
        beside.replace(path)
    finally:
        with suppress(OSError):
            beside.unlink(missing_ok=True)
