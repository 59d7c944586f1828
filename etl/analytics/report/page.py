"""The report as one HTML file that needs no network and runs no text of the data."""

import base64
import hashlib
import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from etl.analytics.report.charts import page_charts
from etl.analytics.report.figures import embedded
from etl.analytics.report.outline import sections
from etl.analytics.report.reading import Answer, Report

if TYPE_CHECKING:
    from jinja2 import Environment

FOLDER = Path(__file__).parent
PARAMETER = re.compile(r"(?<![:\w]):([a-z_]\w*)")
SCRIPTS = ("numbers", "cube", "tables", "sections", "page")
NONE = "'none'"
VEGA_LITE = "6.4"
"""The version that altair writes for."""


def html(report: Report) -> Iterator[str]:
    """The page, part by part."""
    from markupsafe import Markup  # noqa: PLC0415

    environment = _environment(report)
    has_runs = bool(report.totals["runs"])
    style, script, vega = _own("page.css"), own_script(), _vega() if has_runs else ""
    return environment.get_template("page.html.j2").generate(
        policy=policy(style, [vega, script]),
        style=Markup(style),  # noqa: S704  # our own file
        script=Markup(script),  # noqa: S704  # our own files
        vega=Markup(vega),  # noqa: S704  # what vl-convert brings
        figures=Markup(embedded(report)) if has_runs else "",  # noqa: S704  # escaped there
        charts=Markup(_charts()) if has_runs else "",  # noqa: S704  # without data
        has_runs=has_runs,
        period=report.period,
        sections=sections(report),
        freshness=report.answers["freshness"].dicts,
        version=version("runtide"),
        **head(report),
    )


def head(report: Report) -> dict[str, Any]:
    """What the lines above the figures say."""
    names, days = report.sources, report.period.days
    listed = ", ".join(names[:5]) + (" …" if len(names) > 5 else "")  # noqa: PLR2004
    return {
        "title": "Runs, tokens and cost",
        "days": f"{days:,} {'day' if days == 1 else 'days'}",
        "about": f"{'source' if len(names) == 1 else 'sources'} {listed or 'none yet'}",
        "complete": _complete(report),
        "made": instant(report.generated_at),
        "notes": _notes(report),
        "nothing": _nothing(report),
    }


def _complete(report: Report) -> str:
    rows = report.answers["freshness"].dicts
    if any(row["threads_never_read"] for row in rows):
        return "Not complete: a source has threads that were never read."
    through = [each for row in rows if (each := row["complete_through"]) is not None]
    return f"Complete through {instant(min(through))}." if through else ""


def _notes(report: Report) -> list[str]:
    notes = []
    if report.grain != "day":
        notes.append(
            f"The period has too many figures to tell its days apart in a page: they are"
            f" added up by {report.grain.value}. The format csv has the days."
        )
    if report.is_folded:
        notes.append(
            "Models and assistants beyond those with most tokens are added up as"
            " “(other models)” and “(other assistants)”."
        )
    return notes


def _nothing(report: Report) -> str:
    if not report.answers["freshness"].rows:
        return "The database is empty: nothing was ever synced. Run runtide sync first."
    return "No run was created in this period. Choose another with --from and --to."


def policy(style: str, scripts: list[str]) -> str:
    """What the page may do: apply this style, run these scripts, and nothing else."""
    allowed = " ".join(f"'{_digest(script)}'" for script in scripts if script)
    return (
        f"default-src 'none'; script-src {allowed or NONE};"
        f" style-src '{_digest(style)}'; connect-src 'none';"
        " base-uri 'none'; form-action 'none'"
    )


def _digest(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


def own_script() -> str:
    """The page's own scripts as one, which leaves nothing in the window."""
    parts = "\n".join(_own(f"{name}.js") for name in SCRIPTS)
    return f'(() => {{\n"use strict";\n{parts}}})();\n'


def _own(name: str) -> str:
    return (FOLDER / name).read_text(encoding="utf-8")


def _vega() -> str:
    """Vega, Vega-Lite and their interpreter of expressions, which needs no eval."""
    import vl_convert  # noqa: PLC0415  # slow to import

    bundle = vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;", VEGA_LITE)
    return bundle.replace("</script", "<\\/script").replace("<!--", "<\\!--")


def _charts() -> str:
    """The charts in Vega's words: the page need not translate them."""
    import vl_convert  # noqa: PLC0415  # slow to import

    charts = {
        name: vl_convert.vegalite_to_vega(chart, vl_version=VEGA_LITE)
        for name, chart in page_charts().items()
    }
    return json.dumps(charts, separators=(",", ":")).replace("<", "\\u003c")


def _environment(report: Report) -> "Environment":
    import jinja2  # noqa: PLC0415  # slow to import
    from markupsafe import Markup  # noqa: PLC0415

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(FOLDER),
        autoescape=True,
        trim_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    template = environment.get_template("statement.html.j2")

    def statement(name: str) -> Markup:
        answer = report.answers[name]
        shown = template.render(name=name, sql=runnable(answer))
        return Markup(shown)  # noqa: S704  # the template has escaped it

    environment.globals["statement"] = statement
    environment.filters["instant"] = instant
    environment.filters["counted"] = lambda number: f"{number:,}"
    return environment


def runnable(answer: Answer) -> str:
    """The statement as it was run, its parameters in their places: ready for psql."""
    return PARAMETER.sub(lambda found: literal(answer.parameters[found[1]]), answer.sql)


def literal(value: Any) -> str:
    """A parameter as it stands in SQL."""
    match value:
        case None:
            return "NULL"
        case bool() | int():
            return str(value)
        case list() | tuple():
            return f"ARRAY[{', '.join(map(literal, value))}]::text[]"
        case datetime():
            return f"'{value.isoformat(' ')}'"
        case _:
            return "'" + str(value).replace("'", "''") + "'"


def instant(moment: datetime | None) -> str:
    """An instant to the minute, in UTC."""
    if moment is None:
        return "\N{EN DASH}"
    return moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC")
