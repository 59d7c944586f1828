"""The report's page in a real browser: its numbers, its filter, and what it never does."""

import re
from decimal import Decimal
from pathlib import Path

import pytest
from playwright.sync_api import Browser
from sqlalchemy.engine import Engine

from etl.analytics.report import write_report
from tests.e2e.browsing import Look, looking_at
from tests.integration.reported import (
    HOSTILE_ASSISTANT,
    HOSTILE_CODE,
    HOSTILE_MESSAGE,
    HOSTILE_MODEL,
    HOSTILE_SOURCE,
    NOW,
    measured,
    seed,
)

NOTHING = "\N{EN DASH}"
TILES = ("runs", "tokens", "cost", "unpriced", "no-usage")


@pytest.fixture
def look(shared: Look) -> Look:
    """The page with nothing filtered out."""
    shared.page.click("#filter button[type=reset]")
    shared.page.locator("#shown", has_text=re.compile("^All 400 runs")).wait_for()
    shared.settle()
    return shared


def tiles(look: Look) -> list[Decimal]:
    """The numbers of the totals, exactly."""
    return [Decimal(look.total(name).replace(",", "") or 0) for name in TILES]


def expected(
    engine: Engine, first: str = "2026-09-20", last: str = "2026-10-19", where: str = "true"
) -> list[Decimal]:
    """The same numbers, from the runs alone."""
    row = measured(engine, first, last, where)._mapping
    names = ("runs", "total_tokens", "cost_usd", "unpriced_runs", "no_usage_runs")
    return [Decimal(row[name] or 0) for name in names]


def test_the_totals_are_those_of_the_runs(look: Look, reported: Engine) -> None:
    assert tiles(look) == expected(reported)
    assert look.page.text_content("#shown") == "All 400 runs are shown."
    assert re.fullmatch(r"\$\d\.\d\d", look.page.text_content("#total-cost") or "")


FILTERS = [
    ({"model": "a"}, "model = 'a'"),
    ({"model": HOSTILE_MODEL}, "model = :model"),
    ({"model": "(none)"}, "model IS NULL"),
    ({"source": HOSTILE_SOURCE}, "source_id = 2"),
    ({"assistant_id": HOSTILE_ASSISTANT}, "assistant_id = :assistant"),
    (
        {"source": "one", "model": "a", "assistant_id": "asst_b"},
        "source_id = 1 AND model = 'a' AND assistant_id = 'asst_b'",
    ),
]


@pytest.mark.parametrize(("choices", "where"), FILTERS)
def test_a_filter_changes_totals_as_sql_does(
    look: Look, reported: Engine, choices: dict[str, str], where: str
) -> None:
    look.choose(**choices)

    assert tiles(look) == expected(reported, where=where)
    days = look.table("days")
    assert sum(int(row[1].replace(",", "")) for row in days) == tiles(look)[0]
    assert (
        sum(Decimal(row[7] if row[7] != NOTHING else 0) for row in days) == tiles(look)[2]
    )


def test_days_filter_totals_charts_and_tables(look: Look, reported: Engine) -> None:
    before = look.drawn("tokens-by-day"), look.drawn("cost-by-model")
    look.choose(**{"from": "2026-10-03", "to": "2026-10-06"})

    assert tiles(look) == expected(reported, "2026-10-03", "2026-10-06")
    assert [row[0] for row in look.table("days")] == [
        "2026-10-06",
        "2026-10-05",
        "2026-10-03",
    ]
    assert sorted(n for n in look.bars("tokens-by-day") if "-" in n) == [
        "10-03",
        "10-04",
        "10-05",
        "10-06",
    ]
    assert look.drawn("tokens-by-day") != before[0]
    assert look.drawn("cost-by-model") != before[1]


@pytest.mark.parametrize("name", ["source", "model", "assistant_id"])
def test_names_to_choose_from_are_in_order(look: Look, name: str) -> None:
    offered = look.page.locator(f"select[name={name}] option").all_text_contents()

    assert offered[0] == "all"
    assert offered[1:] == sorted(offered[1:])
    assert len(offered) > 2


def test_an_axis_of_tokens_begins_with_nothing_but_zero(look: Look) -> None:
    assert "0" in look.bars("tokens-by-day")
    assert "0" in look.bars("tokens-by-model")


def test_a_filter_that_lets_nothing_through_says_so(look: Look) -> None:
    look.choose(**{"from": "2026-10-04", "to": "2026-10-04"})

    assert look.page.text_content("#shown") == "0 of 400 runs are shown."
    assert look.page.is_visible("#empty-models")
    assert look.page.is_hidden("#figure-tokens-by-day")


def test_tables_by_name_and_failures_agree_with_sql(look: Look, reported: Engine) -> None:
    by_model = {row[0]: row for row in look.table("models")}

    a = measured(reported, where="model = 'a'")._mapping
    assert int(by_model["a"][1]) == a["runs"]
    assert Decimal(by_model["a"][7]) == a["cost_usd"]
    assert by_model["nobody-knows"][7] == NOTHING
    failed = measured(reported, where="status = 'failed'")._mapping
    [row] = [row for row in look.table("failures") if row[0] == "failed"]
    assert int(row[2]) == failed["runs"]
    [wasted] = [row for row in look.table("waste") if row[0] == "failed"]
    assert Decimal(wasted[3]) == failed["cost_usd"]


def test_latency_is_counted_anew_for_a_filter(look: Look, reported: Engine) -> None:
    look.choose(**{"model": "a", "from": "2026-10-05", "to": "2026-10-05"})
    with reported.connect() as connection:
        seconds = connection.exec_driver_sql(
            "SELECT percentile_disc(ARRAY[0.5, 0.95])"
            " WITHIN GROUP (ORDER BY duration_seconds)"
            " FROM run_analytics.run_facts WHERE model = 'a' AND day = '2026-10-05'"
        ).scalar_one()

    [row] = look.table("latency")
    assert row[4:6] == [f"{Decimal(f'{each:.1e}').normalize():f} s" for each in seconds]


def test_texts_of_the_data_are_shown_and_never_run(look: Look) -> None:
    page = look.page
    for table, text in {
        "models": HOSTILE_MODEL,
        "assistants": HOSTILE_ASSISTANT,
        "failures": HOSTILE_CODE,
        "messages": HOSTILE_MESSAGE,
        "threads": HOSTILE_SOURCE,
    }.items():
        assert any(text in row for row in look.table(table)), table
    page.hover("#chart-tokens-by-assistant .mark-rect path")
    page.mouse.move(400, 5)

    assert page.evaluate("window.hacked") is None
    assert page.locator("img").count() == 0
    assert page.locator("b").count() == 0
    assert page.locator("main script").count() == 0


@pytest.mark.parametrize("width", [360, 391, 544, 600, 731, 918, 1105, 1292])
def test_no_name_of_a_legend_is_cut_off(look: Look, width: int) -> None:
    look.page.set_viewport_size({"width": width, "height": 900})
    look.page.wait_for_timeout(150)

    cut = look.page.evaluate(
        "() => [...document.querySelectorAll('.chart .role-legend text')].filter(text => {"
        " const name = text.getBoundingClientRect();"
        " const all = text.ownerSVGElement.getBoundingClientRect();"
        " return name.top < all.top - 1 || name.right > all.right + 1; })"
        ".map(text => text.textContent)"
    )
    look.page.set_viewport_size({"width": 1280, "height": 900})
    assert cut == []


def test_a_name_that_scripts_know_is_a_name_like_any_other(
    browser: Browser, engine: Engine, tmp_path: Path
) -> None:
    seed(engine)
    with engine.begin() as connection:
        connection.exec_driver_sql(
            "UPDATE run_history.runs SET model = '__proto__', assistant_id = 'constructor'"
            " WHERE model = 'a'"
        )
    write_report(engine, tmp_path / "report.html", at=NOW)

    with looking_at(browser, tmp_path / "report.html") as look:
        assert look.complaints == []
        assert "__proto__" in look.bars("tokens-by-model")
        assert "constructor" in look.bars("tokens-by-assistant")
        assert look.drawn("tokens-by-model")


def test_a_tooltip_is_text(look: Look) -> None:
    bar = look.page.locator("#chart-tokens-by-assistant .mark-rect.role-mark path")
    names = [bar.nth(n) for n in range(bar.count())]
    told = []
    for each in names:
        each.scroll_into_view_if_needed()
        each.hover()
        told.append(look.page.text_content("#tip div") or "")

    assert HOSTILE_ASSISTANT in told
    assert look.page.locator("#tip img").count() == 0


def test_it_asks_for_nothing_and_complains_of_nothing(
    look: Look, report_page: Path
) -> None:
    look.choose(model="a")

    assert look.requests == [report_page.as_uri()]
    assert look.sent == []
    assert look.complaints == []


def test_its_policy_stops_a_script_that_somebody_smuggled_in(
    browser: Browser, report_page: Path, tmp_path: Path
) -> None:
    smuggled = tmp_path / "smuggled.html"
    text = report_page.read_text(encoding="utf-8")
    evil = (
        '<script>window.hacked=1</script><img src="http://127.0.0.1/x" onerror="hacked=1">'
    )
    smuggled.write_text(text.replace("</main>", f"{evil}</main>"), encoding="utf-8")

    with looking_at(browser, smuggled) as look:
        assert look.page.evaluate("window.hacked") is None
        assert len([c for c in look.complaints if "Content Security Policy" in c]) >= 2
        assert look.sent == []


def test_the_policy_allows_no_eval_no_network_and_no_other_script(
    report_page: Path,
) -> None:
    [policy] = re.findall(
        r'Policy" content="([^"]*)"', report_page.read_text(encoding="utf-8")
    )

    policy = re.sub(r"sha256-[^&]+", "HASH", policy).replace("&#39;", "'")
    assert policy == (
        "default-src 'none'; script-src 'HASH' 'HASH'; style-src 'HASH';"
        " connect-src 'none'; base-uri 'none'; form-action 'none'"
    )


def test_the_statement_that_was_run_stands_behind_each_section_ready_to_run(
    look: Look, reported: Engine
) -> None:
    shown = look.page.locator("details.statement code").all_text_contents()

    assert len(shown) == 12
    assert "FROM run_analytics.token_usage_daily" in shown[0]
    assert "'2026-09-20'" in shown[0]
    with reported.connect() as connection:
        for statement in shown:
            assert connection.exec_driver_sql(statement).all(), statement
