"""The charts, as Altair makes them: one shape each, without its numbers."""

from typing import Any

ROWS = "rows"
"""The name of every chart's data, under which the page puts new ones in."""

COLOURS = [
    "#3b78c4", "#d07a22", "#3a9a6b", "#b3519b", "#7f6bd0", "#c84d4a", "#3f9fb0", "#8a8d93",
]  # fmt: skip
"""Each stands out from white and from the dark page alike (3:1)."""

COUNTED = "format(datum.value, '~s')"
"""A prefix for each number: one for all of an axis would make 0 to 0M."""
DOLLARS = (
    "datum.value >= 1000 ? format(datum.value, '$.3~s') : format(datum.value, '$,.4~f')"
)
LABEL_PIXELS = 150
BAR_PIXELS = 22
HEIGHT = 220
LABEL_LIMIT = 200
ROOM = f"(0 * width + containerSize()[0] - 60) / {LABEL_LIMIT + 30}"
LEGEND = {"expr": f"max(1, floor({ROOM}))"}
"""How many names stand beside each other. `width` itself shrinks while a chart is laid
out: a row more in the end would stand above the picture's edge. It tells of a resize."""


def page_charts() -> dict[str, dict[str, Any]]:
    """Vega-Lite specifications by name; their data come from the page."""
    import altair as alt  # noqa: PLC0415  # slow to import

    rows = alt.NamedData(name=ROWS)
    charts = {
        "tokens-by-day": by_day(rows, "Tokens"),
        "cost-by-day": by_day(rows, "US dollars", is_money=True),
        "tokens-by-model": ranking(rows, "Tokens"),
        "cost-by-model": ranking(rows, "US dollars", is_money=True),
        "tokens-by-assistant": ranking(rows, "Tokens"),
        "cost-by-assistant": ranking(rows, "US dollars", is_money=True),
        "threads": ranking(rows, "US dollars", is_money=True),
        "failures-by-day": by_day(rows, "Runs"),
        "queue": lines_by_day(rows, "Seconds from creation to start"),
        "duration": lines_by_day(rows, "Seconds from start to end"),
        "waste-by-day": by_day(rows, "Tokens"),
        "growth": ranges(rows, "Input tokens"),
        "tools": ranking(rows, "Runs"),
    }
    return {name: dressed(chart).to_dict() for name, chart in charts.items()}


def by_day(rows: Any, title: str, *, is_money: bool = False) -> Any:
    """Bars that stand on days, one series on the other."""
    import altair as alt  # noqa: PLC0415

    return (
        alt.Chart(rows, height=HEIGHT)
        .mark_bar()
        .encode(
            x=_days(),
            y=alt.Y("value:Q", title=title, axis=_amounts(is_money=is_money)),
            color=_series(),
            order="place:Q",
            tooltip=_told("day", "series", "told"),
        )
    )


def lines_by_day(rows: Any, title: str) -> Any:
    """A line for each percentile; days without a run break it."""
    import altair as alt  # noqa: PLC0415

    return (
        alt.Chart(rows, height=HEIGHT)
        .mark_line(point=True, invalid="break-paths-show-path-domains")
        .encode(
            x=_days(),
            y=alt.Y("value:Q", title=title, axis=alt.Axis(format="~s", tickCount=5)),
            color=_series(),
            tooltip=_told("day", "series", "told"),
        )
    )


def ranking(rows: Any, title: str, *, is_money: bool = False) -> Any:
    """Lying bars, in the order of the rows."""
    import altair as alt  # noqa: PLC0415

    return (
        alt.Chart(rows, height=alt.Step(BAR_PIXELS))
        .mark_bar(color=COLOURS[0])
        .encode(
            # Vega would stack by name in an object, where "__proto__" is no name.
            x=alt.X("value:Q", title=title, axis=_amounts(is_money=is_money), stack=None),
            y=_names(),
            tooltip=_told("name", "told"),
        )
    )


def ranges(rows: Any, title: str) -> Any:
    """From the first to the last, with a dot where it ended."""
    import altair as alt  # noqa: PLC0415

    line = (
        alt.Chart()
        .mark_bar(height=4, color=COLOURS[0], opacity=0.6)
        .encode(
            x=alt.X("first:Q", title=title, axis=_amounts(is_money=False)),
            x2="last:Q",
            y=_names(),
            tooltip=_told("name", "told"),
        )
    )
    dot = (
        alt.Chart()
        .mark_circle(size=80, opacity=1, color=COLOURS[1])
        .encode(x="last:Q", y=_names(), tooltip=_told("name", "told"))
    )
    return alt.layer(line, dot, data=rows, height=alt.Step(BAR_PIXELS))


def dressed(chart: Any) -> Any:
    """As wide as there is room; the page's own colours for text and grid."""
    return (
        chart.properties(width="container")
        .configure(background="transparent", aria=False)
        .configure_view(stroke=None)
        .configure_axis(labelFontSize=12, titleFontSize=12, titleFontWeight="normal")
        .configure_legend(
            labelFontSize=12,
            orient="top",
            title=None,
            columns=LEGEND,
            labelLimit=LABEL_LIMIT,
        )
    )


def _days() -> Any:
    import altair as alt  # noqa: PLC0415

    axis = alt.Axis(labelAngle=0, labelOverlap=True, labelSeparation=6, tickBand="extent")
    return alt.X("day:O", title=None, sort=None, axis=axis)


def _names() -> Any:
    import altair as alt  # noqa: PLC0415

    axis = alt.Axis(labelLimit=LABEL_PIXELS, ticks=False, domain=False)
    return alt.Y("name:N", title=None, sort=None, axis=axis)


def _amounts(*, is_money: bool) -> Any:
    import altair as alt  # noqa: PLC0415

    if is_money:
        return alt.Axis(labelExpr=DOLLARS, tickCount=5, labelOverlap=True)
    return alt.Axis(labelExpr=COUNTED, tickCount=5, labelOverlap=True)


def _series() -> Any:
    import altair as alt  # noqa: PLC0415

    scale = alt.Scale(range=COLOURS)
    return alt.Color("series:N", scale=scale, sort=None, title=None)


def _told(*fields: str) -> list[Any]:
    import altair as alt  # noqa: PLC0415

    return [alt.Tooltip(f"{field}:N", title=field) for field in fields]
