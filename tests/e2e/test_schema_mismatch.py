"""A program and a schema that do not fit: every command says so, and writes nothing."""

import pytest
import sqlalchemy as sa
from alembic import command
from sqlalchemy.engine import Engine

from etl.load.schema import alembic_config
from tests.e2e.conftest import Command
from tests.integration.builders import row_versions

COMMANDS = {
    "sync": ("sync",),
    "backfill": ("backfill",),
    "verify": ("verify", "--repair"),
    "replay": ("replay",),
    "track": ("track", "thread_new"),
    "untrack": ("untrack", "thread_new"),
    "threads": ("threads",),
    "status": ("status",),
    "prices": ("prices", "set", "gpt-4o", "--input", "1"),
    "grant": ("db", "grant", "reader", "nobody_yet"),
}
OLDER = (
    "runtide: The schema is at revision 0009, this program needs 0010; run `runtide db"
    " upgrade`.\n"
)
NEWER = (
    "runtide: The schema is at revision 9999, newer than this program, which knows 0010;"
    " install a newer runtide.\n"
)


@pytest.fixture
def older(ready: Command, engine: Engine) -> Command:
    """A database as an older program left it: the newest migration is undone."""
    with engine.connect() as connection:
        command.downgrade(alembic_config(connection), "0009")
    return ready


@pytest.fixture
def newer(ready: Command, engine: Engine) -> Command:
    """A database that a newer program has upgraded."""
    with engine.begin() as connection:
        update = sa.text("UPDATE run_sync.alembic_version SET version_num = '9999'")
        connection.execute(update)
    return ready


@pytest.mark.parametrize("name", COMMANDS)
def test_a_newer_program_refuses_an_older_schema_and_says_how_to_upgrade_it(
    older: Command, engine: Engine, name: str
) -> None:
    before = row_versions(engine, "run_history", "run_sync")

    answer = older(*COMMANDS[name])

    assert (answer.code, answer.out, answer.err) == (1, "", OLDER)
    assert row_versions(engine, "run_history", "run_sync") == before


@pytest.mark.parametrize("name", COMMANDS)
def test_an_older_program_refuses_a_newer_schema(
    newer: Command, engine: Engine, name: str
) -> None:
    before = row_versions(engine, "run_history", "run_sync")

    answer = newer(*COMMANDS[name])

    assert (answer.code, answer.out, answer.err) == (1, "", NEWER)
    assert row_versions(engine, "run_history", "run_sync") == before


def test_after_the_upgrade_the_same_commands_work(older: Command) -> None:
    assert older("sync").code == 1

    upgraded = older("db", "upgrade")

    assert (upgraded.code, upgraded.out) == (
        0,
        "The schema went from revision 0009 to 0010.\n",
    )
    assert older("sync", "--quiet").code == 0
