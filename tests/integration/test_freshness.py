"""The views of syncs say what `status` says."""

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy.engine import Engine

from etl.load.database import connected
from etl.load.overview import sources_overview
from etl.load.threads import record_source
from tests.integration.builders import execute, query

NOW = datetime(2026, 11, 20, 10, tzinfo=UTC)
EARLIER = NOW - timedelta(hours=3)
THREADS = {
    "of each kind": """
        ('complete', :now, 0, NULL), ('behind', :earlier, 0, NULL),
        ('failing', :now, 2, NULL), ('gone', :long_ago, 0, :now)
    """,
    "one never read": "('complete', :now, 0, NULL), ('new', NULL, 0, NULL)",
    "a gone one, never read": "('complete', :now, 0, NULL), ('gone', NULL, 0, :now)",
    "all gone": "('gone', :earlier, 0, :now)",
}
THROUGH = {
    "of each kind": EARLIER,
    "one never read": None,
    "a gone one, never read": NOW,
    "all gone": None,
    "no thread": None,
}


@pytest.mark.parametrize("threads", [*THREADS, "no thread"])
def test_freshness_is_what_status_says(engine: Engine, threads: str) -> None:
    record_source(engine, name="demo", kind="openai", base_url="http://localhost/v1")
    if threads in THREADS:
        values = THREADS[threads]
        for name, moment in {
            ":now": NOW,
            ":earlier": EARLIER,
            ":long_ago": NOW - timedelta(90),
        }.items():
            values = values.replace(name, f"timestamptz '{moment}'")
        execute(
            engine,
            "INSERT INTO run_sync.threads (source_id, thread_id, last_pass_at,"
            " consecutive_errors, gone_at)"
            " SELECT 1, thread_id, last_pass_at::timestamptz, errors,"
            " gone_at::timestamptz"
            f" FROM (VALUES {values}) AS t (thread_id, last_pass_at, errors, gone_at)",
        )

    with connected(engine) as connection:
        [told] = sources_overview(connection)

    [row] = query(
        engine,
        "SELECT source, kind, threads, threads_complete, threads_failing,"
        " threads_never_read, threads_gone, threads_waiting, newest_pass_at,"
        " complete_through FROM run_analytics.freshness",
    )
    assert row == (
        told.source,
        told.kind,
        told.threads,
        told.threads_complete,
        told.threads_failing,
        told.threads_never_read,
        told.threads_gone,
        told.threads_waiting,
        told.last_pass_at,
        told.complete_through,
    )
    assert row[-1] == THROUGH[threads]


def test_threads_that_were_left_for_later_are_told_of_until_they_are_asked(
    engine: Engine,
) -> None:
    source_id = record_source(engine, name="demo", kind="openai", base_url=None)
    asked = {
        "before": ("9 days", 0),
        "failing": ("9 days", 1),
        "in_it": ("4 hours", 0),
        "since": ("1 hour", 0),
    }
    for thread_id, (long_ago, errors) in asked.items():
        execute(
            engine,
            "INSERT INTO run_sync.threads"
            " (source_id, thread_id, last_pass_at, asked_at, consecutive_errors) SELECT"
            f" {source_id}, '{thread_id}', at, at, {errors}"
            f" FROM (SELECT now() - interval '{long_ago}') AS told (at)",
        )
    ledger = {
        "'sync'": "5 hours",
        "'sync of one thread'": "3 hours",
        "'backfill'": "2 hours",
    }
    for trigger, long_ago in ledger.items():
        execute(
            engine,
            "INSERT INTO run_sync.syncs"
            " (started_at, finished_at, trigger, outcome, source_ids)"
            f" VALUES (now() - interval '{long_ago}', now(), {trigger}, 'succeeded',"
            f" '{{{source_id}}}')",
        )

    with connected(engine) as connection:
        [told] = sources_overview(connection)
    assert (told.threads_complete, told.threads_waiting) == (3, 1)
    waiting = "SELECT threads_waiting FROM run_analytics.freshness"
    assert query(engine, waiting) == [(1,)]


def test_sync_health_has_a_row_for_each_sync_with_its_sources_by_name(
    engine: Engine,
) -> None:
    for name in ("first", "second"):
        record_source(engine, name=name, kind="openai", base_url="http://localhost/v1")
    execute(
        engine,
        "INSERT INTO run_sync.syncs (started_at, finished_at, trigger, outcome, source_ids)"
        " VALUES ('2026-11-20 02:00Z', '2026-11-20 02:01:30Z', 'schedule', 'succeeded',"
        " '{2,1}'), ('2026-11-21 02:00Z', NULL, 'sync', NULL, NULL)",
    )

    health = "SELECT seconds, trigger, sources, outcome FROM run_analytics.sync_health"
    assert query(engine, f"{health} ORDER BY sync_id") == [
        (90.0, "schedule", ["first", "second"], "succeeded"),
        (None, "sync", None, None),
    ]
