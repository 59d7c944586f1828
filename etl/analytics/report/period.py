"""Which days a report is about, and how finely it tells them apart."""

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from enum import StrEnum

from etl.domain.errors import ConfigError

USUAL_DAYS = 30
DAYS_OF_A_YEAR = 365


class Grain(StrEnum):
    """The stretch of days whose figures are added up before they are told."""

    DAY = "day"
    WEEK = "week"
    MONTH = "month"

    def start(self, day: date) -> date:
        """The first day of the stretch that a day belongs to; weeks begin on Monday."""
        match self:
            case Grain.DAY:
                return day
            case Grain.WEEK:
                return day - timedelta(days=day.weekday())
            case Grain.MONTH:
                return day.replace(day=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Period:
    """Days in UTC, both ends included, and the one source it is about, or None for all."""

    first_day: date
    last_day: date
    source: str | None = None

    @property
    def begins_at(self) -> datetime:
        """The first instant of it."""
        return datetime.combine(self.first_day, time(), UTC)

    @property
    def ends_at(self) -> datetime:
        """The first instant after it."""
        return datetime.combine(self.last_day, time(), UTC) + timedelta(days=1)

    @property
    def days(self) -> int:
        """How many days it has."""
        return (self.last_day - self.first_day).days + 1

    def starts(self, grain: Grain) -> list[date]:
        """The first days of its stretches, also of those without a run."""
        days = (self.first_day + timedelta(days=n) for n in range(self.days))
        return list(dict.fromkeys(grain.start(day) for day in days))


def label(day: date, grain: Grain, period: Period) -> str:
    """A stretch's first day as charts write it: without the year where one is enough."""
    if grain is Grain.MONTH:
        return f"{day:%Y-%m}"
    return f"{day:%m-%d}" if period.days < DAYS_OF_A_YEAR else day.isoformat()


def asked_period(
    first_day: date | None,
    last_day: date | None,
    *,
    newest_day: date | None,
    today: date,
    source: str | None = None,
) -> Period:
    """The period a user means; where nothing is said, the last 30 days that have data.

    `newest_day` is the last day up to today with a run. Raises ConfigError where the
    period would end before it begins.
    """
    last = last_day or (today if first_day else newest_day or today)
    first = first_day or _days_before(last, USUAL_DAYS - 1)
    if first > last:
        raise ConfigError(
            f"The period would end on {last} before it begins on {first}; choose --from"
            " and --to the other way round."
        )
    return Period(first_day=first, last_day=last, source=source)


def _days_before(day: date, days: int) -> date:
    return date.fromordinal(max(day.toordinal() - days, 1))
