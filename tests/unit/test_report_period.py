"""Which days a report is about, and how its figures stand in the page."""

from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest

from etl.analytics.report.figures import embedded
from etl.analytics.report.page import head, own_script, runnable
from etl.analytics.report.period import Grain, Period, asked_period, label
from etl.analytics.report.reading import Answer, Report

TODAY = date(2026, 11, 23)
OLDER = datetime(2026, 11, 20, 8, tzinfo=UTC)
NEWER = datetime(2026, 11, 22, 8, tzinfo=UTC)


def day(text: str | None) -> date | None:
    return None if text is None else date.fromisoformat(text)


@pytest.mark.parametrize(
    ("asked", "newest", "days"),
    [
        ((None, None), "2026-11-20", ("2026-10-22", "2026-11-20")),
        ((None, None), None, ("2026-10-25", "2026-11-23")),
        (("2026-11-01", None), "2026-11-20", ("2026-11-01", "2026-11-23")),
        ((None, "2026-03-01"), "2026-11-20", ("2026-01-31", "2026-03-01")),
        (("2026-01-01", "2026-01-01"), None, ("2026-01-01", "2026-01-01")),
    ],
)
def test_what_is_not_said_is_the_last_thirty_days_with_data(
    asked: tuple[str | None, str | None], newest: str | None, days: tuple[str, str]
) -> None:
    first, last = map(day, asked)
    period = asked_period(first, last, newest_day=day(newest), today=TODAY)

    assert (str(period.first_day), str(period.last_day)) == days


def test_stretches_without_a_run_are_among_the_starts() -> None:
    period = Period(first_day=date(2026, 10, 30), last_day=date(2026, 11, 9))

    assert len(period.starts(Grain.DAY)) == period.days == 11
    weeks = [start.isoformat() for start in period.starts(Grain.WEEK)]
    assert weeks == ["2026-10-26", "2026-11-02", "2026-11-09"]
    assert period.starts(Grain.MONTH) == [date(2026, 10, 1), date(2026, 11, 1)]


def test_days_of_more_than_a_year_are_told_apart() -> None:
    years = Period(first_day=date(2024, 11, 1), last_day=date(2026, 11, 1))
    labels = {label(start, Grain.DAY, years) for start in years.starts(Grain.DAY)}

    assert len(labels) == years.days


def a_report(*, cost: str, text: str) -> Report:
    columns = ("day", "model", "total_tokens", "cost_usd", "error_message")
    row: tuple[Any, ...] = (TODAY, text, Decimal(2**60), Decimal(cost), text)
    answer = Answer("SELECT", {}, columns, [row])
    names = ("usage", "waste", "failures", "messages", "latency", "threads", "growth")
    return Report(
        period=Period(first_day=TODAY, last_day=TODAY),
        grain=Grain.DAY,
        is_folded=False,
        generated_at=datetime(2026, 11, 23, tzinfo=UTC),
        answers=dict.fromkeys((*names, "tools"), answer),
    )


def test_money_of_any_length_is_whole_units_in_the_page() -> None:
    text = embedded(a_report(cost="12345678901234567890.000000000000000000000001", text=""))

    assert '"decimals":24,' in text
    assert '"12345678901234567890000000000000000000000001"' in text
    assert f'"{2**60}"' in text


def test_no_text_can_end_the_script_it_stands_in() -> None:
    text = embedded(a_report(cost="1", text="</script><!-- & \u2028"))

    assert not set("<>&\u2028") & set(text)
    assert "\\u003c/script\\u003e\\u003c!-- \\u0026 \\u2028" in text


def test_the_page_builds_nothing_from_html() -> None:
    script = own_script()

    for way in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval("):
        assert way not in script


@pytest.mark.parametrize(
    ("sources", "sentence"),
    [
        ([(0, NEWER), (0, OLDER)], "Complete through 2026-11-20 08:00 UTC."),
        (
            [(0, NEWER), (2, None)],
            "Not complete: a source has threads that were never read.",
        ),
        ([(0, NEWER), (0, None)], "Complete through 2026-11-22 08:00 UTC."),
        ([(0, None)], ""),
        ([], ""),
    ],
)
def test_only_threads_that_were_never_read_make_it_incomplete(
    sources: list[tuple[int, datetime | None]], sentence: str
) -> None:
    answer = Answer(
        "",
        {},
        ["threads_never_read", "complete_through", "source"],
        [(*each, "a") for each in sources],
    )
    report = replace(a_report(cost="1", text=""), answers={"freshness": answer})

    assert head(report)["complete"] == sentence


def test_a_statement_is_shown_ready_to_run() -> None:
    answer = Answer(
        "SELECT x::date WHERE d > :first_day AND s = :source AND m = ANY(:kept) -- a:b",
        {"first_day": TODAY, "source": "it's", "kept": ["a", None]},
        (),
        [],
    )

    assert runnable(answer) == (
        "SELECT x::date WHERE d > '2026-11-23' AND s = 'it''s'"
        " AND m = ANY(ARRAY['a', NULL]::text[]) -- a:b"
    )
