"""What stands where on the page: sections, their charts and tables, and the SQL behind."""

from typing import NamedTuple

from etl.analytics.report.questions import MOST_GROWING, MOST_MESSAGES, MOST_THREADS
from etl.analytics.report.reading import Report


class Chart(NamedTuple):
    """A chart of charts.py and the line above it."""

    id: str
    title: str

    @property
    def is_money(self) -> bool:
        """Whether it shows costs, which lack those of unpriced runs."""
        return self.id == "threads" or self.id.startswith("cost-")


class Table(NamedTuple):
    """A table that the page's script fills."""

    id: str
    title: str
    is_open: bool = False


class Section(NamedTuple):
    """One topic; `questions` are the names of the answers it shows."""

    id: str
    title: str
    charts: tuple[Chart, ...]
    tables: tuple[Table, ...]
    questions: tuple[str, ...]
    note: str = ""


def sections(report: Report) -> list[Section]:
    """The page's topics, in their order."""
    grain = report.grain.value
    return [*_usage(grain), _threads(report), *_trouble(grain), *_habits()]


def _usage(grain: str) -> list[Section]:
    return [
        Section(
            "days",
            f"By {grain}",
            (
                Chart("tokens-by-day", f"Tokens by {grain}"),
                Chart("cost-by-day", f"Cost by {grain} and model, US dollars"),
            ),
            (Table("days", f"Table: tokens and cost by {grain}"),),
            ("usage",),
        ),
        _usage_by("model"),
        _usage_by("assistant"),
    ]


def _usage_by(name: str) -> Section:
    return Section(
        f"{name}s",
        f"By {name}",
        (
            Chart(f"cost-by-{name}", f"Cost by {name}, US dollars: the largest"),
            Chart(f"tokens-by-{name}", f"Tokens by {name}: the largest"),
        ),
        (Table(f"{name}s", f"Table: tokens and cost by {name}", is_open=True),),
        ("usage",),
    )


def _threads(report: Report) -> Section:
    rows = report.answers["threads"].dicts
    all_of_them = rows[0]["threads"] if rows else 0
    shown = len({(row["source"], row["thread_id"]) for row in rows})
    note = "All threads with a run in the period."
    if shown < all_of_them:
        note = (
            f"The page holds {shown} of {all_of_them:,} threads: the {MOST_THREADS} that"
            f" cost most and the {MOST_THREADS} with most tokens in the whole period. A"
            " filter chooses among these."
        )
    return Section(
        "threads",
        "Top threads",
        (Chart("threads", "Cost by thread, US dollars: the largest"),),
        (Table("threads", "Table: threads by cost, then tokens"),),
        ("threads",),
        note,
    )


def _trouble(grain: str) -> list[Section]:
    return [
        Section(
            "failures",
            "Failures",
            (Chart("failures-by-day", f"Failed, expired and incomplete runs by {grain}"),),
            (
                Table("failures", "Table: failures by status and reason", is_open=True),
                Table("messages", "Table: error messages"),
            ),
            ("failures", "messages"),
            f"Error messages are those of the {MOST_MESSAGES} latest groups, each cut"
            " after 500 characters.",
        ),
        Section(
            "latency",
            "Latency",
            (
                Chart("queue", "Waiting: seconds from creation to start"),
                Chart("duration", "Working: seconds from start to end"),
            ),
            (Table("latency", "Table: percentiles of waiting and working"),),
            ("latency",),
            "Percentiles of single runs, counted anew for every choice. Each run's seconds"
            " are first rounded to two significant digits, so a value is off by 5 % at"
            " most: half, 95 and 99 of 100 runs took no longer. Expired runs have no end.",
        ),
        Section(
            "waste",
            "Waste",
            (Chart("waste-by-day", f"Tokens without a whole answer, by {grain}"),),
            (Table("waste", "Table: waste by status", is_open=True),),
            ("waste",),
            "Tokens and cost of runs that failed, expired, were cancelled or ended"
            " incomplete.",
        ),
    ]


def _habits() -> list[Section]:
    return [
        Section(
            "growth",
            "Context growth",
            (Chart("growth", "Input tokens of the first and the last completed run"),),
            (Table("growth", "Table: threads whose prompts grow fastest"),),
            ("growth",),
            f"Within the period, the {MOST_GROWING} threads whose prompts grow fastest from"
            " run to run. Source and assistant filter; dates and models do not.",
        ),
        Section(
            "tools",
            "Tools",
            (Chart("tools", "Runs that were given a tool: the most frequent"),),
            (Table("tools", "Table: tools"),),
            ("tools",),
            "Tools of runs over the whole history, where they were given in the period. A"
            " run with two tools counts with both. Source and assistant filter; dates and"
            " models do not.",
        ),
    ]
