"""Instants as the driver's datetimes, and back, exactly."""

from datetime import UTC, datetime, timedelta

from etl.domain.run import SECOND, Instant

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def moment(instant: Instant) -> datetime:
    """Microseconds since 1970 as a datetime."""
    return EPOCH + timedelta(microseconds=instant)


def instant_of(moment: datetime) -> Instant:
    """A datetime as microseconds since 1970."""
    elapsed = moment - EPOCH
    seconds = elapsed.days * 86_400 + elapsed.seconds
    return Instant(seconds * SECOND + elapsed.microseconds)
