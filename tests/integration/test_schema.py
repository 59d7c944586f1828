"""The schema in a real Postgres: up, down, up again, and what it says of itself."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from uuid import uuid4

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.script import ScriptDirectory
from sqlalchemy.engine import URL, Connection, Engine

from etl.domain.batch import SourceId
from etl.domain.errors import SchemaError
from etl.domain.page import Payload
from etl.domain.run import ThreadId
from etl.load.database import connected, opened
from etl.load.embedded.locks import polls
from etl.load.schema import (
    SCHEMAS,
    alembic_config,
    current_revision,
    drop,
    require_current,
    revisions,
    upgrade,
)
from etl.load.threads import record_source
from etl.load.tracking import track
from tests.conftest import as_text
from tests.conftest import drop as drop_database
from tests.integration.builders import (
    NOW_SECONDS,
    THREAD,
    a_batch,
    a_payload,
    a_store,
    an_increment,
    committed,
    execute,
    query,
    rows,
)

PATIENCE = 60  # never decides a test, ends one that hangs
OTHER = ThreadId("thread_b")
DAY = 86_400
MIGRATION_LOCK = 0x72756E74696465

UPGRADE = """
import sys
from etl.load.database import connected, opened
from etl.load.schema import upgrade

with opened(sys.argv[1]) as engine, connected(engine) as connection:
    print(upgrade(connection))
"""


@pytest.fixture
def empty(empty_database_url: str) -> Iterator[Connection]:
    """A connection to a database without any schema of ours."""
    with opened(empty_database_url) as engine, connected(engine) as connection:
        yield connection


@pytest.fixture
def full(engine: Engine, source_id: SourceId) -> Engine:
    """A database with rows in every table, and runs in three partitions."""
    ages = {"run_old": 70 * DAY, "run_new": DAY, "run_of_a_nonsense_clock": -900 * DAY}
    payloads = [
        a_payload(run_id, created_at=NOW_SECONDS - age) for run_id, age in ages.items()
    ]
    reject = Payload(b"{", None)
    with a_store(engine) as store:
        store.commit(a_batch(an_increment(source_id, *payloads, reject)))
    execute(
        engine,
        "INSERT INTO run_sync.drift SELECT"
        " source_id, 'a.b', 'unknown_field', '', 'run_old', now(), now(), 1"
        " FROM run_sync.sources",
    )
    execute(
        engine,
        "INSERT INTO run_sync.erasures SELECT source_id, gen_random_uuid(), now(), 3, 1"
        " FROM run_sync.sources",
    )
    execute(
        engine,
        "UPDATE run_sync.syncs SET source_ids = '{1}', holder = 'a process',"
        " threads_due = 7, database_bytes = 8, shared = true, threads_left = 9",
    )
    execute(
        engine,
        "INSERT INTO run_analytics.deployments SELECT source_id, 'support', 'gpt-4o'"
        " FROM run_sync.sources",
    )
    execute(
        engine,
        "INSERT INTO run_analytics.model_prices VALUES"
        " ('openai', 'gpt-4', 'input', 9.99, '2026-11-05T12:00Z', 'user')",
    )
    for ways_in in (
        "untracked SELECT source_id, 'thread_z'",
        "discoveries SELECT source_id, gen_random_uuid(), '7', now(), now(), true",
        "plans SELECT 1, source_id, now(), 0.5, 4, 3, 2, 1, 1, 0",
        "leases (sync_id, source_id, thread_ids) SELECT 1, source_id, '{thread_a}'",
        "budgets SELECT source_id, now(), 0.5, now(), now()",
        "imports SELECT source_id, '/a.jsonl', 9, now(), 3, now()",
    ):
        execute(engine, f"INSERT INTO run_sync.{ways_in} FROM run_sync.sources")
    execute(
        engine,
        "UPDATE run_sync.threads SET asked_at = now(), active_at = now(), unsettled = true",
    )
    held = rows(engine)
    assert all(held.values()), held
    assert {
        "run_history.runs_2026_09",
        "run_history.runs_2026_11",
        "run_history.runs_default",
    } <= held.keys()
    return engine


def move(engine: Engine, revision: str) -> None:
    """Bring the schema to a revision, wherever it is."""
    known = [None, *revisions()]
    with connected(engine) as connection:
        is_up = known.index(revision) >= known.index(current_revision(connection))
        connection.rollback()
        go = command.upgrade if is_up else command.downgrade
        go(alembic_config(connection), revision)


def schemas(connection: Connection) -> set[str]:
    found = connection.scalars(
        sa.text("SELECT nspname FROM pg_namespace WHERE nspname LIKE 'run%'")
    )
    return set(found)


def test_upgrade_builds_everything_from_nothing(empty: Connection) -> None:
    assert upgrade(empty) == (None, revisions()[-1])

    require_current(empty)
    assert schemas(empty) == set(SCHEMAS)


def test_a_second_upgrade_changes_nothing(full: Engine) -> None:
    before = rows(full)

    with connected(full) as connection:
        assert upgrade(connection) == (revisions()[-1], revisions()[-1])

    assert rows(full) == before


def test_alembic_finds_no_difference_between_the_tables_and_the_schema(
    full: Engine,
) -> None:
    with connected(full) as connection:
        command.check(alembic_config(connection))


def test_the_known_revisions_are_alembics_own(empty: Connection) -> None:
    script = ScriptDirectory.from_config(alembic_config(empty))

    walked = [revision.revision for revision in script.walk_revisions()]

    assert revisions() == walked[::-1]
    assert [revisions()[-1]] == script.get_heads()


def test_down_to_nothing_and_up_again_loses_no_row(full: Engine) -> None:
    before = rows(full)

    with connected(full) as connection:
        command.downgrade(alembic_config(connection), "base")
        assert current_revision(connection) is None
        assert "run_history" not in schemas(connection)
        connection.rollback()
        upgrade(connection)
        assert schemas(connection) == set(SCHEMAS)

    assert rows(full) == before


def test_down_and_up_by_one_step_after_the_other_loses_no_row(full: Engine) -> None:
    before = rows(full)
    known = revisions()

    for revision in [*known[-2::-1], *known[1:]]:
        move(full, revision)

    assert rows(full) == before


@pytest.mark.parametrize("revision", revisions()[:-1])
def test_back_to_a_revision_and_up_again_loses_no_row(full: Engine, revision: str) -> None:
    before = rows(full)

    move(full, revision)
    move(full, revisions()[-1])

    assert rows(full) == before
    with connected(full) as connection:
        command.check(alembic_config(connection))


def test_who_has_runs_behind_the_bookmark_is_unsettled_after_an_upgrade(
    engine: Engine, source_id: SourceId
) -> None:
    move(engine, "0009")
    execute(
        engine,
        "INSERT INTO run_sync.threads (source_id, thread_id, last_run_at,"
        " synced_through, synced_through_at) SELECT source_id, told.*"
        " FROM run_sync.sources, (VALUES"
        " ('b_behind', now(), 'run_1', now() - '1 s'::interval),"
        " ('c_none_settled', now(), NULL, NULL), ('d_settled', now(), 'run_1', now()),"
        " ('e_empty', NULL, NULL, NULL)) AS told",
    )
    move(engine, "0010")

    unsettled = "SELECT thread_id FROM run_sync.threads WHERE unsettled ORDER BY 1"
    assert query(engine, unsettled) == [("b_behind",), ("c_none_settled",)]


def test_after_down_and_up_the_next_batch_is_stored_as_ever(
    full: Engine, source_id: SourceId
) -> None:
    with connected(full) as connection:
        command.downgrade(alembic_config(connection), "base")
        upgrade(connection)
    track(full, source_id, [OTHER])

    with a_store(full) as store:
        answer = store.commit(
            a_batch(
                an_increment(
                    source_id,
                    a_payload("run_later"),
                    Payload(b"[", None),
                    thread_id=OTHER,
                )
            )
        )

    assert answer == committed(created=1, rejects=1)
    assert query(full, "SELECT count(*) FROM run_history.runs") == [(4,)]


def test_dropping_everything_leaves_nothing_that_could_come_back(full: Engine) -> None:
    with connected(full) as connection:
        command.downgrade(alembic_config(connection), "base")
        drop(connection)
        assert schemas(connection) == set()
        connection.rollback()
        upgrade(connection)

    left = {table for table, found in rows(full).items() if found}
    assert left == {"run_analytics.model_names", "run_analytics.model_prices"}
    assert "user" not in str(rows(full, "run_analytics"))


def test_two_upgrades_at_the_same_instant_both_succeed(
    empty_database_url: str, empty: Connection
) -> None:
    waiting = sa.text(
        "SELECT count(*) FROM pg_locks JOIN pg_database d ON d.oid = database"
        " WHERE locktype = 'advisory' AND NOT granted AND datname = current_database()"
    )
    empty.execute(sa.select(sa.func.pg_advisory_lock(MIGRATION_LOCK)))

    upgrades = [
        subprocess.Popen(
            [sys.executable, "-c", UPGRADE, empty_database_url],
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    for _ in polls(PATIENCE, complaint="the upgrades do not wait for each other"):
        if empty.scalar(waiting) == 2:
            break
    empty.execute(sa.select(sa.func.pg_advisory_unlock(MIGRATION_LOCK)))
    empty.commit()
    said = [each.communicate(timeout=PATIENCE)[0].strip() for each in upgrades]

    assert [each.returncode for each in upgrades] == [0, 0]
    assert said == [f"(None, '{revisions()[-1]}')"] * 2
    require_current(empty)
    command.check(alembic_config(empty))


def test_every_schema_table_view_column_and_function_says_what_it_is(
    full: Engine,
) -> None:
    silent = query(
        full,
        """
        WITH ours AS (SELECT oid, nspname FROM pg_namespace WHERE nspname = ANY(:schemas))
        SELECT r.oid::regclass::text, a.attname
        FROM pg_class r
        LEFT JOIN pg_attribute a
            ON a.attrelid = r.oid AND a.attnum > 0 AND NOT a.attisdropped
        WHERE r.relnamespace IN (SELECT oid FROM ours)
            AND r.relkind IN ('r', 'p', 'v', 'm') AND NOT r.relispartition
            AND coalesce(col_description(r.oid, a.attnum), '') = ''
        UNION ALL
        SELECT r.oid::regclass::text, NULL
        FROM pg_class r
        WHERE r.relnamespace IN (SELECT oid FROM ours)
            AND r.relkind IN ('r', 'p', 'v', 'm')
            AND coalesce(obj_description(r.oid, 'pg_class'), '') = ''
        UNION ALL
        SELECT p.oid::regprocedure::text, NULL
        FROM pg_proc p
        WHERE p.pronamespace IN (SELECT oid FROM ours)
            AND coalesce(obj_description(p.oid, 'pg_proc'), '') = ''
        UNION ALL
        SELECT nspname, NULL
        FROM ours
        WHERE coalesce(obj_description(oid, 'pg_namespace'), '') = ''
        """,
        schemas=list(SCHEMAS),
    )

    assert silent == []


@pytest.fixture
def plain_owner(admin: Engine, server_url: URL) -> Iterator[tuple[str, str]]:
    """A role without any right of its own, and the URL of a database it owns."""
    name = f"runtide_plain_{uuid4().hex}"
    with admin.connect() as connection:
        connection.execute(sa.text(f'CREATE ROLE "{name}" NOSUPERUSER NOCREATEDB'))
        connection.execute(
            sa.text(f'CREATE DATABASE "{name}" OWNER "{name}" TEMPLATE template0')
        )
    yield name, as_text(server_url.set(database=name))
    drop_database(admin, name)
    with admin.connect() as connection:
        connection.execute(sa.text(f'DROP ROLE "{name}"'))


@contextmanager
def opened_as(role: str, url: str) -> Iterator[Engine]:
    """An engine whose every connection acts with the rights of a role."""
    with opened(url) as engine:

        @sa.event.listens_for(engine, "connect")
        def take_role(driver: object, _record: object) -> None:
            driver.execute(f'SET ROLE "{role}"')  # type: ignore[attr-defined]
            driver.commit()  # type: ignore[attr-defined]

        yield engine


def test_an_owner_without_further_rights_can_upgrade_and_store(
    plain_owner: tuple[str, str],
) -> None:
    with opened_as(*plain_owner) as engine:
        assert query(engine, "SHOW is_superuser") == [("off",)]
        with connected(engine) as connection:
            upgrade(connection)
        source_id = record_source(engine, name="a", kind="openai", base_url="http://a")
        track(engine, source_id, [THREAD])

        with a_store(engine) as store:
            answer = store.commit(a_batch(an_increment(source_id, a_payload())))

        assert answer == committed(created=1)
        assert query(engine, "SELECT count(*) FROM run_history.runs_2026_11") == [(1,)]


def sentence(connection: Connection) -> str:
    with pytest.raises(SchemaError) as raised:
        require_current(connection)
    return str(raised.value)


def test_a_missing_schema_is_told_with_what_to_do(empty: Connection) -> None:
    assert sentence(empty) == (
        "The database has no runtide schema yet; run `runtide db upgrade`."
    )


def test_a_schema_taken_down_to_nothing_counts_as_missing(engine: Engine) -> None:
    with connected(engine) as connection:
        command.downgrade(alembic_config(connection), "base")

        assert sentence(connection) == (
            "The database has no runtide schema yet; run `runtide db upgrade`."
        )


def test_an_older_schema_is_told_with_what_to_do(engine: Engine) -> None:
    oldest, newest = revisions()[0], revisions()[-1]
    move(engine, oldest)

    with connected(engine) as connection:
        assert sentence(connection) == (
            f"The schema is at revision {oldest}, this program needs {newest};"
            " run `runtide db upgrade`."
        )


def test_a_newer_schema_is_told_with_what_to_do_and_left_alone(full: Engine) -> None:
    execute(full, "UPDATE run_sync.alembic_version SET version_num = '9999'")
    before = rows(full)
    told = (
        "The schema is at revision 9999, newer than this program, which knows"
        f" {revisions()[-1]}; install a newer runtide."
    )

    with connected(full) as connection:
        assert sentence(connection) == told
        with pytest.raises(SchemaError) as raised:
            upgrade(connection)

    assert str(raised.value) == told
    assert rows(full) == before
