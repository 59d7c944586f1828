"""`scripts/bench answers`: how quickly the views answer over years of runs."""

import argparse
import statistics
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psycopg

from bench.history import MONTHS, fill
from bench.places import FOLDER, ROOT
from bench.postgres import Postgres
from bench.product import Runtide, embedded_postgres
from bench.writing import written

REPORT = ROOT / "bench" / "answers.md"
DATABASE = "answers"
REPEATS = 5


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
    return written(lambda: _measured(given.runs), given.out)


def _measured(runs: int) -> Iterator[str]:
    with embedded_postgres(FOLDER / "answers") as postgres:
        url = postgres.make(DATABASE)
        Runtide(folder=FOLDER / "answers", database_url=url).call("db", "upgrade")
        seconds = fill(postgres, DATABASE, runs)
        sys.stderr.write("Asking …\n")
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
