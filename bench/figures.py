"""What was measured, row by row, and the medians of it."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from statistics import median

import psycopg

from bench.measuring import CommandError, Cost

KINDS = ("runtide", "floor", "peer", "API", "start-up")
"""In the order of the table."""


@dataclass(kw_only=True)
class Row:
    """One thing that was measured, once in each round.

    `floor_seconds` is what the API's latency alone takes; `failure` says why there are no
    figures; what is None was not measured.
    """

    kind: str
    name: str
    title: str
    runs: int | None = None
    requests: int | None = None
    costs: list[Cost] = field(default_factory=list)
    database_megabytes: float | None = None
    rows_written: int | None = None
    floor_seconds: float | None = None
    note: str = ""
    failure: str | None = None

    @property
    def is_measured(self) -> bool:
        """Whether it has figures."""
        return bool(self.costs) and self.failure is None

    @property
    def seconds(self) -> float:
        """The median of the rounds' seconds."""
        return median(cost.seconds for cost in self.costs)

    @property
    def cpu_seconds(self) -> float:
        """The median of the rounds' CPU seconds."""
        return median(cost.cpu_seconds for cost in self.costs)

    @property
    def peak_megabytes(self) -> float:
        """The median of the rounds' peaks."""
        return median(cost.peak_megabytes for cost in self.costs)

    @property
    def cpu_milliseconds_per_request(self) -> float:
        """The median of the CPU time, for each request."""
        return 1000 * self.cpu_seconds / (self.requests or 1)

    @property
    def seconds_per_run(self) -> float:
        """The median of the seconds, for each run that was read."""
        return self.seconds / (self.runs or 1)


class Figures:
    """All rows by their names, which are unique."""

    def __init__(self) -> None:
        self._rows: dict[str, Row] = {}

    def row(self, kind: str, name: str, title: str) -> Row:
        """The row of this name, begun where there is none."""
        return self._rows.setdefault(name, Row(kind=kind, name=name, title=title))

    def in_order(self) -> list[Row]:
        """Kind by kind, each as its rows were begun."""
        return sorted(self._rows.values(), key=lambda row: KINDS.index(row.kind))

    def measured(self, *names: str) -> list[Row] | None:
        """The rows of these names; None unless all have figures."""
        rows = [self._rows[name] for name in names if name in self._rows]
        whole = len(rows) == len(names) and all(row.is_measured for row in rows)
        return rows if whole else None


@contextmanager
def turn_of(row: Row) -> Iterator[None]:
    """Say who has a turn; what fails in it stands in the row, and the benchmark goes on."""
    sys.stderr.write(f"  {row.kind}: {row.title}\n")
    try:
        yield
    except (CommandError, psycopg.Error) as error:
        row.failure = str(error).strip().partition("\n")[0]
