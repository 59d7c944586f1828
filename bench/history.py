"""Years of runs, made in SQL: what `answers` asks and `exports` carries away."""

import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import psycopg

from bench.postgres import Postgres

MONTHS = 36
LAST = datetime(2026, 11, 1, tzinfo=UTC)
"""The last of the months."""

SOURCE = """
    INSERT INTO run_sync.sources (name, kind, base_url)
    VALUES ('big', 'openai', 'http://127.0.0.1/v1')
"""
TOOLS = """
    INSERT INTO run_history.tools (tool_set_id, position, tool_type, function_name,
        description, strict, parameters)
    SELECT md5('tools of ' || a)::uuid, p, 'function', 'look_up_' || p,
           'Looks up what the customer asked for.', false,
           '{"type": "object", "properties": {"number": {"type": "string"}}}'
    FROM generate_series(0, 3) a, generate_series(0, 2) p
"""
"""Four assistants of twelve have three tools each, so a run has one on average."""
THREADS = """
    INSERT INTO run_sync.threads (source_id, thread_id, tracked_at, last_pass_at, runs_seen)
    SELECT 1, thread_id, min(created_at), now(), count(*)
    FROM run_history.runs GROUP BY thread_id
"""
RUNS = """
    INSERT INTO run_history.runs (source_id, run_id, thread_id, assistant_id, status, model,
        created_at, started_at, completed_at, failed_at, cancelled_at, prompt_tokens,
        completion_tokens, total_tokens, cached_prompt_tokens, reasoning_tokens,
        truncation_type, temperature, top_p, parallel_tool_calls, response_format_type,
        tool_choice_type, last_error_code, metadata, tool_set_id, first_seen_at,
        changed_at, sync_id)
    SELECT 1, 'run_' || substr(md5(n || '%(month)s'), 1, 24),
           'thread_' || substr(md5((n %% 40000)::text), 1, 24),
           'asst_' || lpad(a::text, 24, '0'), s,
           (ARRAY['gpt-4o', 'gpt-4o-mini', 'gpt-4.1', 'gpt-4o-mini', 'o3-mini', 'o3-mini',
                  'gpt-4.1-mini', 'gpt-4o', 'gpt-4o-2024-11-20', 'gpt-4.1', 'gpt-4.1-mini',
                  'gpt-4-turbo'])[a + 1],
           t, t + interval '1 second',
           CASE WHEN s IN ('completed', 'incomplete') THEN t + interval '9 seconds' END,
           CASE WHEN s = 'failed' THEN t + interval '3 seconds' END,
           CASE WHEN s = 'cancelled' THEN t + interval '4 seconds' END,
           p, o, p + o, p / 256 * 128, 0, 'auto', 1, 1, true, 'auto', 'auto',
           CASE WHEN s = 'failed' THEN 'server_error' END,
           jsonb_build_object('customer', 'c' || n %% 200),
           CASE WHEN a < 4 THEN md5('tools of ' || a)::uuid END, t, t, 1
    FROM (
        SELECT n, (h & 1023) * 12 / 1024 AS a,
               CASE (h >> 10) & 15 WHEN 0 THEN 'failed' WHEN 1 THEN 'incomplete'
                    WHEN 2 THEN 'cancelled' WHEN 3 THEN 'expired' ELSE 'completed' END AS s,
               timestamptz '%(month)s' + ((h >> 14) & 1048575) / 1048576.0
                   * (timestamptz '%(next)s' - timestamptz '%(month)s') AS t,
               500 + (h >> 34) %% 20000 AS p, 20 + (h >> 40) %% 600 AS o
        FROM (SELECT n, hashint8extended(n, %(seed)s) & 281474976710655 AS h
              FROM generate_series(1, %(runs)s::bigint) AS n) AS drawn
    ) AS shaped
"""


def fill(postgres: Postgres, database: str, runs: int) -> float:
    """Make so many runs, spread evenly over the months; the seconds it took."""
    began = time.perf_counter()
    with postgres.connect(database) as connection:
        connection.execute(SOURCE)
        connection.execute(TOOLS)
        for seed, month in enumerate(sorted(_months())):
            later = (month + timedelta(days=32)).replace(day=1)
            sys.stderr.write(f"\rMaking the runs of {month:%Y-%m} …")
            connection.execute("SELECT run_sync.make_month(%s::date)", [month])
            facts = {"month": month, "next": later, "seed": seed, "runs": runs // MONTHS}
            connection.execute(RUNS % facts)
        seconds = time.perf_counter() - began
        sys.stderr.write("\n")
        _settle(connection)
    return seconds


def _settle(connection: psycopg.Connection) -> None:
    """Register the threads, and let nothing of the making be left to do."""
    connection.execute(THREADS)
    connection.execute("VACUUM ANALYZE")
    connection.execute("CHECKPOINT")


def _months() -> Iterator[datetime]:
    month = LAST
    for _ in range(MONTHS):
        yield month
        month = (month - timedelta(days=1)).replace(day=1)
