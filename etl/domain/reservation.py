"""What a process may send of a budget that it shares, and when."""

from dataclasses import dataclass

MINUTE_SECONDS = 60.0

USABLE_SECONDS = 0.75
"""How late a reserved request may be sent; one that is older is not sent any more."""

UNDERWAY_SECONDS = 0.25
"""How much later than it was sent a request may reach the server."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reservation:
    """So many requests: the first in so many seconds, the others evenly behind it.

    Seconds count from the moment the reservation was made, whatever a clock says.
    """

    count: int
    first_in_seconds: float
    spacing_seconds: float


def spacing_seconds(requests_per_minute: int) -> float:
    """How far apart requests are reserved, so that no minute sees more than agreed.

    What reaches the server in a minute was reserved in that minute, or before it by no
    more than a request may be late. So it was reserved in a stretch of that length, and
    a stretch holds no more instants of a spacing than the spacing, rounded up, goes into
    it: here exactly `requests_per_minute`.
    """
    return (MINUTE_SECONDS + USABLE_SECONDS + UNDERWAY_SECONDS) / requests_per_minute
