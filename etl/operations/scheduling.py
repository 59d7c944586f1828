"""The scheduler: syncs begin when they are due, and again soon after an outage."""

import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from random import random
from typing import Any

from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.triggers.base import BaseTrigger

from etl.config import ScheduleConfig
from etl.config.sections import span
from etl.domain.errors import DatabaseError, HeldError, SyncError
from etl.domain.outcome import Outcome, SyncReport
from etl.operations.cron import next_due
from etl.operations.incidents import Incidents
from etl.operations.standing import Standing

SECONDS_BETWEEN_LOOKS = 60
RETRIES_AFTER_SECONDS = (60, 120, 300, 600, 1_800, 3_600)
"""After an outage a sync is tried again so soon; the last figure stays."""

LATEST_LOOK = timedelta(minutes=5)
"""A scheduler that has not looked around for so long is not healthy."""

LONGEST_END_SECONDS = 45.0
"""How long the end waits for a sync; systemd waits for a minute (scripts/systemd)."""

log = logging.getLogger(__name__)


class CronTrigger(BaseTrigger):  # type: ignore[misc]  # APScheduler has no types
    """An entry of the schedule as APScheduler asks for it, with its jitter."""

    def __init__(self, entry: ScheduleConfig) -> None:
        self._entry = entry
        self._jitter = span(entry.jitter) if entry.jitter else timedelta()

    def __str__(self) -> str:
        return f"cron {self._entry.cron}, {self._entry.timezone}"

    def get_next_fire_time(self, previous: datetime | None, now: datetime) -> datetime:
        """The next instant; one that was missed stays due, however long ago it was."""
        due = next_due(self._entry, previous or now)
        return due + self._jitter * random()  # noqa: S311  # spreads load, hides nothing


@dataclass(frozen=True, slots=True, kw_only=True)
class Tasks:
    """What a scheduler does; `sync` may raise SyncError, `look` DatabaseError."""

    sync: Callable[[str | None], SyncReport]
    look: Callable[[], Standing]
    incidents: Incidents
    now: Callable[[], datetime]


@dataclass(slots=True)
class _Seen:
    """What the last look has shown; `lost` is why there was nothing to see."""

    at: datetime
    standing: Standing | None = None
    lost: str | None = None
    lost_at: datetime | None = None


@dataclass
class Scheduler:
    """Runs one sync at a time, when entries of the schedule are due.

    Times that were missed, while a sync was at work or the machine slept, are made up
    for by one sync: it waits for its turn, and those after it are dropped.
    """

    entries: Sequence[ScheduleConfig]
    tasks: Tasks
    retries: Sequence[float] = RETRIES_AFTER_SECONDS
    _tries: dict[int, int] = field(default_factory=dict)
    _turn: threading.Lock = field(default_factory=threading.Lock)
    _looking: threading.Lock = field(default_factory=threading.Lock)
    _stopping: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self._seen = _Seen(self.tasks.now())
        self._jobs = BackgroundScheduler(
            executors={"default": ThreadPoolExecutor(1), "looks": ThreadPoolExecutor(1)},
            job_defaults={"coalesce": True, "misfire_grace_time": None, "max_instances": 2},
            timezone=UTC,
        )

    def run(self, stop: threading.Event) -> bool:
        """Work until `stop` is set; a sync at work then ends with its batch.

        Answers whether it did; one that waits for an answer that never comes does not.
        """
        self.start()
        stop.wait()
        log.info("scheduler stops")
        return self.stop()

    def start(self) -> None:
        """Begin to wait for what is due."""
        now = self.tasks.now()
        for number, entry in enumerate(self.entries):
            told: dict[str, Any] = {"next_run_time": now} if entry.on_start else {}
            self._jobs.add_job(
                self._sync,
                CronTrigger(entry),
                [number],
                id=f"sync-{number}",
                name=f"sync of {entry.source or 'all sources'}",
                **told,
            )
        self._jobs.add_job(
            self.look,
            "interval",
            seconds=SECONDS_BETWEEN_LOOKS,
            id="look",
            executor="looks",
            next_run_time=now,
        )
        self._jobs.start()
        for entry, due in zip(self.entries, self.due(), strict=True):
            facts = {"source": entry.source or "all", "cron": entry.cron}
            facts |= {"timezone": entry.timezone, "next": due.isoformat()}
            log.info("sync scheduled", extra=facts)

    def stop(self) -> bool:
        """Begin nothing more, and wait for the sync at work, but not for ever.

        APScheduler's own way of waiting would wait for ever for a sync that fails
        meanwhile, and wants to be tried again.
        """
        self._stopping.set()
        self._jobs.shutdown(wait=False)
        until = time.monotonic() + LONGEST_END_SECONDS
        locks = (self._turn, self._looking)
        if all(lock.acquire(timeout=max(0, until - time.monotonic())) for lock in locks):
            return True
        log.error("sync at work does not end", extra={"seconds": LONGEST_END_SECONDS})
        return False

    def due(self) -> list[datetime]:
        """When each entry is due next, jitter included."""
        numbers = range(len(self.entries))
        return [self._jobs.get_job(f"sync-{each}").next_run_time for each in numbers]

    def wake(self) -> None:
        """Look at the clock again, because it was moved."""
        self._jobs.wakeup()

    @property
    def standing(self) -> Standing | None:
        """What the last look has shown; None while the database is away."""
        return self._seen.standing

    def unhealthy(self) -> list[str]:
        """Why the scheduler itself does not work, if so."""
        silent = self.tasks.now() - self._seen.at
        if not self._jobs.running:
            return ["The scheduler does not run."]
        if silent > LATEST_LOOK:
            return [f"The scheduler has not looked around since {self._seen.at:%H:%M} UTC."]
        return []

    def unready(self) -> list[str]:
        """Why its work is not done, if so: syncs are overdue, or the database is away."""
        lost = [self._seen.lost] if self._seen.lost else []
        overdue = self._seen.standing.overdue if self._seen.standing else []
        return [*self.unhealthy(), *lost, *overdue]

    def look(self) -> None:
        """See how things stand; note what is overdue, and a database that is away."""
        with self._looking:
            now = self.tasks.now()
            try:
                standing = self.tasks.look()
            except DatabaseError as error:
                self._miss(now, str(error))
                return
            was = self._seen
            self._seen = _Seen(now, standing)
            if was.lost_at is not None:
                away = round((now - was.lost_at).total_seconds())
                log.info("database is back", extra={"away_seconds": away})
                self._hurry()
        self._tell_overdue(standing)

    def _miss(self, now: datetime, error: str) -> None:
        """Note that the database is away, and say so once."""
        since = self._seen.lost_at or now
        if self._seen.lost_at is None:
            log.error("database is away", extra={"error": error})
        self._seen = _Seen(now, None, error, since)

    def _tell_overdue(self, standing: Standing) -> None:
        if standing.overdue:
            self.tasks.incidents.begin("overdue", "overdue", " ".join(standing.overdue))
        else:
            self.tasks.incidents.end("overdue", "No sync is overdue any more,")

    def _sync(self, number: int) -> None:
        """One scheduled sync, when it is its turn, and a look at what it left."""
        with self._turn:
            if not self._stopping.is_set():
                self._try(number)
                self.look()

    def _try(self, number: int) -> None:
        """One sync, whatever becomes of it: nothing may end the scheduler."""
        entry = self.entries[number]
        facts = {"source": entry.source or "all"}
        try:
            report = self.tasks.sync(entry.source)
        except HeldError as error:
            log.info("sync left to another", extra=facts | {"reason": str(error)})
        except SyncError as error:
            log.error("sync did not begin", extra=facts | {"error": str(error)})  # noqa: TRY400
            self._fail(number, str(error))
        except Exception as error:  # a defect of ours must not end the nights to come
            log.exception("sync broke", extra=facts)
            self._fail(number, f"This is a defect in runtide, {type(error).__name__}.")
        else:
            self._judge(number, report)

    def _judge(self, number: int, report: SyncReport) -> None:
        if report.outcome is Outcome.INTERRUPTED:
            return
        for held in report.held:
            facts = {"source": held.source, "reason": held.message}
            log.info("sync left to another", extra=facts)
        if report.outage is not None:
            self._fail(number, f"Sync {report.sync_id} failed: {report.outage.sentence}")
            return
        self._tries.pop(number, None)
        what = f"Syncs of {self.entries[number].source or 'all sources'} go well again,"
        lasted = self.tasks.incidents.end(f"sync-{number}", what)
        if lasted is not None:
            seconds = round(lasted.total_seconds())
            log.info("syncs go well again", extra={"after_seconds": seconds})

    def _fail(self, number: int, sentence: str) -> None:
        """Tell of a failed sync, and try it again soon."""
        tries = self._tries.get(number, 0)
        self._tries[number] = tries + 1
        wait = self.retries[min(tries, len(self.retries) - 1)]
        self._again(number, timedelta(seconds=wait))
        log.warning("sync is tried again", extra={"in_seconds": wait})
        self.tasks.incidents.begin(f"sync-{number}", "failed", sentence)

    def _hurry(self) -> None:
        """The database is back: what failed is tried at once."""
        for number in list(self._tries):
            self._again(number, timedelta())

    def _again(self, number: int, wait: timedelta) -> None:
        self._jobs.add_job(
            self._sync,
            "date",
            args=[number],
            run_date=self.tasks.now() + wait,
            id=f"retry-{number}",
            replace_existing=True,
        )
