"""When an entry is due, and when it was, in time zones whose clocks change."""

from datetime import UTC, datetime, timedelta

import pytest

from etl.config import ScheduleConfig
from etl.operations.cron import last_due, next_due

SECOND = timedelta(seconds=1)


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("zone", "cron", "before", "due"),
    [
        ("UTC", "0 2 * * *", "2026-11-22 01:59", "2026-11-22 02:00"),
        ("Europe/Berlin", "0 2 * * *", "2026-11-22 00:59", "2026-11-22 01:00"),
        # 02:30 is skipped on 2026-03-29: due when the clock shows 03:00
        ("Europe/Berlin", "30 2 * * *", "2026-03-28 12:00", "2026-03-29 01:00"),
        # 02:30 comes twice on 2026-10-25: due the first time only
        ("Europe/Berlin", "30 2 * * *", "2026-10-24 12:00", "2026-10-25 00:30"),
        ("Europe/Berlin", "30 2 * * *", "2026-10-25 00:30", "2026-10-26 01:30"),
        # every quarter of an hour is every quarter of an hour, clocks or no clocks
        ("Europe/Berlin", "*/15 * * * *", "2026-10-25 00:45", "2026-10-25 01:00"),
        # Sunday is 0, and 7 too
        ("UTC", "0 2 * * 0", "2026-11-20 12:00", "2026-11-22 02:00"),
        ("UTC", "0 2 * * 7", "2026-11-20 12:00", "2026-11-22 02:00"),
        # a day of the month or of the week, where both are told
        ("UTC", "0 2 1 * mon", "2026-11-20 12:00", "2026-11-23 02:00"),
    ],
)
def test_an_entry_is_due_as_cron_has_it(
    zone: str, cron: str, before: str, due: str
) -> None:
    entry = ScheduleConfig(cron=cron, timezone=zone)

    assert next_due(entry, utc(before)) == utc(due)
    assert last_due(entry, utc(due) + SECOND) == utc(due)
