"""The report as one picture for mails: the totals, and what days and names cost."""

from collections import defaultdict
from collections.abc import Callable
from datetime import date
from operator import itemgetter
from typing import Any, NamedTuple

from etl.analytics.report.charts import by_day, ranking
from etl.analytics.report.page import VEGA_LITE, head
from etl.analytics.report.period import label
from etl.analytics.report.reading import Report

WIDTH = 460
MOST_BARS = 7
PIXELS_PER_POINT = 2
NOBODY = "(none)"
OTHERS = "others"


def png(report: Report) -> bytes:
    """The picture; it is drawn without a browser."""
    import vl_convert  # noqa: PLC0415  # slow to import

    return vl_convert.vegalite_to_png(
        _drawing(report).to_dict(), vl_version=VEGA_LITE, scale=PIXELS_PER_POINT
    )


def lines(report: Report) -> list[str]:
    """What stands below the title: the period and the totals, in words."""
    about, totals = head(report), report.totals
    period = report.period
    first = f"{period.first_day} to {period.last_day} (UTC), {about['about']}."
    if not totals["runs"]:
        return [f"{first} {about['complete']}", about["nothing"]]
    cost = totals["cost_usd"]
    told = "no cost known" if cost is None else f"${cost:,.2f}"
    counts = (
        f"{totals['runs']:,} runs, {totals['total_tokens']:,f} tokens, {told};"
        f" {totals['unpriced_runs']:,} runs unpriced,"
        f" {totals['no_usage_runs']:,} runs without usage."
    )
    return [f"{first} {about['complete']}", counts]


def _drawing(report: Report) -> Any:
    import altair as alt  # noqa: PLC0415  # slow to import

    title = alt.TitleParams(
        head(report)["title"],
        subtitle=lines(report),
        anchor="start",
        fontSize=20,
        subtitleFontSize=13,
        subtitlePadding=6,
        offset=16,
    )
    charts = _charts(report) if report.totals["runs"] else [_blank()]
    pairs = [alt.hconcat(*charts[n : n + 2], spacing=30) for n in range(0, len(charts), 2)]
    return (
        alt.vconcat(*pairs, title=title, spacing=24, padding=24, background="white")
        .resolve_scale(color="independent")
        .configure_view(stroke=None)
        .configure_axis(labelFontSize=11, titleFontSize=11, titleFontWeight="normal")
        .configure_legend(orient="bottom", title=None, columns=3, labelLimit=150)
    )


def _blank() -> Any:
    import altair as alt  # noqa: PLC0415

    return (
        alt.Chart(alt.InlineData(values=[{}])).mark_point(opacity=0).properties(height=40)
    )


def _charts(report: Report) -> list[Any]:
    usage, failures = (report.answers[name].dicts for name in ("usage", "failures"))
    days = [
        _days(report, usage, TOKENS),
        _days(report, usage, DOLLARS),
        _bars(usage, DOLLARS),
        _bars(usage, DOLLARS._replace(what="Cost", by="assistant", name=_assistant)),
    ]
    return [*days, _days(report, failures, FAILURES)] if failures else days


class Measure(NamedTuple):
    """What a chart shows of each row, and whose it is."""

    what: str
    unit: str
    by: str
    name: Callable[[dict[str, Any]], str]
    value: Callable[[dict[str, Any]], Any]


def _model(row: dict[str, Any]) -> str:
    return row["model"] or NOBODY


def _assistant(row: dict[str, Any]) -> str:
    return row["assistant_id"] or NOBODY


def _reason(row: dict[str, Any]) -> str:
    return ": ".join(filter(None, (row["status"], row["reason"])))


TOKENS = Measure("Tokens", "Tokens", "model", _model, itemgetter("total_tokens"))
DOLLARS = Measure("Cost", "US dollars", "model", _model, itemgetter("cost_usd"))
FAILURES = Measure("Failures", "Runs", "reason", _reason, itemgetter("runs"))


def _days(report: Report, rows: list[dict[str, Any]], measure: Measure) -> Any:
    import altair as alt  # noqa: PLC0415

    names = [name for name, _ in _largest(rows, measure)]
    sums: dict[tuple[date, str], float] = defaultdict(float)
    for row in rows:
        name = measure.name(row)
        series = name if name in names else OTHERS
        sums[row["day"], series] += float(measure.value(row) or 0)
    shown = [*names, OTHERS] if any(name == OTHERS for _, name in sums) else names
    values = [
        {
            "day": label(day, report.grain, report.period),
            "series": series,
            "place": place,
            "value": sums.get((day, series), 0.0),
        }
        for day in report.period.starts(report.grain)
        for place, series in enumerate(shown)
    ]
    rows_ = alt.InlineData(values=values)
    chart = by_day(rows_, measure.unit, is_money=measure.what == "Cost")
    title = f"{measure.what} by {report.grain.value} and {measure.by}"
    return chart.properties(width=WIDTH, title=title)


def _bars(rows: list[dict[str, Any]], measure: Measure) -> Any:
    import altair as alt  # noqa: PLC0415

    values = [{"name": name, "value": value} for name, value in _largest(rows, measure)]
    chart = ranking(alt.InlineData(values=values), measure.unit, is_money=True)
    return chart.properties(width=WIDTH, title=f"{measure.what} by {measure.by}")


def _largest(rows: list[dict[str, Any]], measure: Measure) -> list[tuple[str, float]]:
    """Names with their sums, for a chart's pixels."""
    sums: dict[str, float] = defaultdict(float)
    for row in rows:
        sums[measure.name(row)] += float(measure.value(row) or 0)
    ranked = sorted(sums.items(), key=lambda pair: -pair[1])
    return [pair for pair in ranked[:MOST_BARS] if pair[1]]
