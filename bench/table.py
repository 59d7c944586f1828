"""The figures as text: tables that read well on a terminal and as Markdown."""

from collections.abc import Iterable, Sequence

from bench.figures import Figures, Row
from bench.targets import TARGETS

HEADINGS = (
    *("what", "runs", "requests", "seconds", "fastest–slowest", "µs a run", "× A"),
    *("CPU s", "peak MB", "database MB", "note"),
)
TARGET_HEADINGS = ("target", "wanted", "measured", "")

LEFT_ALIGNED = {"what", "target", "note", ""}


def figures_table(figures: Figures) -> str:
    """One line for each row; ratios compare seconds per run with those of A."""
    measured = figures.measured("A")
    reference = measured[0].seconds_per_run if measured else None
    return table(HEADINGS, (_cells(row, reference) for row in figures.in_order()))


def targets_table(figures: Figures) -> str:
    """One line for each target."""
    judged = ((each, *each.judged(figures)) for each in TARGETS)
    lines = ([each.what, each.wanted, value, word] for each, value, word in judged)
    return table(TARGET_HEADINGS, lines)


def table(headings: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    """A Markdown table whose columns stand below each other."""
    rows = [list(headings), *map(list, lines)]
    widths = [max(len(row[place]) for row in rows) for place in range(len(headings))]
    rules = [_rule(name, width) for name, width in zip(headings, widths, strict=True)]
    aligned = [
        [_aligned(*cell) for cell in zip(headings, row, widths, strict=True)]
        for row in rows
    ]
    aligned.insert(1, rules)
    return "\n".join(f"| {' | '.join(cells)} |" for cells in aligned)


def _rule(heading: str, width: int) -> str:
    return "-" * width if heading in LEFT_ALIGNED else "-" * (width - 1) + ":"


def _aligned(heading: str, text: str, width: int) -> str:
    return text.ljust(width) if heading in LEFT_ALIGNED else text.rjust(width)


def _cells(row: Row, reference: float | None) -> list[str]:
    title = f"{row.kind}: {row.title}"
    if not row.is_measured:
        return [title, *[""] * (len(HEADINGS) - 2), f"failed: {row.failure}"]
    times = [cost.seconds for cost in row.costs]
    per_run = row.seconds_per_run if row.runs else None
    return [
        title,
        _number(row.runs),
        _number(row.requests),
        _number(row.seconds, 2),
        f"{min(times):.2f}–{max(times):.2f}" if len(times) > 1 else "",
        _number(per_run and per_run * 1e6),
        _number(per_run and reference and per_run / reference, 2),
        _number(row.cpu_seconds or None, 2),
        _number(row.peak_megabytes or None),
        _number(row.database_megabytes),
        row.note,
    ]


def _number(value: float | None, digits: int = 0) -> str:
    return "" if value is None else f"{value:,.{digits}f}"
