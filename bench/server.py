"""The API server of one workload, as a process of its own."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from bench.places import ROOT
from bench.workload import Workload


@contextmanager
def serving(workload: Workload, *, latency: float = 0.0) -> Iterator[str]:
    """The base URL of an API with this workload, up for as long as the block lasts."""
    command = [sys.executable, "-m", "bench.api", str(workload.threads), str(workload.runs)]
    command += ["--latency", str(latency), "--changed", str(workload.changed)]
    command += ["--unknown-fields"] if workload.unknown_fields else []
    process = subprocess.Popen(  # noqa: S603 - this repository's own program
        command,
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,  # Ctrl-C is for the benchmark, which ends this in order
    )
    assert process.stdin  # noqa: S101 - for mypy
    assert process.stdout  # noqa: S101
    try:
        yield process.stdout.readline().strip()
    finally:
        process.stdin.close()
        process.wait()
        process.stdout.close()
