"""When threads were active, in all the ways in which databases say it."""

from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from etl.domain.activity import as_activity
from etl.domain.discovery import Discovered, Rows
from etl.domain.run import ThreadId
from etl.sync.discovering import discover_by_query
from tests.unit.test_discovering import FakeRegistry

MOMENT = datetime(2026, 11, 20, 9, 30, tzinfo=UTC)
SECONDS = 1_795_167_000


@pytest.mark.parametrize(
    "value",
    [
        MOMENT,
        MOMENT.astimezone(timezone(timedelta(hours=9))),
        MOMENT.replace(tzinfo=None),
        "2026-11-20T09:30:00Z",
        "2026-11-20 09:30:00",
        " 2026-11-20 10:30+01:00 ",
        SECONDS,
        float(SECONDS),
        Decimal(SECONDS),
        SECONDS * 1_000,
        str(SECONDS),
    ],
)
def test_instants_are_known_however_they_are_written(value: Any) -> None:
    assert as_activity(value) == MOMENT


@pytest.mark.parametrize("value", [date(2026, 11, 20), "2026-11-20"])
def test_a_day_is_over_at_its_end(value: Any) -> None:
    assert as_activity(value) == datetime(2026, 11, 21, tzinfo=UTC)


NONSENSE: list[Any] = [
    *(True, None, [], b"2026", "yesterday", "infinity", "0001-01-01"),
    *(0, -5, 10**30, float("nan"), float("inf"), Decimal("NaN")),
    *(date.max, datetime(1, 1, 1, tzinfo=UTC)),
]


@pytest.mark.parametrize("value", NONSENSE)
def test_nonsense_is_no_instant(value: Any) -> None:
    assert as_activity(value) is None


@given(value=st.one_of(st.text(), st.integers(), st.floats(), st.decimals(), st.dates()))
def test_no_value_ends_a_discovery(value: Any) -> None:
    found = as_activity(value)
    assert found is None or found.tzinfo is UTC


def test_a_discovery_keeps_the_latest_instant_and_counts_what_is_none() -> None:
    registry, found = FakeRegistry(), Discovered()
    rows = Rows(
        thread_ids=["a", "b", "a", "c", None, "d"],
        position=None,
        active_at=[SECONDS - 9, None, SECONDS, "soon", SECONDS, "later"],
    )

    list(discover_by_query(lambda _: iter([rows]), registry, found, after=None))

    assert registry.active_at == {ThreadId("a"): MOMENT}
    assert (found.odd_instants, found.odd_instant_example) == (2, "'soon'")
    assert registry.told[-1] == ("hints", True)


def test_an_answer_without_rows_leaves_open_whether_it_has_hints() -> None:
    registry = FakeRegistry()

    list(discover_by_query(lambda _: iter(()), registry, Discovered(), after="4"))

    assert registry.told == [("on", "4")]
