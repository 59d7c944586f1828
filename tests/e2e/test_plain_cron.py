"""The examples of docs/operations.md and the units of systemd, as they stand there."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy.engine import Engine

from etl.demo.server import DemoServer
from tests.e2e.conftest import KEY, Command
from tests.integration.builders import query

ROOT = Path(__file__).parents[2]
UNITS = sorted((ROOT / "scripts/systemd").glob("runtide-*"))
INSTALLED = "/opt/runtide/bin/runtide"
INSTALLED_DASK = "/opt/runtide/bin/dask"
FIELDS = 5


@pytest.fixture
def program(tmp_path: Path) -> Path:
    """The command as a file, wherever these tests run."""
    path = tmp_path / "runtide"
    path.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m etl "$@"\n')
    path.chmod(0o755)
    return path


def crontab() -> list[str]:
    """The commands of the crontab that the document shows."""
    text = (ROOT / "docs/operations.md").read_text()
    [block] = re.findall(r"```crontab\n(.*?)```", text, re.DOTALL)
    lines = [line for line in block.splitlines() if not line.startswith("#")]
    return [line.split(maxsplit=FIELDS)[FIELDS] for line in lines]


def as_cron_does(
    command: str, program: Path, folder: Path, **environment: str
) -> "subprocess.CompletedProcess[str]":
    """Run a line of a crontab: with sh, at home, with hardly any environment."""
    here = command.replace(INSTALLED, str(program)).replace("/etc/runtide", str(folder))
    return subprocess.run(
        ["/bin/sh", "-c", here],
        cwd=ROOT,  # where Python finds the package; cron would be at home
        env={"PATH": "/usr/bin:/bin", "HOME": str(folder)} | environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_the_crontab_of_the_document_works(
    runtide: Command, api: DemoServer, program: Path, engine: Engine, tmp_path: Path
) -> None:
    runtide.configure(api.base_url)
    runtide("track", *api.thread_ids)
    database = runtide.environment["RUNTIDE_DATABASE_URL"]
    (tmp_path / "environment").write_text(
        f"DEMO_KEY={KEY}\nRUNTIDE_DATABASE_URL='{database}'\n"
    )
    sync, status = crontab()

    synced = as_cron_does(sync, program, tmp_path)
    well = as_cron_does(status, program, tmp_path, RUNTIDE_DATABASE_URL=database)
    query_all = "SELECT outcome FROM run_sync.syncs"
    assert (synced.returncode, synced.stdout, synced.stderr) == (0, "", "")
    assert (well.returncode, well.stdout, well.stderr) == (0, "", "")
    assert query(engine, query_all) == [("succeeded",)]

    (tmp_path / "environment").write_text(
        f"DEMO_KEY=wrong\nRUNTIDE_DATABASE_URL='{database}'\n"
    )
    refused = as_cron_does(sync, program, tmp_path)
    needed = as_cron_does(status, program, tmp_path, RUNTIDE_DATABASE_URL=database)
    assert refused.returncode == 1
    assert refused.stdout == ""
    assert refused.stderr.startswith("runtide: demo: the server refuses the API key")
    assert needed.returncode == 0
    assert (
        "Needs a person: The last sync of demo (2) failed: demo: the server"
        in needed.stdout
    )


@pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed"
)
def test_systemd_finds_nothing_wrong_with_the_units(program: Path, tmp_path: Path) -> None:
    assert [unit.name for unit in UNITS] == [
        "runtide-dask-scheduler.service",
        "runtide-dask-worker.service",
        "runtide-schedule.service",
        "runtide-sync.service",
        "runtide-sync.timer",
    ]
    here = []
    for unit in UNITS:
        path = tmp_path / unit.name
        text = unit.read_text().replace(INSTALLED, str(program))
        path.write_text(text.replace(INSTALLED_DASK, str(program)))
        here.append(str(path))

    done = subprocess.run(
        ["systemd-analyze", "verify", *here],  # noqa: S607
        env=os.environ | {"SYSTEMD_LOG_LEVEL": "warning"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
