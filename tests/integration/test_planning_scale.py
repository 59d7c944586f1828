"""A million threads are planned; scripts/bench registry tells how fast (pytest -m slow)."""

from pathlib import Path

import pytest
from sqlalchemy.engine import Engine

from etl.load.threads import record_source
from tests.integration.builders import execute, query
from tests.integration.commands import Runtide

REGISTRY = """
    INSERT INTO run_sync.threads (source_id, thread_id, tracked_at, synced_through,
        synced_through_at, read_at, last_pass_at, asked_at, walked_at, last_run_at,
        runs_seen)
    SELECT 1, 'thread_' || md5(i::text), now() - interval '400 days',
        'run_' || md5(i::text), ran_at, asked_at, asked_at, asked_at,
        now() - interval '390 days', ran_at, i % 40
    FROM (
        SELECT i, now() - waited AS asked_at, now() - waited - idle AS ran_at
        FROM (
            SELECT i, interval '1 day' * (1 + i % 29) AS waited,
                interval '1 day' * exp(random() * 9 - 3) AS idle
            FROM generate_series(1, 1000000) AS i
        ) AS drawn
    ) AS told
"""


@pytest.mark.slow
def test_a_million_threads_are_planned_and_nothing_is_written(
    engine: Engine, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record_source(engine, name="demo", kind="openai", base_url="http://127.0.0.1:9/v1")
    execute(engine, REGISTRY)
    with engine.connect() as connection:
        connection.execution_options(isolation_level="AUTOCOMMIT").exec_driver_sql(
            "VACUUM ANALYZE run_sync.threads"
        )
    runtide = Runtide(tmp_path, engine, capsys)
    runtide.configure("http://127.0.0.1:9/v1", sync='window = "6h"')

    printed = runtide("plan", "--requests-per-minute", "900")

    assert printed.out.startswith("demo: 1,000,000 threads known, 324,000 due now")
    assert query(engine, "SELECT count(*) FROM run_sync.plans") == [(0,)]
