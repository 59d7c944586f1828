"""The report's figures against SQL of another kind, and its files."""

import csv
import io
import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from decimal import Decimal
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import URL, Engine

from etl.analytics.report import Format, write_report
from etl.analytics.report.page import html
from etl.analytics.report.period import Grain
from etl.analytics.report.reading import Report, read_report
from etl.analytics.report.rows import as_json
from etl.domain.errors import ConfigError
from etl.load.database import opened
from tests.conftest import _database
from tests.integration.reported import (
    HOSTILE_MESSAGE,
    HOSTILE_SOURCE,
    NOW,
    a_seeded_database,
    measured,
    seed,
)


@pytest.fixture(scope="module")
def reported(admin: Engine, server_url: URL, template: str) -> Iterator[Engine]:
    """A seeded database, to be read only."""
    with a_seeded_database(admin, server_url, template) as engine:
        yield engine


@pytest.fixture(scope="module")
def report(reported: Engine) -> Report:
    return read_report(reported, at=NOW)


def test_without_dates_it_is_about_the_last_thirty_days_that_have_data(
    report: Report,
) -> None:
    assert (report.period.first_day, report.period.last_day) == (
        date(2026, 9, 20),
        date(2026, 10, 19),
    )


def test_the_totals_are_those_of_the_runs(report: Report, reported: Engine) -> None:
    expected = measured(reported)._mapping

    assert expected["runs"] == 400
    assert {name: report.totals[name] for name in expected} == dict(expected)


def test_the_rows_of_every_question_add_up_to_the_totals(report: Report) -> None:
    usage, waste = (report.answers[name].dicts for name in ("usage", "waste"))

    for column in ("runs", "total_tokens", "unpriced_runs", "no_usage_runs"):
        assert sum(row[column] for row in usage) == report.totals[column]
    assert sum(row["cost_usd"] or 0 for row in usage) == report.totals["cost_usd"]
    assert sum(row["runs"] for row in waste) == report.totals["wasted_runs"]
    assert sum(row["cost_usd"] or 0 for row in waste) == report.totals["wasted_cost_usd"]


def test_one_source_alone_is_reported(reported: Engine) -> None:
    report = read_report(reported, source=HOSTILE_SOURCE, at=NOW)
    expected = measured(reported, where="source_id = 2")._mapping

    assert report.sources == [HOSTILE_SOURCE]
    assert {name: report.totals[name] for name in expected} == dict(expected)


def test_only_the_days_asked_for_are_reported(reported: Engine) -> None:
    report = read_report(reported, date(2026, 10, 3), date(2026, 10, 6), at=NOW)
    expected = measured(reported, "2026-10-03", "2026-10-06")._mapping

    assert {name: report.totals[name] for name in expected} == dict(expected)
    failed = sum(row["runs"] for row in report.answers["failures"].dicts)
    assert failed == _scalar(
        reported,
        "SELECT count(*) FROM run_history.runs WHERE status IN ('failed', 'expired',"
        " 'incomplete') AND created_at >= '2026-10-03' AND created_at < '2026-10-07'",
    )


def test_failures_of_a_day_name_their_last_run(report: Report, reported: Engine) -> None:
    rows = report.answers["failures"].dicts
    last = max(rows, key=lambda row: row["last_run_at"])

    assert last["example_run_id"] == _scalar(
        reported,
        "SELECT run_id FROM run_history.runs WHERE status IN ('failed', 'expired',"
        " 'incomplete') ORDER BY created_at DESC LIMIT 1",
    )
    assert {row["error_message"] for row in report.answers["messages"].dicts} == {
        HOSTILE_MESSAGE
    }


@pytest.mark.parametrize("share", [50, 95, 99])
def test_rounding_first_gives_the_rounded_percentile(
    report: Report, reported: Engine, share: int
) -> None:
    rows = [r for r in report.answers["latency"].dicts if r["measure"] == "duration"]
    exact = _scalar(
        reported,
        f"SELECT percentile_disc(0.{share})"  # a number of ours
        " WITHIN GROUP (ORDER BY duration_seconds)"
        " FROM run_analytics.run_facts WHERE duration_seconds >= 0",
    )

    assert _percentile(rows, share) == Decimal(f"{exact:.1e}")
    assert len({row["seconds"] for row in rows}) > 30


def _percentile(rows: list[dict[str, Decimal]], share: int) -> Decimal:
    every = sorted(row["seconds"] for row in rows for _ in range(int(row["runs"])))
    return every[-(-len(every) * share // 100) - 1]


def test_threads_are_the_dearest_and_those_with_most_tokens(
    report: Report, reported: Engine
) -> None:
    rows = report.answers["threads"].dicts
    kept = {(row["source"], row["thread_id"]) for row in rows}
    with reported.connect() as connection:
        dearest = connection.execute(
            sa.text(
                "SELECT source, thread_id FROM run_analytics.thread_overview"
                " ORDER BY cost_usd DESC NULLS LAST, total_tokens DESC, source, thread_id"
                " LIMIT 50"
            )
        ).all()

    assert {tuple(row) for row in dearest} <= kept
    assert len(kept) < rows[0]["threads"] == 70


def test_too_many_rows_make_months_of_days_and_lose_no_run(
    reported: Engine, report: Report
) -> None:
    coarse = read_report(reported, at=NOW, most_rows=200)

    assert coarse.grain is Grain.MONTH
    assert coarse.totals == report.totals
    assert sum(row["runs"] for row in coarse.answers["usage"].dicts) == 400
    assert {row["day"] for row in coarse.answers["usage"].dicts} == {
        date(2026, 9, 1),
        date(2026, 10, 1),
    }
    assert "are added up by month. The format csv has the days." in "".join(html(coarse))


def test_where_months_are_too_many_names_share_one(
    reported: Engine, report: Report, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("etl.analytics.report.reading.MOST_NAMES", 1)
    folded = read_report(reported, at=NOW, most_rows=20)
    usage = folded.answers["usage"].dicts

    assert folded.is_folded
    assert {row["model"] for row in usage} == {"a", "(other models)"}
    assert sum(row["cost_usd"] or 0 for row in usage) == report.totals["cost_usd"]


def test_all_statements_see_the_same_instant(
    admin: Engine, server_url: URL, template: str
) -> None:
    with (
        contextmanager(_database)(admin, server_url, template) as url,
        opened(url) as engine,
    ):
        seed(engine)
        statements: list[str] = []

        @sa.event.listens_for(engine, "after_cursor_execute")
        def another_writes(_: object, __: object, statement: str, *___: object) -> None:
            statements.append(statement)
            if "token_usage_daily" in statement and len(statements) < 4:
                with opened(url) as other, other.begin() as writing:
                    writing.execute(sa.text("DELETE FROM run_history.runs"))

        report = read_report(engine, at=NOW)
        left = _scalar(engine, "SELECT count(*) FROM run_history.runs")

    assert left == 0
    assert report.totals["runs"] == 400
    assert sum(row["runs"] for row in report.answers["threads"].dicts) > 0


def test_a_report_cannot_write(reported: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(
        read_report.__globals__["OTHERS"], "totals", "DELETE FROM run_history.runs"
    )

    with pytest.raises(Exception, match="cannot execute DELETE in a read-only transaction"):
        read_report(reported, at=NOW)


def test_csv_holds_every_decimal_of_every_day(
    reported: Engine, report: Report, tmp_path: Path
) -> None:
    write_report(reported, tmp_path / "r.csv", Format.CSV, at=NOW)
    rows = list(csv.DictReader(io.StringIO((tmp_path / "r.csv").read_text())))

    assert sum(Decimal(row["cost_usd"] or 0) for row in rows) == report.totals["cost_usd"]
    assert [row["day"] for row in rows] == sorted(row["day"] for row in rows)
    assert len(rows) == len(report.answers["usage"].rows)


def test_json_holds_all_answers_with_costs_as_texts(report: Report) -> None:
    told = json.loads(as_json(report))

    assert Decimal(told["totals"]["cost_usd"]) == report.totals["cost_usd"]
    assert told["totals"]["total_tokens"] == report.totals["total_tokens"]
    assert told["period"] == {
        "first_day": "2026-09-20",
        "last_day": "2026-10-19",
        "source": None,
        "grain": "day",
        "has_others": False,
    }
    assert told["answers"].keys() == report.answers.keys()
    assert len(told["answers"]["usage"]["rows"]) == len(report.answers["usage"].rows)


def test_an_empty_database_gives_a_page_and_a_picture_that_say_so(
    shared_engine: Engine, tmp_path: Path
) -> None:
    for form in Format:
        write_report(shared_engine, tmp_path / form.value, form, at=NOW)

    page = (tmp_path / "html").read_text()
    assert "The database is empty: nothing was ever synced." in page
    assert "<script>" not in page
    assert (tmp_path / "png").read_bytes().startswith(b"\x89PNG")
    assert (tmp_path / "csv").read_text().count("\n") == 1
    assert json.loads((tmp_path / "json").read_text())["totals"]["runs"] is None


def test_an_empty_period_gives_a_page_that_says_so(reported: Engine) -> None:
    report = read_report(reported, date(2026, 1, 1), date(2026, 1, 2), at=NOW)

    page = "".join(html(report))
    assert "No run was created in this period. Choose another with --from" in page
    assert "Complete through 2026-10-20 02:00 UTC." in page


def test_a_source_that_nobody_knows_is_a_sentence(reported: Engine) -> None:
    with pytest.raises(ConfigError) as told:
        read_report(reported, source="three", at=NOW)

    assert str(told.value) == (
        f"The database has no source 'three'; it has {HOSTILE_SOURCE}, one."
    )


def test_a_picture_is_made_without_a_browser(reported: Engine, tmp_path: Path) -> None:
    write_report(reported, tmp_path / "r.png", Format.PNG, at=NOW)

    picture = (tmp_path / "r.png").read_bytes()
    assert picture.startswith(b"\x89PNG")
    assert int.from_bytes(picture[16:20]) > 1500


def _scalar(engine: Engine, statement: str) -> object:
    with engine.connect() as connection:
        return connection.scalar(sa.text(statement))
