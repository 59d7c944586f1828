"""The budget of requests: what the server allows, and how long a sync will take."""

import httpx

from etl.config import SourceConfig
from etl.load.inspection import Tracked
from etl.load.trust import is_here
from etl.operations.doctor.clocks import in_words
from etl.operations.doctor.contact import Contact
from etl.operations.doctor.finding import Finding, Place

DOCUMENTED = 1_000
"""GET requests a minute of a whole organisation (docs/wire.md)."""

LIMIT = "x-ratelimit-limit-requests"
CHECK = "budget"


def check_budget(
    place: Place, source: SourceConfig, made: Contact | None, tracked: Tracked | None
) -> Finding:
    """Compare requests_per_minute with what is allowed; tell how long a sync takes."""
    budget = source.requests_per_minute
    allowed = _limit(made)
    if allowed is not None and budget > allowed:
        return place.warning(
            CHECK,
            f"{budget:,} requests a minute, and the server allows {allowed:,}",
            f"set requests_per_minute to {allowed} or less",
        )
    if (
        allowed is None
        and budget > DOCUMENTED
        and not is_here(httpx.URL(source.address).host)
    ):
        return place.warning(
            CHECK,
            f"{budget:,} requests a minute, where {DOCUMENTED:,} are documented for a"
            " whole organisation",
            "set requests_per_minute lower, unless the server is your own",
        )
    return place.ok(CHECK, f"{budget:,} requests a minute{_duration(budget, tracked)}")


def _limit(made: Contact | None) -> int | None:
    told = made.headers.get(LIMIT, "") if made else ""
    return int(told) if told.isdecimal() and int(told) else None


def _duration(budget: int, tracked: Tracked | None) -> str:
    if tracked is None or not tracked.threads:
        return ""
    seconds = max(1.0, tracked.threads * 60 / budget)
    return (
        f"; one for each of {tracked.threads:,} tracked threads takes"
        f" {'a second' if seconds == 1 else in_words(seconds)}"
    )
