"""How a sync shows that it moves: a bar at a terminal, lines in a pipe, or not at all."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn

from etl.cli.terminal import counted, say
from etl.domain.outcome import SyncReport

SECONDS_BETWEEN_LINES = 10.0
MINUTE = 60.0


class _Silence:
    def progressed(self, report: SyncReport) -> None:
        """Say nothing."""


@contextmanager
def silence(total: int) -> Iterator[_Silence]:
    """Show nothing."""
    del total
    yield _Silence()


@contextmanager
def lines(total: int) -> Iterator["_Lines"]:
    """Print a plain line now and then."""
    say(f"syncing {counted(total, 'thread')}")
    yield _Lines(total)


@contextmanager
def bar(total: int, *, requests_per_minute: int) -> Iterator["_Bar"]:
    """Threads done of all, runs a second, requests left in this minute's budget."""
    columns = (
        TextColumn("threads"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]:,.0f} runs/s"),
        TextColumn("{task.fields[left]:,} requests left this minute"),
    )
    with Progress(*columns, console=Console(), transient=True) as progress:
        task = progress.add_task("", total=total, rate=0.0, left=requests_per_minute)
        yield _Bar(progress, task, total, requests_per_minute)


class _Lines:
    def __init__(self, total: int) -> None:
        self._total = total
        self._said_at = time.monotonic()

    def progressed(self, report: SyncReport) -> None:
        """Say how far it is, every ten seconds."""
        if time.monotonic() - self._said_at < SECONDS_BETWEEN_LINES:
            return
        self._said_at = time.monotonic()
        say(
            f"{report.threads:,} of {self._total + report.threads_found:,} threads,"
            f" {report.runs_read:,} runs read, {_rate(report):,.0f} runs/s"
        )


class _Bar:
    def __init__(self, progress: Progress, task: TaskID, total: int, budget: int) -> None:
        self._progress = progress
        self._task = task
        self._total = total
        self._budget = budget
        self._minute = 0
        self._spent_before = 0

    def progressed(self, report: SyncReport) -> None:
        """Move the bar."""
        self._progress.update(
            self._task,
            total=self._total + report.threads_found,
            completed=report.threads,
            rate=_rate(report),
            left=self._left(report),
        )

    def _left(self, report: SyncReport) -> int:
        minute = int(report.seconds // MINUTE)
        if minute != self._minute:
            self._minute, self._spent_before = minute, report.requests
        return max(0, self._budget - (report.requests - self._spent_before))


def _rate(report: SyncReport) -> float:
    """Runs a second since the sync began."""
    return report.runs_read / max(report.seconds, 0.001)
