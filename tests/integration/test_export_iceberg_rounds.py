"""Random changes between exports: after each one the Iceberg tables equal Postgres."""

import random
from pathlib import Path

import pytest
from sqlalchemy.engine import Engine

from tests.integration.builders import execute
from tests.integration.exported import MONTHS, inserted, make_world
from tests.integration.icebergs import (
    FORGET_CATALOG,
    NAMES,
    assert_iceberg_equals_tables,
    exported_to_iceberg,
    snapshots,
)
from tests.integration.test_export_rounds import (
    CELLS,
    CHANGES,
    PRICES,
    drawn,
    prices_forgotten,
)

MORE_MONTHS = ("2026-07-01", "2026-08-01", *MONTHS)
"""Two of them have no runs, nor a partition, when the rounds begin."""

FORGET = (
    "DELETE FROM run_history.runs WHERE thread_id = 'thread_{fifth}'"
    " AND source_id = {source}"
)
"""What `runtide forget` does to the runs of a thread."""


@pytest.mark.parametrize("rounds", [3, pytest.param(50, marks=pytest.mark.slow)])
def test_after_every_round_the_iceberg_tables_equal_postgres(
    swept_engine: Engine, tmp_path: Path, rounds: int
) -> None:
    dice = random.Random(rounds)  # noqa: S311  # any changes will do
    execute(swept_engine, FORGET_CATALOG)
    make_world(swept_engine, runs=30)
    to = tmp_path / "warehouse"
    with prices_forgotten(swept_engine):
        for number in range(rounds):
            exported_to_iceberg(swept_engine, to)
            assert_iceberg_equals_tables(swept_engine, to)
            for part in range(dice.randint(1, 4)):
                execute(swept_engine, *one_change(dice, f"{number}x{part}"))
        exported_to_iceberg(swept_engine, to)
        assert_iceberg_equals_tables(swept_engine, to)
        counts = snapshots(swept_engine, to)
        exported_to_iceberg(swept_engine, to)
        assert snapshots(swept_engine, to) == counts
    assert set(counts) == set(NAMES)


def one_change(dice: random.Random, name: str) -> list[str]:
    """Statements that add, change or take something, in some month of some source."""
    cell = source, _ = dice.choice(CELLS)
    kind = dice.random()
    if kind < 0.4:
        month = dice.choice(MORE_MONTHS)
        made = f"SELECT run_sync.make_month('{month}')"
        return [made, inserted(name, month, dice.randint(1, 20), source=source)]
    if kind < 0.5:
        return [drawn(FORGET, cell, dice)]
    if kind < 0.65:
        return [drawn(dice.choice(PRICES), cell, dice)]
    return [drawn(dice.choice(CHANGES), cell, dice)]
