"""Every way of changing runs or threads notes their months, in its own transaction."""

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Engine

from tests.integration.builders import (
    THREAD,
    a_batch,
    a_payload,
    a_store,
    after,
    an_increment,
    execute,
    query,
)
from tests.integration.exported import MONTHS, inserted, make_world

SEEN = """
SELECT relation, source_id, to_char(month, 'YYYY-MM')
FROM run_analytics.month_changes
WHERE NOT pg_visible_in_snapshot(change_xid, CAST(:since AS pg_snapshot))
ORDER BY 1, 2, 3
"""

MOVE = "UPDATE run_history.runs SET created_at = '2026-11-05' WHERE run_id = 'run_a09_1'"
COPY = """
    CREATE TEMPORARY TABLE more AS SELECT * FROM run_history.runs WHERE run_id = 'run_b_1';
    UPDATE more SET run_id = 'copied', created_at = '2026-11-03';
    INSERT INTO run_history.runs SELECT * FROM more
"""

CHANGES = {
    inserted("new", MONTHS[0], 2): {("runs", 1, "2026-09")},
    "UPDATE run_history.runs SET status = 'failed' WHERE source_id = 2": {
        ("runs", 2, "2026-10")
    },
    MOVE: {("runs", 1, "2026-09"), ("runs", 1, "2026-11")},
    "DELETE FROM run_history.runs WHERE source_id = 1 AND created_at < '2026-11-01'": {
        ("runs", 1, "2026-09"),
        ("runs", 1, "2026-10"),
    },
    "DELETE FROM run_history.runs WHERE run_id = 'nobody'": set(),
    "TRUNCATE run_history.runs": {
        ("runs", 1, "2026-09"),
        ("runs", 1, "2026-10"),
        ("runs", 1, "2026-11"),
        ("runs", 2, "2026-10"),
    },
    COPY: {("runs", 2, "2026-11")},
    "UPDATE run_sync.threads SET last_pass_at = now() WHERE source_id = 1": {
        ("threads", 1, "2026-09")
    },
    "DELETE FROM run_sync.threads WHERE source_id = 2": {("threads", 2, "2026-09")},
    "INSERT INTO run_sync.threads (source_id, thread_id, tracked_at)"
    " VALUES (1, 'thread_new', '2026-11-21')": {("threads", 1, "2026-11")},
    "TRUNCATE run_sync.threads": {("threads", 1, "2026-09"), ("threads", 2, "2026-09")},
}


def snapshot(engine: Engine) -> str:
    return str(query(engine, "SELECT pg_current_snapshot()::text")[0][0])


def changed_since(engine: Engine, since: str) -> set[tuple[object, ...]]:
    return set(query(engine, SEEN, since=since))


@pytest.mark.parametrize("statement", CHANGES)
def test_a_statement_notes_the_months_of_the_rows_it_changed(
    swept_engine: Engine, statement: str
) -> None:
    make_world(swept_engine, runs=3)
    since = snapshot(swept_engine)
    execute(swept_engine, *statement.split(";"))
    assert changed_since(swept_engine, since) == CHANGES[statement]


def test_copy_notes_months_too(swept_engine: Engine) -> None:
    make_world(swept_engine, runs=3)
    since = snapshot(swept_engine)
    columns = "source_id, run_id, thread_id, status, created_at, first_seen_at, changed_at"
    with swept_engine.begin() as connection:
        driver = connection.connection.driver_connection
        assert driver is not None
        with driver.cursor().copy(
            f"COPY run_history.runs ({columns}, sync_id) FROM STDIN"
        ) as rows:
            rows.write(
                "2\tcopied\tthread_0\tqueued\t2026-09-03\t2026-09-03\t2026-09-03\t1\n"
            )
    assert changed_since(swept_engine, since) == {("runs", 2, "2026-09")}


def test_who_commits_late_is_not_seen_though_its_id_is_the_lower_one(
    swept_engine: Engine,
) -> None:
    make_world(swept_engine, runs=3)
    with swept_engine.connect() as slow, slow.begin():
        slow.execute(sa.text(inserted("slow", MONTHS[0], 1)))
        execute(swept_engine, inserted("quick", MONTHS[2], 1))
        since = snapshot(swept_engine)
        assert changed_since(swept_engine, since) == set()
    assert changed_since(swept_engine, since) == {("runs", 1, "2026-09")}


def test_of_two_that_change_a_month_the_one_that_commits_last_is_noted(
    swept_engine: Engine,
) -> None:
    make_world(swept_engine, runs=3)
    with swept_engine.connect() as slow, slow.begin():
        older = slow.exec_driver_sql("SELECT pg_current_xact_id()::text").scalar()
        execute(swept_engine, inserted("quick", MONTHS[0], 1))
        since = snapshot(swept_engine)
        slow.execute(sa.text(inserted("slow", MONTHS[0], 1)))
    assert changed_since(swept_engine, since) == {("runs", 1, "2026-09")}
    assert query(
        swept_engine,
        "SELECT change_xid::text FROM run_analytics.month_changes"
        " WHERE relation = 'runs' AND source_id = 1 AND month = '2026-09-01'",
    ) == [(older,)]


def test_a_change_that_is_rolled_back_is_not_noted(swept_engine: Engine) -> None:
    make_world(swept_engine, runs=3)
    since = snapshot(swept_engine)
    with swept_engine.connect() as connection, connection.begin() as transaction:
        connection.exec_driver_sql("DELETE FROM run_history.runs")
        transaction.rollback()
    assert changed_since(swept_engine, since) == set()


def test_a_batch_that_changes_no_run_notes_no_month_of_runs(swept_engine: Engine) -> None:
    make_world(swept_engine, runs=3)
    execute(
        swept_engine,
        "INSERT INTO run_sync.threads (source_id, thread_id, tracked_at)"
        f" VALUES (1, '{THREAD}', '2026-09-15')",
    )
    with a_store(swept_engine) as store:
        store.commit(a_batch(an_increment(1, a_payload("run_x"))))  # type: ignore[arg-type]
        since = snapshot(swept_engine)
        again = an_increment(1, a_payload("run_x"), read_before=after(0), read_at=after(9))  # type: ignore[arg-type]
        store.commit(a_batch(again))
    assert changed_since(swept_engine, since) == {("threads", 1, "2026-09")}
