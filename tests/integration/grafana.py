"""What Grafana makes of a panel's SQL before Postgres sees it.

Variables first, in the browser: values of a variable are quoted and joined by commas,
the custom value for All goes in as it stands. Then the macros of the Postgres data
source, which end at the first closing bracket (grafana-postgresql-datasource/macros.go).
"""

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parents[2] / "scripts" / "grafana"
DASHBOARDS = ("usage-and-cost", "sync-health")
ALL = ("$__all",)

VARIABLE = re.compile(r"\$(\w+)|\$\{(\w+)\}")
MACRO = re.compile(r"\$([_a-zA-Z0-9]+)\(([^)]*)\)")
UNITS = {"m": 60, "h": 3_600, "d": 86_400}

Json = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class View:
    """What somebody looks at: a time range, how fine it is, what is chosen."""

    first: datetime
    last: datetime
    interval: str = "1h"
    source: Sequence[str] = ALL
    model: Sequence[str] = ALL
    assistant: Sequence[str] = ALL

    def chosen(self, variable: Json) -> str:
        """What is put in the place of a variable."""
        values = getattr(self, variable["name"])
        if values == ALL:
            return str(variable["allValue"])
        return ",".join("'" + value.replace("'", "''") + "'" for value in values)


def dashboard(name: str) -> Json:
    """A dashboard as Grafana reads it."""
    read: Json = json.loads((FOLDER / "dashboards" / f"{name}.json").read_text("utf-8"))
    return read


def queries(dashboard: Json) -> Iterator[tuple[str, str]]:
    """Every query of a dashboard, with the name of its panel or variable."""
    for variable in dashboard["templating"]["list"]:
        yield f"${variable['name']}", variable["query"]
    for panel in dashboard["panels"]:
        for target in panel["targets"]:
            yield panel["title"], target["rawSql"]


def expanded(sql: str, dashboard: Json, view: View) -> str:
    """The query as Postgres gets it."""
    values = {"__interval": view.interval} | {
        variable["name"]: view.chosen(variable)
        for variable in dashboard["templating"]["list"]
    }
    chosen = VARIABLE.sub(lambda found: values.get(found[1] or found[2], found[0]), sql)
    return MACRO.sub(lambda found: _macro(found[1], found[2], view), chosen)


def _macro(name: str, arguments: str, view: View) -> str:
    column, *more = (each.strip() for each in arguments.split(","))
    first, last = (f"'{at.isoformat()}Z'" for at in (view.first, view.last))
    match name:
        case "__timeFilter":
            return f"{column} BETWEEN {first} AND {last}"
        case "__timeGroupAlias":
            number, unit = more[0].strip("'")[:-1], more[0].strip("'")[-1]
            seconds = int(number) * UNITS[unit]
            return f'floor(extract(epoch from {column})/{seconds})*{seconds} AS "time"'
        case _:
            raise ValueError(f"The dashboards use no macro {name} yet.")
