"""`scripts/bench answers`: how quickly the views answer over years of runs."""

import argparse
import statistics
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg

from bench.measuring import CommandError
from bench.places import FOLDER, ROOT
from bench.postgres import Postgres
from bench.product import Runtide, embedded_postgres

REPORT = ROOT / "bench" / "answers.md"
DATABASE = "answers"
MONTHS = 36
LAST = datetime(2026, 11, 1, tzinfo=UTC)
"""The last of the months."""
REPEATS = 5

SOURCE = """
    INSERT INTO run_sync.sources (name, kind, base_url)
    VALUES ('big', 'openai', 'http://127.0.0.1/v1')
"""
RUNS = """
    INSERT INTO run_history.runs (source_id, run_id, thread_id, assistant_id, status, model,
        created_at, started_at, completed_at, failed_at, cancelled_at, prompt_tokens,
        completion_tokens, total_tokens, cached_prompt_tokens, reasoning_tokens,
        truncation_type, temperature, top_p, parallel_tool_calls, response_format_type,
        tool_choice_type, last_error_code, metadata, first_seen_at, changed_at, sync_id)
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
           jsonb_build_object('customer', 'c' || n %% 200), t, t, 1
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What is asked, and within how many seconds the answer is wanted, if at all."""

    name: str
    sql: str
    wanted: float | None = None


QUESTIONS = (
    Question(
        name="`token_usage_daily`, the last 30 days",
        sql="""
        SELECT * FROM run_analytics.token_usage_daily WHERE day > date '2026-11-30' - 30
        """,
        wanted=0.5,
    ),
    Question(
        name="the whole history by month, tokens and cost",
        sql="""
        SELECT date_trunc('month', day), sum(runs), sum(total_tokens), sum(cost_usd)
        FROM run_analytics.token_usage_daily GROUP BY 1
        """,
        wanted=3,
    ),
    Question(
        name="`token_usage_by_model`",
        sql="SELECT * FROM run_analytics.token_usage_by_model",
    ),
    Question(
        name="`token_usage_daily_in('Asia/Kolkata')`, 30 days, run by run",
        sql="""
        SELECT * FROM run_analytics.token_usage_daily_in(
            'Asia/Kolkata', '2026-11-01', '2026-11-30')
        """,
    ),
    Question(
        name="cost by customer out of `metadata`, one month, run by run",
        sql="""
        SELECT metadata ->> 'customer', sum(cost_usd) FROM run_analytics.run_costs
        WHERE created_at >= '2026-11-01' GROUP BY 1
        """,
    ),
    Question(
        name="one thread of `thread_overview`",
        sql="""
        SELECT * FROM run_analytics.thread_overview WHERE source_id = 1
            AND thread_id = (SELECT thread_id FROM run_history.runs LIMIT 1)
        """,
    ),
)


def main(arguments: list[str]) -> int:
    """Make the runs, ask, print and write down."""
    parser = argparse.ArgumentParser(
        prog="scripts/bench answers",
        description="Measures how quickly the views answer over three years of runs, and"
        " writes it into a file.",
    )
    parser.add_argument("--runs", type=int, default=10_000_000, metavar="N")
    parser.add_argument("--out", type=Path, default=REPORT, metavar="PATH")
    given = parser.parse_args(arguments)
    if given.runs < MONTHS:
        parser.error(f"--runs {given.runs} is too few: one for each of {MONTHS} months")
    try:
        FOLDER.mkdir(exist_ok=True)
        text = "".join(_measured(given.runs))
    except KeyboardInterrupt:
        sys.stderr.write("Interrupted; nothing is written.\n")
        return 130
    except (CommandError, OSError, psycopg.Error) as error:
        sys.stderr.write(f"The benchmark cannot go on: {error}\n")
        return 1
    sys.stdout.write(text)
    given.out.write_text(text, encoding="utf-8")
    return 0


def _measured(runs: int) -> Iterator[str]:
    with embedded_postgres(FOLDER / "answers") as postgres:
        url = postgres.make(DATABASE)
        Runtide(folder=FOLDER / "answers", database_url=url).call("db", "upgrade")
        seconds = _fill(postgres, runs)
        yield (
            "# How quickly the views answer\n\n"
            f"{runs:,} runs of {MONTHS} months, made in SQL and written in"
            f" {seconds:,.0f} s with the sums by day following;"
            f" PostgreSQL {postgres.version()}; medians of {REPEATS}, after one that is"
            " not counted. Written by `scripts/bench answers`.\n\n"
            "| question | rows | seconds | wanted | |\n|---|---:|---:|---:|---|\n"
        )
        for question in QUESTIONS:
            yield _asked(postgres, question)
        size = postgres.number(
            DATABASE,
            psycopg.sql.SQL("SELECT pg_total_relation_size('run_analytics.daily_usage')"),
        )
        yield (
            f"\nThe database takes {postgres.megabytes(DATABASE):,.0f} MB, the sums by day"
            f" {size / 1e6:,.0f} MB of them.\n"
        )
        postgres.drop(DATABASE)  # gigabytes that nobody needs any more


def _fill(postgres: Postgres, runs: int) -> float:
    months = sorted(_months())
    began = time.perf_counter()
    with postgres.connect(DATABASE) as connection:
        connection.execute(SOURCE)
        for seed, month in enumerate(months):
            later = (month + timedelta(days=32)).replace(day=1)
            sys.stderr.write(f"\rMaking the runs of {month:%Y-%m} …")
            connection.execute("SELECT run_sync.make_month(%s::date)", [month])
            facts = {"month": month, "next": later, "seed": seed, "runs": runs // MONTHS}
            connection.execute(RUNS % facts)
        seconds = time.perf_counter() - began
        sys.stderr.write("\nAsking …\n")
        connection.execute("VACUUM ANALYZE")
    return seconds


def _months() -> Iterator[datetime]:
    month = LAST
    for _ in range(MONTHS):
        yield month
        month = (month - timedelta(days=1)).replace(day=1)


def _asked(postgres: Postgres, question: Question) -> str:
    with postgres.connect(DATABASE) as connection:
        rows = len(connection.execute(question.sql).fetchall())
        taken = statistics.median(
            _seconds(connection, question.sql) for _ in range(REPEATS)
        )
    wanted, verdict = "", ""
    if question.wanted is not None:
        wanted = f"{question.wanted:g}"
        verdict = "met" if taken <= question.wanted else "**missed**"
    return f"| {question.name} | {rows:,} | {taken:.3f} | {wanted} | {verdict} |\n"


def _seconds(connection: psycopg.Connection, sql: str) -> float:
    began = time.perf_counter()
    connection.execute(sql).fetchall()
    return time.perf_counter() - began


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
