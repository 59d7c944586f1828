"""`runtide plan`: the whole text, and its figures, without a request."""
# ruff: noqa: E501  # what is printed is compared line by line

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.engine import Engine

from etl.config import Config, Settings, SourceConfig, SyncConfig
from etl.load.database import connected
from etl.load.planning import chosen
from etl.load.threads import known_sources, record_source
from etl.wiring.planning import plan_source
from tests.integration.builders import execute, query
from tests.integration.commands import Runtide

NOBODY = "http://127.0.0.1:9/v1"


@pytest.fixture
def engine(swept_engine: Engine) -> Engine:
    return swept_engine


@pytest.fixture
def runtide(tmp_path: Path, engine: Engine, capsys: pytest.CaptureFixture[str]) -> Runtide:
    return Runtide(tmp_path, engine, capsys)


@pytest.fixture
def registry(engine: Engine) -> Callable[..., None]:
    """Track so many threads, read yesterday, idle for one to so many days then."""
    source_id = record_source(engine, name="demo", kind="openai", base_url=NOBODY)

    def track(number: int, name: str = "idle", **facts: str) -> None:
        told = {
            "tracked_at": "now() - interval '900 days'",
            "last_pass_at": "now() - interval '1 day'",
            "asked_at": "now() - interval '1 day'",
            "last_run_at": "now() - interval '1 day' * (1.5 + i)",
        } | facts
        execute(
            engine,
            f"INSERT INTO run_sync.threads (source_id, thread_id, {', '.join(told)})"
            f" SELECT {source_id}, '{name}_' || i, {', '.join(told.values())}"
            f" FROM generate_series(0, {number} - 1) AS i",
        )

    return track


def lines(text: str) -> list[str]:
    return [line.rstrip() for line in text.splitlines() if line.strip()]


def test_a_bounded_sync_is_told_with_what_it_leaves(
    runtide: Runtide, registry: Callable[..., None]
) -> None:
    registry(97)
    registry(2, "new", last_pass_at="NULL", asked_at="NULL", runs_seen="0")
    registry(1, "open", unsettled="true")
    runtide.configure(NOBODY, sync='window = "2m"')
    printed = runtide("plan", "--requests-per-minute", "10")

    assert printed.code == 0
    assert lines(printed.out) == [
        "demo: 100 threads known, 20 due now, 80 left for later.",
        "About 20 requests: 2 minutes at 10 a minute; the window is 2m.",
        "Others are asked again after about 18 % of the time they were idle, five days added, and at the latest after 30d. In the long run:",
        " idle for         threads   due now   asked about every   at the latest after",
        " ────────────────────────────────────────────────────────────────────────────",
        " under 1 day            4         4   day                 2 days",
        " 1 to 7 days            6         6   2 days              3 days",
        " 7 to 30 days          23        10   4.7 days            7 days",
        " 30 to 90 days         60         0   11.8 days           17 days",
        " 90 to 365 days         7         0   20 days             22 days",
        "A new run is seen when its thread is asked, so as much later as that.",
        " why they are due now                               threads",
        " ──────────────────────────────────────────────────────────",
        " new, never read                                          2",
        " with runs that may still change                          1",
        " that waited long, beside the time they were idle        17",
        "With twice the window (4 minutes) or twice the budget (20 a minute), 40 would be due now, and others asked again after about 7 % of their idle time.",
        "To ask everybody at every sync takes 100 requests: a window of 10 minutes, or 50 requests a minute.",
    ]


def test_too_few_requests_for_any_factor_are_told_in_json_that_others_can_read(
    runtide: Runtide, registry: Callable[..., None]
) -> None:
    registry(100)
    runtide.configure(NOBODY)
    printed = runtide("plan", "--window", "1m", "--requests-per-minute", "1", "--json")
    [told] = json.loads(printed.out, parse_constant=pytest.fail)["sources"]

    assert not told["long_run"]["keeps_max_interval"]
    assert told["long_run"]["factor"] is None
    assert told["doubled"]["factor"] is None


def test_the_same_stands_in_one_object(
    runtide: Runtide, registry: Callable[..., None]
) -> None:
    registry(100)
    runtide.configure(NOBODY)
    printed = runtide("plan", "--window", "2m", "--requests-per-minute", "10", "--json")
    [told] = json.loads(printed.out)["sources"]
    run = told.pop("long_run")

    assert told.pop("planned_at")
    assert told.pop("factor") > 0
    doubled = told.pop("doubled")
    assert (doubled["threads_due"], doubled["requests_expected"]) == (40, 40)
    assert told == {
        "source": "demo",
        "hints": False,
        "window": "2m",
        "requests_per_minute": 10,
        "max_interval": "30d",
        "threads_known": 100,
        "threads_due": 20,
        "threads_left": 80,
        "due": {"idle": 20},
        "requests_expected": 20,
        "seconds_expected": 120.0,
    }
    assert run["keeps_max_interval"] is True
    assert run["requests"] <= 20
    assert (run["requests_to_ask_everybody"], run["requests_to_keep_max_interval"]) == (
        100,
        4,
    )
    assert sum(each["threads"] for each in run["idle"]) == 100
    assert sum(each["threads_due"] for each in run["idle"]) == 20
    every = [each["seconds_every"] for each in run["idle"]]
    assert every == sorted(every)


@pytest.mark.parametrize(
    ("sync", "said"),
    [
        ("", "Everybody is asked; set [sync] window to bound how long a sync takes."),
        ('window = "2h"', "Everybody fits into the window, so everybody is asked."),
    ],
)
def test_where_everybody_is_asked_nothing_more_is_told(
    runtide: Runtide, registry: Callable[..., None], sync: str, said: str
) -> None:
    registry(100)
    runtide.configure(NOBODY, sync=sync)
    printed = runtide("plan", "--requests-per-minute", "10")

    fits = "; the window is 2h" if sync else ""
    assert printed.out == (
        "demo: 100 threads known, 100 due now, 0 left for later.\n"
        f"About 100 requests: 10 minutes at 10 a minute{fits}.\n{said}\n"
    )


def test_too_few_requests_for_max_interval_are_told(
    runtide: Runtide, registry: Callable[..., None]
) -> None:
    registry(300)
    runtide.configure(NOBODY, sync='window = "1m"')
    printed = runtide("plan", "--requests-per-minute", "5")

    assert (
        "Too few to ask every thread within max_interval (30d): that takes 10 requests in"
        " every sync, 2.0 times as many; raise the budget, window or max_interval. As it"
        " is, in the long run:"
    ) in printed.out
    assert "60 days" in printed.out


def test_hints_are_told(
    runtide: Runtide, registry: Callable[..., None], engine: Engine
) -> None:
    registry(9)
    registry(1, "active", active_at="now()")
    execute(
        engine,
        "INSERT INTO run_sync.discoveries (source_id, question, discovered_at, whole_at, hints)"
        " SELECT source_id, gen_random_uuid(), now(), now(), true FROM run_sync.sources",
    )
    discovery = 'discovery = { sql = "SELECT 1", url_env = "APP" }'
    runtide.configure(NOBODY, source=discovery)

    assert lines(runtide("plan").out)[:3] == [
        "demo: 10 threads known, 1 due now, 9 left for later.",
        "About 1 request: a second at 10,000,000 a minute.",
        "The discovery tells who was active: they are asked, all others every 30d as a check.",
    ]


def test_a_source_without_threads_and_an_archive_are_told(
    runtide: Runtide, engine: Engine
) -> None:
    archive = '[[sources]]\nname = "files"\nkind = "archive"\n'
    runtide.configure(NOBODY, source=archive)

    assert runtide("plan").out == (
        "demo: no thread is to be asked; run `runtide track THREAD_ID …`.\n"
    )
    refused = runtide("plan", "--source", "files")
    assert (refused.code, refused.err) == (
        2,
        "runtide: Source 'files' is an archive and has no server to ask; `runtide import` reads its files.\n",
    )
    assert query(engine, "SELECT count(*) FROM run_sync.sources") == [(0,)]


@pytest.mark.parametrize("window", ["8x", "0h", "8", "h"])
def test_a_window_that_is_none_is_refused(runtide: Runtide, window: str) -> None:
    runtide.configure(NOBODY)

    refused = runtide("plan", "--window", window)
    assert (refused.code, refused.err) == (
        2,
        f"runtide: The window is {window!r}, expected a number and a unit, such as 90m or 8h.\n",
    )


def test_a_plan_writes_nothing(
    runtide: Runtide, registry: Callable[..., Any], engine: Engine
) -> None:
    registry(5)
    runtide.configure(NOBODY, sync='window = "1m"')
    rows = "SELECT xmin, * FROM run_sync.threads ORDER BY thread_id"
    before = query(engine, rows)

    assert runtide("plan").code == 0
    assert query(engine, rows) == before
    assert query(engine, "SELECT count(*) FROM run_sync.plans") == [(0,)]


@pytest.mark.parametrize(
    ("left_seconds", "due"), [(None, 20), (60.0, 10), (9_999.0, 20), (0.0, 0)]
)
def test_a_sync_plans_for_what_is_left_of_its_window(
    tmp_path: Path,
    registry: Callable[..., None],
    engine: Engine,
    left_seconds: float | None,
    due: int,
) -> None:
    registry(100)
    source = SourceConfig(name="demo", base_url=NOBODY, requests_per_minute=10)
    settings = Settings(
        path=tmp_path,
        config=Config(sources=(source,), sync=SyncConfig(window="2m")),
        environment={},
    )
    source_id = known_sources(engine)["demo"]

    with connected(engine) as connection:
        planned = plan_source(
            connection, settings, source, source_id, left_seconds=left_seconds
        )
        ids = connection.scalars(chosen(source_id, planned.rule, planned)).all()
    assert (planned.due, len(ids), planned.known) == (due, due, 100)
