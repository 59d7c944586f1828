"""`scripts/bench registry`: a million threads planned, leased, and passed over."""

import argparse
import json
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from psycopg.sql import SQL

from bench.measuring import MEGABYTE
from bench.places import FOLDER, ROOT
from bench.postgres import Postgres
from bench.product import Runtide, embedded_postgres
from bench.writing import written

REPORT = ROOT / "bench" / "registry.md"
DATABASE = "registry"
PLACE = FOLDER / "registry"
FEW = 1_000
WANTED = 2_000
"""Threads a second."""

NIGHT = ("--window", "6h", "--requests-per-minute", "900")
"""Holds a third of a million threads, so that a plan has to choose."""

FILL = SQL(
    """
    INSERT INTO run_sync.threads (source_id, thread_id, tracked_at, walked_at,
        last_pass_at, read_at, asked_at, last_run_at, runs_seen)
    SELECT 1, 'thread_' || md5(n::text), now() - interval '400 days',
        asked, asked, asked, asked,
        asked - interval '1 day' * exp(ln(365) * ((n * 7919) %% 10007) / 10007.0), 5
    FROM generate_series(1, %s::bigint) AS n,
        LATERAL (SELECT now() - interval '1 day' * ((n * 31) %% 30 + 1) AS asked) AS last
    """
)
SIZE = SQL("SELECT pg_table_size('run_sync.threads')")
INDEXES = SQL("SELECT pg_indexes_size('run_sync.threads')")


def main(arguments: list[str]) -> int:
    """Make the registry, pass over it, print and write down."""
    parser = argparse.ArgumentParser(
        prog="scripts/bench registry",
        description="Measures how quickly many threads are planned, leased and passed over"
        " where there is nothing new, and how large the registry stays, and writes it into"
        " a file.",
    )
    parser.add_argument("--threads", type=int, default=1_000_000, metavar="N")
    parser.add_argument("--processes", type=int, default=2, metavar="N")
    parser.add_argument("--syncs", type=int, default=3, metavar="N")
    parser.add_argument("--out", type=Path, default=REPORT, metavar="PATH")
    given = parser.parse_args(arguments)
    return written(
        lambda: _measured(given.threads, given.processes, given.syncs), given.out
    )


def _measured(threads: int, processes: int, syncs: int) -> Iterator[str]:
    with embedded_postgres(PLACE) as postgres:
        yield (
            "# A large registry\n\n"
            f"{threads:,} threads without runs, made in SQL; PostgreSQL"
            f" {postgres.version()}; {processes} processes share each sync. The server"
            " answers from the process's own memory, so this is the leasing and the"
            " committing alone. Written by `scripts/bench registry`.\n\n"
        )
        few = _filled(postgres, FEW)
        least = max(each["peak_megabytes"] for each in _sync(few, processes))
        many = _filled(postgres, threads)
        yield from _plan(many)
        yield (
            "| sync | seconds | threads/s | peak MB of one process | registry MB | its"
            " index MB |\n|---|---:|---:|---:|---:|---:|\n"
            f"| before | | | {least:,.0f} with {FEW:,} threads |"
            f" {_size(postgres, SIZE)} | {_size(postgres, INDEXES)} |\n"
        )
        for number in range(1, syncs + 1):
            yield _line(postgres, number, _sync(many, processes))
        yield f"\nWanted: {WANTED:,} threads a second.\n"
        postgres.drop(DATABASE)


def _filled(postgres: Postgres, threads: int) -> Runtide:
    """A new database with so many threads."""
    runtide = Runtide(folder=PLACE, database_url=postgres.make(DATABASE))
    runtide.configure(base_url="http://127.0.0.1:9/v1")
    runtide.call("db", "upgrade")
    runtide.call("track", "thread_first")
    with postgres.connect(DATABASE) as connection:
        connection.execute("DELETE FROM run_sync.threads")
        connection.execute(FILL, [threads])
        connection.execute("VACUUM ANALYZE run_sync.threads")
    return runtide


def _plan(runtide: Runtide) -> Iterator[str]:
    cost, printed = runtide.call("plan", "--json", *NIGHT)
    [source] = json.loads(printed)["sources"]
    yield (
        f"`runtide plan {' '.join(NIGHT)}`: {cost.seconds:.2f} s,"
        f" {cost.peak_megabytes:,.0f} MB, {source['threads_due']:,} of"
        f" {source['threads_known']:,} threads due.\n\n"
    )


def _sync(runtide: Runtide, processes: int) -> list[dict[str, Any]]:
    """What each process of one sync has done, and how long all of them took."""

    def member(number: int) -> dict[str, Any]:
        del number
        _, printed = runtide.measured(sys.executable, "-m", "bench.empty_passes")
        told: dict[str, Any] = json.loads(printed)
        return told

    began = time.perf_counter()
    with ThreadPoolExecutor(processes) as pool:
        told = list(pool.map(member, range(processes)))
    elapsed = time.perf_counter() - began
    return [each | {"elapsed": elapsed} for each in told]


def _line(postgres: Postgres, number: int, told: list[dict[str, Any]]) -> str:
    threads, elapsed = sum(each["threads"] for each in told), told[0]["elapsed"]
    peak = max(each["peak_megabytes"] for each in told)
    return (
        f"| {number} | {elapsed:,.1f} | {threads / elapsed:,.0f} | {peak:,.0f} |"
        f" {_size(postgres, SIZE)} | {_size(postgres, INDEXES)} |\n"
    )


def _size(postgres: Postgres, query: SQL) -> str:
    return f"{postgres.number(DATABASE, query) / MEGABYTE:,.0f}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
