"""The dashboards for Grafana: their queries as a reader's, on a database with rows."""

import re
from datetime import datetime
from decimal import Decimal
from itertools import combinations
from typing import Any

import psycopg
import pytest
from sqlalchemy.engine import Connection, Engine

from scripts.documenting.demo_answers import reader
from tests.integration.grafana import (
    DASHBOARDS,
    FOLDER,
    Json,
    View,
    dashboard,
    expanded,
    queries,
)

LONG = View(first=datetime(2026, 11, 1), last=datetime(2100, 1, 1))  # noqa: DTZ001
EARLIER = View(first=datetime(2025, 1, 1), last=datetime(2025, 2, 1))  # noqa: DTZ001

MAY_BE_EMPTY = {"Models without a price"}
"""Good news has no rows."""
TIME_OF = {
    "run_facts": "created_at",
    "run_costs": "created_at",
    "token_usage_daily": "day",
    "run_waste": "day",
}
"""By what each view wants to be filtered, so that little of it is read."""
WITHOUT_TIME = {"freshness", "unpriced_models"}
LATEST_ONLY = {"Since the last good sync"}
NUMBERS = (int, float, Decimal)

Answers = dict[str, tuple[list[str], list[tuple[Any, ...]]]]
"""Columns and rows, by the title of the panel or variable."""

both = pytest.mark.parametrize("name", DASHBOARDS)


def asked(connection: Connection, sql: str) -> tuple[list[str], list[tuple[Any, ...]]]:
    """Columns and rows, as the data source's own driver sends the query: as it stands."""
    driver = connection.connection.driver_connection
    assert isinstance(driver, psycopg.Connection)
    with driver.transaction():
        cursor = driver.execute(sql.encode())
        return [column.name for column in cursor.description or ()], cursor.fetchall()


def answers(connection: Connection, name: str, view: View) -> Answers:
    board = dashboard(name)
    return {
        title: asked(connection, expanded(sql, board, view))
        for title, sql in queries(board)
    }


@pytest.fixture(scope="module")
def shown(demo_engine: Engine, reader_name: str) -> dict[str, Answers]:
    """What the dashboards show of the whole demo world, asked once."""
    with reader(demo_engine, reader_name) as connection:
        return {name: answers(connection, name, LONG) for name in DASHBOARDS}


@both
def test_every_panel_and_variable_shows_something(
    shown: dict[str, Answers], name: str
) -> None:
    found = shown[name]

    empty = {title for title, (_, rows) in found.items() if not rows}
    assert empty <= MAY_BE_EMPTY
    for title, (columns, rows) in found.items():
        unset = [
            column
            for column, *values in zip(columns, *rows, strict=True)
            if not any(value is not None for value in values)
        ]
        assert not rows or unset in ([], ["Error"]), title


@both
def test_every_time_series_has_a_time_numbers_and_an_order(
    shown: dict[str, Answers], name: str
) -> None:
    found = shown[name]
    series = [panel for panel in dashboard(name)["panels"] if panel["type"] == "timeseries"]

    assert series
    for panel in series:
        columns, rows = found[panel["title"]]
        assert columns[0] == "time"
        times = [row[0] for row in rows]
        assert times == sorted(times)
        assert all(isinstance(time, datetime | Decimal) for time in times)
        names = [column for column in columns[1:] if column != "metric"]
        assert names
        assert "metric" not in columns or len(columns) == 3
        for column in names:
            at = columns.index(column)
            assert all(isinstance(row[at], (*NUMBERS, type(None))) for row in rows), column


@both
def test_every_stat_is_one_row_of_numbers(shown: dict[str, Answers], name: str) -> None:
    found = shown[name]
    stats = [
        panel["title"] for panel in dashboard(name)["panels"] if panel["type"] == "stat"
    ]

    assert stats
    for title in stats:
        _, [row] = found[title]
        assert all(isinstance(value, NUMBERS) for value in row), title


@both
def test_every_override_names_a_column_that_comes(
    shown: dict[str, Answers], name: str
) -> None:
    found = shown[name]

    for panel in dashboard(name)["panels"]:
        columns, _ = found[panel["title"]]
        named = [each["matcher"]["options"] for each in panel["fieldConfig"]["overrides"]]
        assert set(named) <= set(columns), panel["title"]


def test_a_choice_shows_just_what_is_chosen(demo_reader: Connection) -> None:
    view = View(
        first=LONG.first, last=LONG.last, source=["demo"], model=["gpt-4.1", "o'clock"]
    )

    found = answers(demo_reader, "usage-and-cost", view)

    assert [row[0] for row in found["By model"][1]] == ["gpt-4.1"]
    [(cost, unpriced)] = found["Cost"][1]
    assert (round(cost, 4), unpriced) == (Decimal("1.2937"), 0)
    assert sum(row[1] for row in found["By assistant"][1]) == 98
    assert sum(row[1] for row in found["Dearest threads"][1]) <= 98


@both
def test_a_source_that_is_not_there_shows_nothing_and_breaks_nothing(
    demo_reader: Connection, name: str
) -> None:
    view = View(first=LONG.first, last=LONG.last, source=["it's another"])

    found = answers(demo_reader, name, view)

    full = {
        title
        for title, (_, rows) in found.items()
        if any(value for row in rows for value in row)
    }
    assert full == {"$source"}


@both
def test_totals_of_cost_say_how_many_runs_have_no_price(name: str) -> None:
    for panel in dashboard(name)["panels"]:
        sql = panel["targets"][0]["rawSql"]
        if "cost_usd" in sql and panel["type"] != "timeseries":
            assert 'AS "Runs unpriced"' in sql, panel["title"]


@both
def test_queries_read_views_of_run_analytics_alone(name: str) -> None:
    for title, sql in queries(dashboard(name)):
        assert set(re.findall(r"\brun_[a-z]+(?=\.)", sql)) == {"run_analytics"}, title
        sources = re.findall(r"(?:FROM|JOIN)\s+(?!now\(\))([\w.]+)", sql)
        assert all(each.startswith("run_analytics.") for each in sources), title


@both
def test_every_query_filters_by_the_time_its_view_is_kept_by(name: str) -> None:
    times = TIME_OF | {"sync_health": "started_at"}
    for title, sql in queries(dashboard(name)):
        [view] = set(re.findall(r"run_analytics\.(\w+)", sql))
        if view not in WITHOUT_TIME and title not in LATEST_ONLY:
            assert f"$__timeFilter({times[view]})" in sql, title


def test_single_runs_are_read_from_the_months_of_the_range_alone(
    demo_reader: Connection,
) -> None:
    board = dashboard("usage-and-cost")
    single = {
        title: sql
        for title, sql in queries(board)
        if re.search(r"run_analytics\.(run_facts|run_costs)\b", sql)
    }

    assert len(single) == 4
    for title, sql in single.items():
        for view, is_read in ((LONG, True), (EARLIER, False)):
            _, plan = asked(demo_reader, f"EXPLAIN {expanded(sql, board, view)}")
            assert ("runs_2026_11" in str(plan)) is is_read, title


@both
def test_panels_have_ids_of_their_own_and_do_not_overlap(name: str) -> None:
    panels = dashboard(name)["panels"]

    assert len({panel["id"] for panel in panels}) == len(panels)
    assert len({panel["title"] for panel in panels}) == len(panels)
    for panel in panels:
        place = panel["gridPos"]
        assert place["x"] >= 0
        assert place["x"] + place["w"] <= 24
    for one, other in combinations(panels, 2):
        assert not overlap(one["gridPos"], other["gridPos"]), (one["title"], other["title"])


def overlap(one: Json, other: Json) -> bool:
    return all(
        one[start] < other[start] + other[size] and other[start] < one[start] + one[size]
        for start, size in (("x", "w"), ("y", "h"))
    )


@both
def test_everything_asks_the_data_source_that_is_provisioned(name: str) -> None:
    provisioned = (FOLDER / "provisioning/datasources/runtide.yml").read_text("utf-8")
    found = {
        key: re.findall(rf"^ +(?:- )?{key}: (\S+)$", provisioned, re.MULTILINE)
        for key in ("type", "uid")
    }
    board = dashboard(name)
    asked_for = [variable["datasource"] for variable in board["templating"]["list"]]
    for panel in board["panels"]:
        asked_for += [
            panel["datasource"],
            *(each["datasource"] for each in panel["targets"]),
        ]

    assert {key: [each] for key, each in asked_for[0].items()} == found
    assert all(each == asked_for[0] for each in asked_for)


@both
def test_every_panel_says_what_it_shows_and_in_which_unit(name: str) -> None:
    for panel in dashboard(name)["panels"]:
        assert panel["description"].endswith("."), panel["title"]
        assert panel["fieldConfig"]["defaults"]["unit"], panel["title"]
        wanted = "time_series" if panel["type"] == "timeseries" else "table"
        assert [target["format"] for target in panel["targets"]] == [wanted]


def test_both_dashboards_have_uids_of_their_own_and_the_schema_of_one_grafana() -> None:
    boards = [dashboard(name) for name in DASHBOARDS]

    assert {board["uid"] for board in boards} == {f"runtide-{name}" for name in DASHBOARDS}
    assert {board["schemaVersion"] for board in boards} == {42}


def test_every_secret_of_the_data_source_comes_from_the_environment() -> None:
    provisioned = (FOLDER / "provisioning/datasources/runtide.yml").read_text("utf-8")
    readme = (FOLDER / "README.md").read_text("utf-8")
    named = re.findall(r"^ +(\w+): \$\{(\w+)\}$", provisioned, re.MULTILINE)

    assert [key for key, _ in named] == [
        "url",
        "user",
        "database",
        "sslmode",
        "sslRootCertFile",
        "password",
    ]
    assert [variable for _, variable in named if variable not in readme] == []
