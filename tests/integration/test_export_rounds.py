"""Random changes by transactions that overlap exports: the files equal the tables.

Connections stay open over exports and commit late, in any order; after each export the
files hold what its snapshot saw, and after the last one what the tables hold.
"""

import random
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from tests.integration.builders import execute
from tests.integration.exported import (
    MONTHS,
    assert_equal_to_tables,
    by_month,
    exported_to,
    inserted,
    make_world,
    rewritten,
)

WRITERS = 3
MODELS = ("gpt-4o", "gpt-4o-mini", "house-model")
CELLS = [(source, month) for source in (1, 2) for month in MONTHS]

WITHIN = (
    "source_id = {source} AND created_at >= '{month} 00:00+00'"
    " AND created_at < timestamptz '{month} 00:00+00' + interval '1 month'"
)
SOME = f"{WITHIN} AND hashtext(run_id) % 5 = {{fifth}}"

CHANGES = (
    (
        "UPDATE run_history.runs SET status = 'failed', change_xid = pg_current_xact_id()"
        f" WHERE {SOME}"
    ),
    f"DELETE FROM run_history.runs WHERE {SOME}",
    f"DELETE FROM run_history.runs WHERE {WITHIN}",
    f"UPDATE run_history.runs SET status = 'completed' WHERE {WITHIN} AND false",
    (
        "UPDATE run_sync.threads SET runs_seen = runs_seen + 1 WHERE source_id = {source}"
        " AND thread_id = 'thread_{fifth}'"
    ),
    "DELETE FROM run_sync.threads WHERE source_id = {source} AND thread_id = 'thread_1'",
    (
        "INSERT INTO run_sync.threads (source_id, thread_id, tracked_at)"
        " VALUES ({source}, 'thread_{fifth}', '{month}') ON CONFLICT DO NOTHING"
    ),
)

PRICES = (
    (
        "INSERT INTO run_analytics.model_prices"
        " (provider, model, token_kind, usd_per_million, effective_from, origin)"
        " SELECT 'openai', '{model}', kind, {fifth} + 0.25,"
        " timestamptz '{month}' + '9 days', 'user'"
        " FROM unnest(ARRAY['input', 'output']) kind ON CONFLICT DO NOTHING"
    ),
    "DELETE FROM run_analytics.model_prices WHERE origin = 'user' AND model = '{model}'",
    (
        "INSERT INTO run_analytics.deployments (source_id, name, model)"
        " VALUES ({source}, 'house-model', 'gpt-4o') ON CONFLICT DO NOTHING"
    ),
    "DELETE FROM run_analytics.deployments WHERE source_id = {source}",
)


@pytest.mark.parametrize("rounds", [5, pytest.param(200, marks=pytest.mark.slow)])
def test_after_every_round_the_files_equal_the_tables(
    swept_engine: Engine, tmp_path: Path, rounds: int
) -> None:
    dice = random.Random(rounds)  # noqa: S311  # any changes will do
    make_world(swept_engine, runs=30)
    to = tmp_path / "warehouse"
    exported_to(swept_engine, to)
    with prices_forgotten(swept_engine):
        for number in range(rounds):
            one_round(swept_engine, to, dice, number)


def one_round(engine: Engine, to: Path, dice: random.Random, number: int) -> None:
    """Some writers begin, an export comes in between, then they commit in any order."""
    with ExitStack() as left:
        writers = [
            left.enter_context(engine.connect()) for _ in range(dice.randint(1, WRITERS))
        ]
        cells = dice.sample(CELLS, len(writers))  # else one would wait for another
        for place, (writer, cell) in enumerate(zip(writers, cells, strict=True)):
            change(writer, cell, dice, f"{number}x{place}")
        exported_to(engine, to)
        assert_equal_to_tables(engine, to)
        dice.shuffle(writers)
        for writer in writers:
            end(writer, dice)
            if dice.random() < 0.5:
                exported_to(engine, to)
                assert_equal_to_tables(engine, to)
        if dice.random() < 0.4:
            execute(engine, drawn(dice.choice(PRICES), dice.choice(CELLS), dice))
    exported_to(engine, to)
    assert_equal_to_tables(engine, to)
    assert_still(engine, to)


def assert_still(engine: Engine, to: Path) -> None:
    """An export of what has not changed since leaves every file."""
    before = by_month(to)
    exported_to(engine, to)
    assert rewritten(before, by_month(to)) == set()


def change(
    writer: Connection, cell: tuple[int, str], dice: random.Random, name: str
) -> None:
    """Change something of one source's month; of threads at most one writer a round."""
    source, month = cell
    writer.execute(sa.text("SET LOCAL lock_timeout = '1ms'"))
    for _ in range(dice.randint(1, 3)):
        if dice.random() < 0.4:
            statement = inserted(f"{name}_{dice.random():.9f}", month, 3, source=source)
        else:
            statement = drawn(dice.choice(CHANGES), cell, dice)
        with writer.begin_nested() as attempt:
            try:
                writer.execute(sa.text(statement))
            except sa.exc.OperationalError:  # another writer has these rows
                attempt.rollback()


def drawn(statement: str, cell: tuple[int, str], dice: random.Random) -> str:
    source, month = cell
    return statement.format(
        source=source, month=month, fifth=dice.randint(0, 4), model=dice.choice(MODELS)
    )


def end(writer: Connection, dice: random.Random) -> None:
    finish: Callable[[], None] = writer.rollback if dice.random() < 0.2 else writer.commit
    finish()


@contextmanager
def prices_forgotten(engine: Engine) -> Iterator[None]:
    """The database is shared: prices of our own go again."""
    try:
        yield
    finally:
        execute(engine, "DELETE FROM run_analytics.model_prices WHERE origin = 'user'")
