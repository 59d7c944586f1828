"""What `runtide plan` says: sentences that a stranger understands."""

from collections.abc import Iterator
from datetime import timedelta
from math import ceil, inf
from typing import TYPE_CHECKING

from etl.cli.terminal import counted
from etl.domain.census import Reason

if TYPE_CHECKING:
    from etl.domain.lateness import Pace
    from etl.wiring import Outlook

REASONS = {
    Reason.NEW: "new, never read",
    Reason.OPEN: "with runs that may still change",
    Reason.FAILED: "whose last pass failed",
    Reason.HINTED: "active since their last pass, as the discovery tells",
    Reason.OVERDUE: "not asked for as long as max_interval allows",
    Reason.GONE: "gone, and looked for once more",
    Reason.IDLE: "that waited long, beside the time they were idle",
}

MOST_OF_ONE = 1.5

UNITS = (("days", 86_400.0), ("hours", 3_600.0), ("minutes", 60.0))


def in_words(seconds: float) -> str:
    """A length of time in a unit of which there are two at least."""
    for name, unit in UNITS:
        if seconds >= 2 * unit:
            told = f"{seconds / unit:,.1f}".removesuffix(".0")
            return f"{told} {name}"
    return f"{round(seconds):,} seconds" if seconds >= MOST_OF_ONE else "a second"


def duration(span: timedelta) -> str:
    """A wait in days, or in a smaller unit."""
    seconds = span.total_seconds()
    return "day" if seconds == timedelta(days=1).total_seconds() else in_words(seconds)


def span_of(days: tuple[int, int | None]) -> str:
    """A class of idle time."""
    first, last = days
    if last is None:
        return f"over {first} days"
    return f"under {last} day" if not first else f"{first} to {last} days"


def sentences(outlook: "Outlook") -> Iterator[str]:
    """How much it is, and by what rule the others are left."""
    planned, budget = outlook.plan, outlook.requests_per_minute
    takes = in_words(planned.requests_expected * 60 / budget)
    fits = "" if outlook.window is None else f"; the window is {outlook.window}"
    yield (
        f"About {counted(planned.requests_expected, 'request')}: {takes} at"
        f" {budget:,} a minute{fits}."
    )
    if planned.rule.hints:
        yield (
            "The discovery tells who was active: they are asked, all others every"
            f" {outlook.max_interval} as a check."
        )
        return
    if not planned.left:
        yield _of_everybody(outlook)
        return
    yield from _of_the_rule(outlook)


def _of_everybody(outlook: "Outlook") -> str:
    if outlook.window is None:
        return "Everybody is asked; set [sync] window to bound how long a sync takes."
    return "Everybody fits into the window, so everybody is asked."


def _of_the_rule(outlook: "Outlook") -> Iterator[str]:
    pace = outlook.pace
    if pace.stretch > 1:
        yield (
            f"Too few to ask every thread within max_interval ({outlook.max_interval}):"
            f" {too_little(outlook)}. As it is, in the long run:"
        )
        return
    yield (
        f"Others are asked again after about {percent(pace)} of the time they were idle,"
        f" five days added, and at the latest after {outlook.max_interval}."
        " In the long run:"
    )


def percent(pace: "Pace") -> str:
    """The factor as people read it."""
    share = 100 * (pace.factor or 0)
    return f"{share:,.0f} %" if share >= 1 else f"{share:.1g} %"


def too_little(outlook: "Outlook") -> str:
    """By how much a budget is too small for `max_interval`."""
    stretch = outlook.pace.stretch
    needs = f"that takes {outlook.pace.requests_of_checks:,} requests in every sync"
    if stretch == inf:
        return needs
    return f"{needs}, {stretch:.1f} times as many; raise the budget, window or max_interval"


def changes(outlook: "Outlook") -> Iterator[str]:
    """What more time, or more requests, would lead to."""
    doubled = outlook.doubled
    if doubled is None or outlook.plan.rule.hints:
        return
    yield (
        f"With twice the window ({in_words(doubled.window_seconds)}) or twice the budget"
        f" ({doubled.requests_per_minute:,} a minute), {doubled.plan.due:,} would be due"
        f" now, and {_pace_of(doubled.pace)}."
    )
    needed = outlook.pace.requests_of_all
    minutes = doubled.window_seconds / 120
    yield (
        f"To ask everybody at every sync takes {needed:,} requests: a window of"
        f" {in_words(needed * 60 / outlook.requests_per_minute)}, or"
        f" {ceil(needed / minutes):,} requests a minute."
    )


def _pace_of(pace: "Pace") -> str:
    if pace.stretch > 1:
        return "still too few within max_interval"
    if not pace.factor:
        return "everybody is asked at every sync"
    return f"others asked again after about {percent(pace)} of their idle time"
