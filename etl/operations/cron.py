"""When a scheduled sync is due, as cron has it, daylight-saving changes included."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from cronsim import CronSim

from etl.config import ScheduleConfig


def next_due(entry: ScheduleConfig, after: datetime) -> datetime:
    """The first instant after `after` at which an entry is due, without its jitter.

    What falls into an hour that a clock skips is due when the clock has skipped it;
    what falls into an hour that comes twice is due once (Debian's cron does the same).
    """
    local = after.astimezone(ZoneInfo(entry.timezone))
    return next(CronSim(entry.cron, local)).astimezone(UTC)


def last_due(entry: ScheduleConfig, before: datetime) -> datetime:
    """The last instant before `before` at which an entry was due."""
    local = before.astimezone(ZoneInfo(entry.timezone))
    return next(CronSim(entry.cron, local, reverse=True)).astimezone(UTC)
