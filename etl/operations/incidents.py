"""What is wrong at the moment, since when, and whom to tell how often."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from etl.config import Event

REMINDED_EVERY = timedelta(days=1)
"""While an incident lasts, it is told again so often."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """What somebody is told: an event, a sentence, and since when it is so."""

    event: Event
    sentence: str
    at: datetime
    since: datetime


@dataclass(slots=True)
class _Incident:
    since: datetime
    told_at: datetime


class Incidents:
    """Tells of an incident when it begins, once a day while it lasts, and of its end."""

    def __init__(
        self, tell: Callable[[Notice], None], *, now: Callable[[], datetime]
    ) -> None:
        self._tell = tell
        self._now = now
        self._open: dict[str, _Incident] = {}

    def begin(self, name: str, event: Event, sentence: str) -> None:
        """Note that something is wrong, or still is."""
        now = self._now()
        incident = self._open.get(name)
        if incident is not None and now - incident.told_at < REMINDED_EVERY:
            return
        if incident is None:
            incident = self._open[name] = _Incident(now, now)
        incident.told_at = now
        self._tell(Notice(event=event, sentence=sentence, at=now, since=incident.since))

    def end(self, name: str, what: str) -> timedelta | None:
        """Note that something is well; answer for how long it was not, if it was not."""
        incident = self._open.pop(name, None)
        if incident is None:
            return None
        now = self._now()
        lasted = now - incident.since
        minutes = int(lasted.total_seconds()) // 60
        told = f"{minutes // 60} h {minutes % 60} min"
        self._tell(
            Notice(
                event="recovered",
                sentence=f"{what} after {told}.",
                at=now,
                since=incident.since,
            )
        )
        return lasted
