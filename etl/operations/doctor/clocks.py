"""Clocks: this machine's and the database's, beside the server's."""

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from etl.operations.doctor.contact import Contact
from etl.operations.doctor.finding import Finding, Place

MOST_SECONDS = 60
MINUTE, HOUR, DAY = 60, 3_600, 86_400


def check_clock(
    place: Place, made: Contact, *, seconds_ahead: float | None, whose: str
) -> Finding:
    """Compare a clock that is so much ahead of this machine's with the server's."""
    check = f"clock of {whose}"
    told = _told(made)
    if told is None:
        return place.left_out(check, "the server's answer says nothing of the time")
    if seconds_ahead is None:
        return place.left_out(check, "needs the database")
    ahead = made.asked_at + seconds_ahead - told
    if abs(ahead) <= MOST_SECONDS:
        return place.ok(check, "agrees with the server's to the minute")
    side = "ahead of" if ahead > 0 else "behind"
    return place.warning(
        check,
        f"{in_words(abs(ahead))} {side} the server's",
        "set the clock that is wrong; runtide goes by the database's",
    )


def _told(made: Contact) -> float | None:
    """The server's clock, in seconds since 1970."""
    try:
        moment = parsedate_to_datetime(made.headers["date"])
    except (KeyError, ValueError, OverflowError):
        return None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def in_words(seconds: float) -> str:
    """A length of time in its largest unit, of which there are two at least."""
    for unit, name in ((DAY, "days"), (HOUR, "hours"), (MINUTE, "minutes")):
        if seconds >= 2 * unit - 1:
            return f"{round(seconds / unit):,} {name}"
    return f"{round(seconds):,} seconds"


def days_until(moment: float) -> int:
    """Whole days from now on."""
    return int((moment - datetime.now(UTC).timestamp()) // DAY)
