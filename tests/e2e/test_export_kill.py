"""`kill -9` of an export while a sync writes: the export before stands, none is doubled."""

import random
import subprocess
import sys
import time
from pathlib import Path
from signal import SIGKILL

import pytest

from etl.load.database import opened
from etl.warehouse import MANIFEST
from tests.e2e.conftest import Command
from tests.e2e.test_kill import HOUR, a_command, a_world, started
from tests.e2e.trapping import TrappedApi
from tests.integration.exported import (
    assert_equal_to_tables,
    assert_whole,
    lines_at,
    payloads_of,
)


@pytest.mark.parametrize("kills", [1, pytest.param(50, marks=pytest.mark.slow)])
def test_an_export_may_die_at_any_instant_while_a_sync_writes(
    tmp_path: Path, database_url: str, kills: int
) -> None:
    world, dice = a_world(seed=kills), random.Random(kills)  # noqa: S311
    api, to = TrappedApi(world), tmp_path / "warehouse"
    with api.listening() as base_url, opened(database_url) as engine:
        command = a_command(tmp_path / "killed", database_url, base_url, world)
        longest = seconds_of_an_export(command, tmp_path / "other")
        syncing = started(command)
        for _ in range(kills):
            kill_an_export(command, to, "--full", after=dice.uniform(0, longest))
            if (to / MANIFEST).exists():
                assert_whole(to)
            if syncing.poll() is not None:
                assert syncing.communicate()[1] == ""
                api.now += HOUR // (kills + 1)
                syncing = started(command)
        _, said = syncing.communicate(timeout=60)
        assert (syncing.returncode, said) == (0, "")
        assert command("export", "--to", str(to), "--quiet").code == 0
        assert_equal_to_tables(engine, to)

        lines = tmp_path / "lines"
        assert command("export", "--to", str(lines), "--format", "jsonl").code == 0
        assert lines_at(lines) == payloads_of(engine, 1)


def seconds_of_an_export(command: Command, to: Path, *options: str) -> float:
    """How long one takes that nobody disturbs, of all runs."""
    assert command("sync", "--quiet").code == 0
    began = time.monotonic()
    assert command("export", "--to", str(to), *options, "--quiet").code == 0
    return time.monotonic() - began


def kill_an_export(command: Command, to: Path, *options: str, after: float) -> None:
    """Begin an export, and end it without a word."""
    export = subprocess.Popen(
        [sys.executable, "-m", "etl", "export", "--to", str(to), *options, "--quiet"],
        cwd=command.directory,
        env=command.full_environment(),
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        export.wait(after)
    except subprocess.TimeoutExpired:
        export.kill()
    _, said = export.communicate(timeout=60)
    assert (export.returncode in {0, -SIGKILL}, said) == (True, "")
