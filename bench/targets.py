"""The targets of the project, and whether the figures meet them."""

from collections.abc import Callable
from dataclasses import dataclass

from bench.figures import Figures, Row


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A bound for a value of some rows; the value stays below it, or above it."""

    what: str
    rows: tuple[str, ...]
    value: Callable[..., float]
    bound: float
    unit: str
    is_floor: bool = False

    @property
    def wanted(self) -> str:
        """The bound in words."""
        return f"{'≥' if self.is_floor else '≤'} {self.bound:g} {self.unit}"

    def judged(self, figures: Figures) -> tuple[str, str]:
        """The value in words, and whether it meets the target."""
        rows = figures.measured(*self.rows)
        if rows is None:
            return "", "not measured"
        value = self.value(*rows)
        is_met = value >= self.bound if self.is_floor else value <= self.bound
        figure = f"{value:,.2f}".rstrip("0").rstrip(".")
        return f"{figure} {self.unit}", "met" if is_met else "**missed**"


def _longer(one: Row, other: Row) -> float:
    return one.seconds / other.seconds


def _longer_per_run(one: Row, other: Row) -> float:
    return one.seconds_per_run / other.seconds_per_run


def _cpu_milliseconds(row: Row) -> float:
    return row.cpu_milliseconds_per_request


def _rows_written(row: Row) -> float:
    return row.rows_written or 0


def _peak(row: Row) -> float:
    return row.peak_megabytes


def _growth(one: Row, other: Row) -> float:
    return 100 * abs(one.peak_megabytes / other.peak_megabytes - 1)


def _above_floor(row: Row) -> float:
    return row.seconds / (row.floor_seconds or 1)


def _share_of_size(one: Row, other: Row) -> float:
    return (one.database_megabytes or 0) / (other.database_megabytes or 1)


def _seconds(row: Row) -> float:
    return row.seconds


def _most(
    what: str, *rows: str, at: float, unit: str, value: Callable[..., float]
) -> Target:
    return Target(what=what, rows=rows, value=value, bound=at, unit=unit)


def _faster(peer: str, title: str, *, at: float) -> Target:
    what = f"A against {title}: faster"
    return Target(
        what=what, rows=(peer, "A"), value=_longer, bound=at, unit="×", is_floor=True
    )


TARGETS = (
    _most("A against bare COPY of the rows", "A", "copy", at=3, unit="×", value=_longer),
    _faster("dlt", "dlt", at=20),
    _faster("sdk", "SDK and SQLAlchemy", at=10),
    _faster("singer", "the Singer target", at=20),
    _most("B against A, per run", "B", "A", at=1.3, unit="×", value=_longer_per_run),
    _most("G against A, per run", "G", "A", at=2.5, unit="×", value=_longer_per_run),
    _most("D: CPU per request", "D", at=1.5, unit="ms", value=_cpu_milliseconds),
    _most("D: rows written to run_history", "D", at=0, unit="rows", value=_rows_written),
    _most("A: resident memory", "A", at=120, unit="MB", value=_peak),
    _most("F: resident memory", "F", at=120, unit="MB", value=_peak),
    _most("F against A: difference in memory", "F", "A", at=10, unit="%", value=_growth),
    _most("F against A, per run", "F", "A", at=1.15, unit="×", value=_longer_per_run),
    _most("H against its latency floor", "H", at=1.3, unit="×", value=_above_floor),
    _most(
        "database of A against dlt's", "A", "dlt", at=0.25, unit="×", value=_share_of_size
    ),
    _most("start-up: runtide --help", "runtide --help", at=0.25, unit="s", value=_seconds),
    _most("start-up: runtide status", "runtide status", at=0.6, unit="s", value=_seconds),
)
