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
def silence() -> Iterator[_Silence]:
    """Show nothing."""
    yield _Silence()


@contextmanager
def lines() -> Iterator["_Lines"]:
    """Print a plain line now and then."""
    yield _Lines()


@contextmanager
def bar(*, requests_per_minute: int) -> Iterator["_Bar"]:
    """Threads done of all, runs a second, requests left in this minute's budget."""
    columns = (
        TextColumn("threads"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]:,.0f} runs/s"),
        TextColumn("{task.fields[left]:,} requests left this minute"),
    )
    with Progress(*columns, console=Console(), transient=True) as progress:
        task = progress.add_task("", total=None, rate=0.0, left=requests_per_minute)
        yield _Bar(progress, task, requests_per_minute)


class _Lines:
    def __init__(self) -> None:
        self._due: int | None = None
        self._said_at = time.monotonic()

    def progressed(self, report: SyncReport) -> None:
        """Say what is to be done, and how far it is, every ten seconds."""
        if report.threads_due != self._due and report.threads_due is not None:
            self._due = report.threads_due
            say(f"syncing {counted(self._due, 'thread')}")
        if time.monotonic() - self._said_at < SECONDS_BETWEEN_LINES:
            return
        self._said_at = time.monotonic()
        say(
            f"{report.threads:,} of {report.threads_due or 0:,} threads,"
            f" {report.runs_read:,} runs read, {_rate(report):,.0f} runs/s"
        )


class _Bar:
    def __init__(self, progress: Progress, task: TaskID, budget: int) -> None:
        self._progress = progress
        self._task = task
        self._budget = budget
        self._minute = 0
        self._spent_before = 0

    def progressed(self, report: SyncReport) -> None:
        """Move the bar."""
        self._progress.update(
            self._task,
            total=report.threads_due,
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
