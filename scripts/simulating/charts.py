"""The plots of docs/scale.md, in colours that a light and a dark page bear."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from scripts.simulating.contest import FACTORS, OUTAGE_BUDGETS, Standing
from scripts.simulating.rules import OTHERS, OURS
from scripts.simulating.tables import AT_ONCE, against_ours

Standings = Sequence[Standing]

INK = "#80868f"
"""For text: 3.6 to 1 on white, 5 to 1 on a dark page."""

GRID = "#80868f40"
COLOURS = [
    "#3b78c4", "#d07a22", "#3a9a6b", "#b3519b", "#7f6bd0",
    "#c84d4a", "#3f9fb0", "#8a8d93", "#9a8a2e", "#5f8f2f",
]  # fmt: skip
SHOWN_WORLD = "Pareto 0.8"
WIDTH, HEIGHT = 560, 300
ROW = 19
MOST_TIMES = 4.0
"""Rules that are worse stand at the edge."""


def charts(standings: Standings) -> dict[str, str]:
    """SVG texts by the names of their files."""
    import vl_convert  # noqa: PLC0415  # slow to import

    drawn = {
        "curve.svg": _curve(standings),
        "rules.svg": _rules(standings),
        "nights.svg": _nights(standings),
    }
    return {
        name: f"{vl_convert.vegalite_to_svg(_dressed(chart).to_dict())}\n"
        for name, chart in drawn.items()
    }


def _curve(standings: Standings) -> Any:
    """Requests against runs over a day late, as f goes from large to small."""
    import altair as alt  # noqa: PLC0415

    rows = [
        {
            "gaps": each.name,
            "requests": year.share,
            "late": year.lateness.over(1),
        }
        for each in standings
        for factor in FACTORS
        for year in [each.years[f"f {factor}"]]
    ]
    names = [each.name for each in standings]
    return (
        alt.Chart(alt.InlineData(values=rows), width=WIDTH, height=HEIGHT)
        .mark_line(point=True)
        .encode(
            x=alt.X(
                "requests:Q",
                title="requests, of asking everybody each night",
                axis=alt.Axis(format=".0%"),
            ),
            y=alt.Y("late:Q", title="runs over a day late", axis=alt.Axis(format=".0%")),
            color=alt.Color(
                "gaps:N", sort=names, scale=alt.Scale(domain=names, range=COLOURS)
            ),
            order="requests:Q",
        )
    )


def _rules(standings: Standings) -> Any:
    """How every rule stands to ours at equal requests."""
    import altair as alt  # noqa: PLC0415

    rows = [
        {"rule": rule.name, "measure": measure, "times": min(times, MOST_TIMES)}
        for rule in (OURS, *OTHERS)
        for measure, times in zip(
            ("runs over a day late", "mean lateness", "runs late at all"),
            against_ours(standings, f"equal {rule.name}"),
            strict=True,
        )
    ]
    return (
        alt.Chart(alt.InlineData(values=rows), width=WIDTH - 60, height=alt.Step(ROW))
        .mark_point(filled=True, size=70, opacity=1)
        .encode(
            x=alt.X(
                "times:Q",
                title="times ours; left is better, 4 means 4 or more",
                scale=alt.Scale(type="log", domain=[0.5, MOST_TIMES], clamp=True),
                axis=alt.Axis(values=[0.5, 0.8, 1, 1.25, 2, 3, 4], format="~g"),
            ),
            y=alt.Y("rule:N", title=None, sort=None, axis=alt.Axis(labelLimit=220)),
            color=alt.Color("measure:N", sort=None, scale=alt.Scale(range=COLOURS)),
            shape=alt.Shape("measure:N", sort=None),
        )
    )


def _nights(standings: Standings) -> Any:
    """The f of each night under a budget: by itself, in an outage, all checked at once."""
    import altair as alt  # noqa: PLC0415

    year = next(each for each in standings if each.name == SHOWN_WORLD).years
    share = OUTAGE_BUDGETS[0]
    shown = {
        "first checks at the same time": year[f"equal {OURS.name}{AT_ONCE}"].factor,
        "first checks staggered": year[f"equal {OURS.name}"].factor,
        f"a budget of {share:.0%}, five nights out": year[f"outage {share}"].factor,
    }
    rows = [row for name, factor in shown.items() for row in _points(name, factor)]
    return (
        alt.Chart(alt.InlineData(values=rows), width=WIDTH, height=HEIGHT)
        .mark_line(strokeWidth=1.5)
        .encode(
            x=alt.X("night:Q", title="night of the year"),
            y=alt.Y("f:Q", title="f", axis=alt.Axis(format="~g")),
            color=alt.Color(
                "budget:N",
                sort=None,
                scale=alt.Scale(domain=list(shown), range=[COLOURS[1], *COLOURS[::2]]),
            ),
        )
    )


def _points(name: str, factor: Sequence[float]) -> Iterator[dict[str, Any]]:
    for night, value in enumerate(factor):
        known = round(value, 4) if np.isfinite(value) else None
        yield {"budget": name, "night": night, "f": known}


def _dressed(chart: Any) -> Any:
    return (
        chart.configure(background="transparent", padding=12, font="sans-serif")
        .configure_view(stroke=None)
        .configure_axis(
            labelColor=INK,
            titleColor=INK,
            gridColor=GRID,
            domainColor=INK,
            tickColor=INK,
            labelFontSize=12,
            titleFontSize=12,
            titleFontWeight="normal",
        )
        .configure_legend(
            labelColor=INK,
            labelFontSize=12,
            orient="bottom",
            title=None,
            columns=5,
            labelLimit=260,
        )
    )
