"""How often a source is synced, as its schedule tells."""

from datetime import timedelta
from pathlib import Path

import pytest

from etl.config import Config, ScheduleConfig, Settings, SourceConfig
from etl.wiring.rhythm import rhythm

SOURCE = SourceConfig(name="demo", base_url="http://localhost/v1")


@pytest.mark.parametrize(
    ("cron", "mean", "longest"),
    [
        ("0 2 * * *", timedelta(days=1), timedelta(days=1)),
        ("0 2 * * 1-5", timedelta(days=1.4), timedelta(days=3)),
        ("*/5 9-17 * * 1-5", timedelta(minutes=19), timedelta(days=2, hours=15, minutes=5)),
    ],
)
def test_nights_and_weekends_without_a_sync_count(
    cron: str, mean: timedelta, longest: timedelta
) -> None:
    settings = Settings(
        path=Path("config.toml"),
        config=Config(sources=(SOURCE,), schedule=(ScheduleConfig(cron=cron),)),
        environment={},
    )
    found = rhythm(settings, SOURCE)

    assert found.longest == longest
    assert found.mean == pytest.approx(mean, rel=0.1)
