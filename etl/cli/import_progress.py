"""How an import shows that it moves: a bar, lines in a pipe, or not at all."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)

from etl.cli.terminal import counted, in_bytes, say
from etl.domain.importing import ImportReport

SECONDS_BETWEEN_LINES = 10.0


class _Silence:
    def progressed(self, report: ImportReport) -> None:
        """Say nothing."""


@contextmanager
def silence(files: int, size: int) -> Iterator[_Silence]:
    """Show nothing."""
    del files, size
    yield _Silence()


@contextmanager
def lines(files: int, size: int) -> Iterator["_Lines"]:
    """Print a plain line now and then."""
    say(f"importing {counted(files, 'file')}, {in_bytes(size)}")
    yield _Lines(size)


@contextmanager
def bar(files: int, size: int) -> Iterator["_Bar"]:
    """Bytes read of all files, runs a second, and how long it will take."""
    columns = (
        TextColumn(counted(files, "file")),
        BarColumn(),
        DownloadColumn(),
        TextColumn("{task.fields[rate]:,.0f} runs/s"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(), transient=True) as progress:
        yield _Bar(progress, progress.add_task("", total=size or None, rate=0.0))


class _Lines:
    def __init__(self, size: int) -> None:
        self._size = size
        self._said_at = time.monotonic()

    def progressed(self, report: ImportReport) -> None:
        """Say how far it is, every ten seconds."""
        if time.monotonic() - self._said_at < SECONDS_BETWEEN_LINES:
            return
        self._said_at = time.monotonic()
        say(
            f"{in_bytes(report.bytes_read)} of {in_bytes(self._size)},"
            f" {report.runs_read:,} runs read, {_rate(report):,.0f} runs/s"
        )


class _Bar:
    def __init__(self, progress: Progress, task: TaskID) -> None:
        self._progress = progress
        self._task = task

    def progressed(self, report: ImportReport) -> None:
        """Move the bar."""
        self._progress.update(self._task, completed=report.bytes_read, rate=_rate(report))


def _rate(report: ImportReport) -> float:
    """Runs a second since the import began."""
    return report.runs_read / max(report.seconds, 0.001)
