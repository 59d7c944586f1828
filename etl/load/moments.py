"""Instants as the driver's datetimes, exactly."""

from datetime import UTC, datetime, timedelta

from etl.domain.run import Instant

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def moment(instant: Instant) -> datetime:
    """Microseconds since 1970 as a datetime."""
    return EPOCH + timedelta(microseconds=instant)
