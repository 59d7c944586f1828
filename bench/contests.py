"""The contests of a round: who does what, on which database, and what is noted."""

import sys
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path

from psycopg.sql import SQL

from bench.ceiling import ceiling
from bench.contenders import Peer, Task
from bench.figures import Figures, Row, turn_of
from bench.measuring import MEGABYTE, CommandError, Cost, measure
from bench.places import FOLDER, ROOT
from bench.postgres import Postgres
from bench.product import Runtide
from bench.server import serving
from bench.workload import Workload

DATABASE = "bench"
FLOOR = "bench_floor"
RUNS = SQL("SELECT count(DISTINCT run_id) FROM run_history.runs")
TRANSACTION = SQL("SELECT pg_current_xact_id()::text::bigint")

REQUESTS = 1_000
"""With so many the API's own pace is measured."""

STARTS = 7
"""How often a command is started for the median of its time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Test:
    """A workload, and how it is served (latency in seconds) and read."""

    name: str
    title: str
    workload: Workload
    latency: float = 0.0
    workers: int = 8


class Contests:
    """What can be measured on one Postgres; `figures` holds what was."""

    def __init__(self, postgres: Postgres, servers: ExitStack) -> None:
        self.figures = Figures()
        self._postgres = postgres
        self._servers = servers
        self._urls: dict[tuple[Workload, float], str] = {}

    def sync(self, test: Test) -> None:
        """Sync a workload into a new database, which stays for what comes next."""
        row = self.figures.row("runtide", test.name, test.title)
        self._postgres.make(DATABASE)
        with turn_of(row):
            runtide = self._runtide(test)
            runtide.call("init")
            tracking, _ = runtide.call("track", "--file", thread_ids(test.workload))
            self._report(row, runtide, "sync")
            self._complete(row, test.workload, RUNS)
            row.note = f"{tracking.seconds:.1f} s before that for `track --file`"
        if test.latency and row.requests:
            row.floor_seconds = test.latency * row.requests / test.workers
            row.note = f"the latency alone takes {row.floor_seconds:.2f} s"

    def sync_again(self, test: Test) -> None:
        """Sync what was synced before, and count the rows that this writes."""
        row = self.figures.row("runtide", test.name, test.title)
        with turn_of(row):
            began = self._postgres.number(DATABASE, TRANSACTION)
            self._report(row, self._runtide(test), "sync")
            row.runs = None
            written = self._postgres.rows_written_since(DATABASE, began)
            row.rows_written = max(written, row.rows_written or 0)
            row.note = (
                f"{row.cpu_milliseconds_per_request:.2f} ms CPU a request,"
                f" {row.rows_written:,} rows written to run_history"
            )

    def backfill(self, test: Test) -> None:
        """Read what was synced before from its start, served with some runs changed."""
        row = self.figures.row("runtide", test.name, test.title)
        with turn_of(row):
            self._report(row, self._runtide(test), "backfill")

    def copy_rows(self, test: Test) -> None:
        """COPY the rows that runtide has written into an empty table like its own."""
        row = self.figures.row("floor", "copy", "bare COPY of the finished rows")
        rows = FOLDER / "runs.copy"
        with turn_of(row):
            self._postgres.export_runs(DATABASE, rows)
            self._postgres.make(FLOOR, template=DATABASE)
            row.costs.append(Cost(seconds=self._postgres.copy_runs(FLOOR, rows)))
            row.runs = test.workload.size
        self._postgres.drop(FLOOR)
        rows.unlink(missing_ok=True)

    def fetch_pages(self, test: Test) -> None:
        """Fetch all pages and throw them away."""
        row = self.figures.row("floor", "fetch", "fetching the pages with httpx")
        program = (sys.executable, "-m", "bench.fetching", self._api(test))
        with turn_of(row):
            cost, _ = measure((*program, thread_ids(test.workload)), directory=ROOT)
            row.costs.append(cost)
            row.runs = test.workload.size

    def peer(self, peer: Peer, test: Test) -> None:
        """Let a peer copy a workload into a new database, and count what is there."""
        row = self.figures.row("peer", peer.name, peer.title)
        task = Task(
            workload=test.workload,
            thread_ids=thread_ids(test.workload),
            base_url=self._api(test),
            database_url=self._postgres.make(DATABASE),
        )
        with turn_of(row):
            row.costs.append(peer.copy(task))
            self._complete(row, test.workload, peer.count)

    def starts(self) -> None:
        """Start the command where there is next to nothing to do.

        The embedded database gets the rows that were synced last.
        """
        self._postgres.make(self._postgres.default, template=DATABASE)
        runtide = Runtide(folder=FOLDER / "postgres")
        program = Path(sys.executable).with_name("runtide")
        commands: dict[str, tuple[str | Path, ...]] = {
            "runtide --help": (program, "--help"),
            "python -m etl --help": (sys.executable, "-m", "etl", "--help"),
            "runtide status": (program, "status"),
        }
        for title, command in commands.items():
            row = self.figures.row("start-up", title, title)
            with turn_of(row):
                row.costs += [runtide.measured(*command)[0] for _ in range(STARTS)]

    def _runtide(self, test: Test) -> Runtide:
        url = self._postgres.url(DATABASE)
        runtide = Runtide(folder=FOLDER / "runtide", database_url=url)
        runtide.configure(base_url=self._api(test), workers=test.workers)
        return runtide

    def _report(self, row: Row, runtide: Runtide, command: str) -> None:
        cost, report = runtide.report(command)
        row.costs.append(cost)
        row.runs, row.requests = report["runs_read"], report["requests"]
        row.note = f"{report['runs_created']:,} created, {report['runs_updated']:,} updated"

    def _complete(self, row: Row, workload: Workload, count: SQL) -> None:
        """Raise CommandError unless all runs are in the database; note its size."""
        row.runs = self._postgres.number(DATABASE, count)
        if row.runs != workload.size:
            raise CommandError(f"{row.runs:,} of {workload.size:,} runs are there")
        row.database_megabytes = self._postgres.megabytes(DATABASE)

    def _api(self, test: Test) -> str:
        """The base URL of a workload's server, started and tried when first needed."""
        served = (test.workload, test.latency)
        if served not in self._urls:
            api = serving(test.workload, latency=test.latency)
            self._urls[served] = self._servers.enter_context(api)
            if not test.latency:
                self._try_api(test)
        return self._urls[served]

    def _try_api(self, test: Test) -> None:
        row = self.figures.row("API", f"API {test.name}", f"of {test.name}, by itself")
        ids = list(islice(cycle(test.workload.thread_ids()), REQUESTS))
        seconds, size = ceiling(self._urls[test.workload, test.latency], ids)
        row.costs.append(Cost(seconds=seconds))
        row.requests = len(ids)
        pace = f"{len(ids) / seconds:,.0f} requests/s"
        row.note = f"{pace}, {size / seconds / MEGABYTE:,.0f} MB/s"


def thread_ids(workload: Workload) -> Path:
    """A file with the ids of a workload's threads."""
    path = FOLDER / f"threads-{workload.threads}"
    path.write_text("\n".join(workload.thread_ids()), encoding="utf-8")
    return path
