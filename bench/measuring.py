"""What a command costs: time, CPU and memory, as the kernel counts them."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO

MAXRSS_BYTES = 1 if sys.platform == "darwin" else 1024
"""The unit of `ru_maxrss` (getrusage(2) of the system)."""

MEGABYTE = 1_000_000
LONGEST_COMPLAINT = 300


class CommandError(Exception):
    """A command ended with an error; the message is the last that it said."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What one command cost, from its start to its end.

    `seconds` is wall time; `cpu_seconds` user and system time of the process and of
    its children that ended; `peak_megabytes` the resident memory of the largest of them.
    The latter two are 0 where they were not measured. A process inherits its parent's
    peak, so none is smaller than the benchmark's own.
    """

    seconds: float
    cpu_seconds: float = 0.0
    peak_megabytes: float = 0.0


def measure(
    command: Sequence[str | Path],
    *,
    directory: Path,
    environment: Mapping[str, str] = os.environ,
    typed: Path | None = None,
) -> tuple[Cost, str]:
    """Run a command with a file on its standard input; its cost and what it printed.

    Raises CommandError where it fails.
    """
    with (
        (typed or Path(os.devnull)).open("rb") as stdin,
        TemporaryFile() as stdout,
        TemporaryFile() as stderr,
    ):
        began = time.perf_counter()
        process = subprocess.Popen(  # noqa: S603 - the benchmark's own commands
            command,
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            cwd=directory,
            env=environment,
            start_new_session=True,
        )
        try:
            _, status, usage = os.wait4(process.pid, 0)
        except BaseException:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            raise
        seconds = time.perf_counter() - began
        process.returncode = os.waitstatus_to_exitcode(status)
        printed, said = _text(stdout), _text(stderr)
    if process.returncode:
        raise CommandError(_complaint(printed + said))
    cost = Cost(
        seconds=seconds,
        cpu_seconds=usage.ru_utime + usage.ru_stime,
        peak_megabytes=usage.ru_maxrss * MAXRSS_BYTES / MEGABYTE,
    )
    return cost, printed


def _text(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read().decode(errors="replace")


def _complaint(said: str) -> str:
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    return lines[-1][:LONGEST_COMPLAINT] if lines else "it failed without a word"
