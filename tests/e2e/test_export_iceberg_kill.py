"""`kill -9` of an export to Iceberg tables: each stays whole, and nothing is doubled."""

import random
from pathlib import Path

import pytest

from etl.load.database import opened
from tests.e2e.test_export_kill import kill_an_export, seconds_of_an_export
from tests.e2e.test_kill import HOUR, a_command, a_world, started
from tests.e2e.trapping import TrappedApi
from tests.integration.icebergs import (
    assert_every_table_is_whole,
    assert_iceberg_equals_tables,
)

AS_ICEBERG = ("--format", "iceberg")


@pytest.mark.parametrize("kills", [1, pytest.param(50, marks=pytest.mark.slow)])
def test_an_export_to_iceberg_may_die_at_any_instant_while_a_sync_writes(
    tmp_path: Path, database_url: str, kills: int
) -> None:
    world, dice = a_world(seed=kills), random.Random(kills)  # noqa: S311
    api, to = TrappedApi(world), tmp_path / "warehouse"
    with api.listening() as base_url, opened(database_url) as engine:
        command = a_command(tmp_path / "killed", database_url, base_url, world)
        longest = seconds_of_an_export(command, to, *AS_ICEBERG)
        syncing = started(command)
        for number in range(kills):
            anew = ("--full",) if number % 2 else ()
            after = dice.uniform(longest / 2, longest)
            kill_an_export(command, to, *AS_ICEBERG, *anew, after=after)
            assert_every_table_is_whole(engine, to)
            if syncing.poll() is not None:
                assert syncing.communicate()[1] == ""
                api.now += HOUR // (kills + 1)
                syncing = started(command)
        _, said = syncing.communicate(timeout=60)
        assert (syncing.returncode, said) == (0, "")
        assert command("export", "--to", str(to), *AS_ICEBERG, "--quiet").code == 0
        assert_iceberg_equals_tables(engine, to)
