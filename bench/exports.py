"""`scripts/bench exports`: how quickly years of runs are carried away, beside COPY."""

import argparse
import shutil
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from psycopg.sql import SQL, Identifier

from bench.history import MONTHS, fill
from bench.measuring import MEGABYTE, Cost
from bench.places import FOLDER, ROOT
from bench.postgres import Postgres
from bench.product import Runtide, embedded_postgres
from bench.writing import written

REPORT = ROOT / "bench" / "exports.md"
DATABASE = "exports"
PLACE = FOLDER / "exports"
TARGET = PLACE / "files"
WANTED = 100_000
"""Rows a second."""

TABLES = {
    "runs": ("run_history", "runs"),
    "run_tools": ("run_history", "run_tools"),
    "threads": ("run_analytics", "tracked_threads"),
    "run_costs": ("run_analytics", "run_costs"),
}
"""What an export as Parquet carries away, and where it comes from."""

ONE_RUN = """
    UPDATE run_history.runs SET total_tokens = total_tokens + 1,
        change_xid = pg_current_xact_id()
    WHERE (source_id, run_id, created_at) IN (
        SELECT source_id, run_id, created_at FROM run_history.runs
        WHERE created_at >= '2026-10-01' AND created_at < '2026-11-01' LIMIT 1)
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Carried:
    """Rows that went somewhere, and what it cost."""

    name: str
    rows: int
    cost: Cost
    note: str = ""

    @property
    def rate(self) -> float:
        """Rows a second."""
        return self.rows / self.cost.seconds

    def line(self) -> str:
        """A line of the table."""
        memory = f"{self.cost.peak_megabytes:,.0f}" if self.cost.peak_megabytes else ""
        return (
            f"| {self.name} | {self.rows:,} | {self.cost.seconds:,.1f} |"
            f" {self.rate:,.0f} | {memory} | {self.note} |\n"
        )


def main(arguments: list[str]) -> int:
    """Make the runs, carry them away, print and write down."""
    parser = argparse.ArgumentParser(
        prog="scripts/bench exports",
        description="Measures how quickly three years of runs are exported, beside COPY of"
        " the same rows, and writes it into a file.",
    )
    parser.add_argument("--runs", type=int, default=10_000_000, metavar="N")
    parser.add_argument("--json-lines", action="store_true", help="JSON Lines, too.")
    parser.add_argument("--out", type=Path, default=REPORT, metavar="PATH")
    given = parser.parse_args(arguments)
    if given.runs < MONTHS:
        parser.error(f"--runs {given.runs} is too few: one for each of {MONTHS} months")
    return written(lambda: _measured(given.runs, json_lines=given.json_lines), given.out)


def _measured(runs: int, *, json_lines: bool) -> Iterator[str]:
    with embedded_postgres(PLACE) as postgres:
        runtide = Runtide(folder=PLACE, database_url=postgres.make(DATABASE))
        runtide.call("db", "upgrade")
        fill(postgres, DATABASE, runs)
        yield (
            "# How quickly runs are carried away\n\n"
            f"{runs:,} runs of {MONTHS} months, made in SQL; PostgreSQL"
            f" {postgres.version()}. A row of `runs` has 44 columns; a run has one tool on"
            " average, and a row of `run_costs`. `COPY … TO STDOUT` is read by psycopg and"
            " thrown away, one table after the other; the others are whole processes, from"
            " their start to their end. Written by `scripts/bench exports`.\n\n"
            "| | rows | seconds | rows/s | peak MB | |\n|---|---:|---:|---:|---:|---|\n"
        )
        yield from _lines(postgres, runtide, json_lines=json_lines)
        postgres.drop(DATABASE)  # gigabytes that nobody needs any more
        shutil.rmtree(TARGET, ignore_errors=True)


def _lines(postgres: Postgres, runtide: Runtide, *, json_lines: bool) -> Iterator[str]:
    copies = [_copied(postgres, name) for name in TABLES]
    yield from (copy.line() for copy in copies)
    together = Cost(seconds=sum(copy.cost.seconds for copy in copies))
    rows = sum(copy.rows for copy in copies)
    yield Carried(name="`COPY … TO`, all four", rows=rows, cost=together).line()
    whole = _exported(runtide, "`runtide export`, everything")
    verdict = "met" if whole.rate >= WANTED else "**missed**"
    yield whole.line().replace("|  |\n", f"| wanted: {WANTED:,} rows/s, {verdict} |\n")
    yield _exported(runtide, "once more, nothing new").line()
    with postgres.connect(DATABASE) as connection:
        connection.execute(ONE_RUN)
    yield _exported(runtide, "one run of one month has changed").line()
    size = sum(file.stat().st_size for file in TARGET.rglob("*.parquet"))
    if json_lines:
        shutil.rmtree(TARGET)
        yield _exported(runtide, "as JSON Lines", "--format", "jsonl").line()
    yield (
        f"\nThe files take {size / MEGABYTE:,.0f} MB, the database"
        f" {postgres.megabytes(DATABASE):,.0f} MB with its indexes.\n"
    )


def _copied(postgres: Postgres, name: str) -> Carried:
    """Read a table with COPY, as text, and throw it away."""
    sys.stderr.write(f"COPY of {name} …\n")
    statement = SQL("COPY (SELECT * FROM {}) TO STDOUT")
    with postgres.connect(DATABASE) as connection:
        began = time.perf_counter()
        with connection.cursor().copy(statement.format(Identifier(*TABLES[name]))) as copy:
            rows = sum(bytes(part).count(b"\n") for part in copy)
        cost = Cost(seconds=time.perf_counter() - began)
    return Carried(name=f"`COPY {name} TO`", rows=rows, cost=cost)


def _exported(runtide: Runtide, name: str, *options: str) -> Carried:
    sys.stderr.write(f"{name} …\n")
    cost, told = runtide.report("export", "--to", str(TARGET), *options)
    return Carried(name=name, rows=told["rows"], cost=cost)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
