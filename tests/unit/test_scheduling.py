"""The scheduler by a clock that tests move: no night is skipped, none comes twice."""

import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
import time_machine

from etl.config import ScheduleConfig
from etl.domain.errors import DatabaseError, HeldError
from etl.domain.outcome import Failure, Outcome, SyncReport
from etl.load.overview import DatabaseOverview
from etl.operations.incidents import Incidents, Notice
from etl.operations.scheduling import CronTrigger, Scheduler, Tasks
from etl.operations.standing import Standing

NEW_YEAR = datetime(2026, 1, 1, 12, tzinfo=UTC)
PATIENCE = 30.0
FINE = SyncReport(sync_id=1, outcome=Outcome.SUCCEEDED)
DOWN = SyncReport(
    sync_id=2,
    outcome=Outcome.FAILED,
    errors=[Failure(source="openai", thread=None, message="it is down")],
)

Sync = Callable[[str | None], SyncReport]
Look = Callable[[], Standing]


def now() -> datetime:
    return datetime.now(UTC)


def a_standing(*overdue: str) -> Standing:
    return Standing(
        sources=[],
        failing=[],
        syncs=[],
        rejects=[],
        drift=[],
        database=DatabaseOverview(1, None),
        next=[],
        overdue=list(overdue),
        needs=[],
    )


class Nights:
    """A scheduler whose clock stands still until it is moved; notes what it did."""

    def __init__(
        self,
        traveller: time_machine.Traveller,
        *entries: ScheduleConfig,
        sync: Sync,
        look: Look,
    ) -> None:
        self.began: list[tuple[datetime, str | None]] = []
        self.told: list[Notice] = []
        self.look = look
        self.sync = sync
        self._traveller = traveller
        self._ended = threading.Condition()
        self.scheduler = Scheduler(
            entries,
            Tasks(
                sync=self._sync,
                look=self._look,
                incidents=Incidents(self.told.append, now=now),
                now=now,
            ),
        )

    def _look(self) -> Standing:
        return self.look()

    def _sync(self, source: str | None) -> SyncReport:
        try:
            return self.sync(source)
        finally:
            with self._ended:
                self.began.append((now(), source))
                self._ended.notify_all()

    def move_to(self, moment: datetime) -> None:
        self._traveller.move_to(moment)
        self.scheduler.wake()

    def wait_for(self, syncs: int) -> None:
        with self._ended:
            assert self._ended.wait_for(lambda: len(self.began) >= syncs, PATIENCE)
        with self.scheduler._turn:  # until it has been judged, too
            pass

    def night(self) -> None:
        """Move to when the next sync is due, and wait until it has been made."""
        made = len(self.began)
        self.move_to(min(self.scheduler.due()) + timedelta(seconds=1))
        self.wait_for(made + 1)

    @property
    def sentences(self) -> list[tuple[str, str]]:
        return [(notice.event, notice.sentence) for notice in self.told]


Begin = Callable[..., Nights]


@pytest.fixture
def begin() -> Iterator[Begin]:
    """Start schedulers at the new year; stop them in the end."""
    running: list[Nights] = []
    with time_machine.travel(NEW_YEAR, tick=False) as traveller:

        def start(
            *entries: ScheduleConfig,
            sync: Sync = lambda _: FINE,
            look: Look = a_standing,
        ) -> Nights:
            nights = Nights(traveller, *entries, sync=sync, look=look)
            nights.scheduler.start()
            running.append(nights)
            return nights

        yield start
        for nights in running:
            if not nights.scheduler._stopping.is_set():
                nights.scheduler.stop()


def settle(condition: Callable[[], bool]) -> None:
    """Wait until something is so that another worker brings about."""
    until = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.005)


# The clock ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("zone", "cron"),
    [
        ("Europe/Berlin", "30 2 * * *"),  # does not exist one night, and exists twice
        ("America/New_York", "30 1 * * *"),  # exists twice one night
        ("America/New_York", "0 2 * * *"),
        ("Australia/Lord_Howe", "15 2 * * *"),  # its clock moves by half an hour
    ],
)
def test_a_year_of_nights_is_365_syncs(begin: Begin, zone: str, cron: str) -> None:
    nights = begin(ScheduleConfig(cron=cron, timezone=zone))

    while min(nights.scheduler.due()) < NEW_YEAR.replace(year=2027):
        nights.night()

    local = [moment.astimezone(ZoneInfo(zone)) for moment, _ in nights.began]
    days = [moment.date() for moment in local]
    minute, hour = map(int, cron.split()[:2])
    in_time = [moment for moment in local if (moment.hour, moment.minute) == (hour, minute)]
    assert len(days) == 365
    assert len(in_time) >= 364  # but for the night in which that time does not exist
    assert all(later - day == timedelta(days=1) for day, later in pairwise(days))


def test_days_of_the_week_count_as_in_cron(begin: Begin) -> None:
    nights = begin(ScheduleConfig(cron="0 3 * * 0"))

    nights.night()

    [(moment, _)] = nights.began
    assert moment.strftime("%A") == "Sunday"


def test_nights_that_were_missed_are_made_up_for_by_one_sync(begin: Begin) -> None:
    nights = begin(ScheduleConfig())

    nights.move_to(NEW_YEAR + timedelta(days=9))
    nights.wait_for(1)
    nights.night()

    assert [moment.day for moment, _ in nights.began] == [10, 11]


def test_each_entry_has_its_own_time_and_source(begin: Begin) -> None:
    nights = begin(
        ScheduleConfig(cron="0 2 * * *"), ScheduleConfig(cron="0 4 * * *", source="b")
    )

    for _ in range(4):
        nights.night()

    assert [source for _, source in nights.began] == [None, "b", None, "b"]


def test_a_first_sync_may_be_asked_for(begin: Begin) -> None:
    nights = begin(ScheduleConfig(on_start=True))

    nights.wait_for(1)
    assert nights.began == [(NEW_YEAR, None)]
    nights.night()
    assert len(nights.began) == 2


def test_jitter_comes_after_the_time_and_never_twice() -> None:
    trigger = CronTrigger(ScheduleConfig(cron="0 * * * *", jitter="30m"))
    moment, seen = NEW_YEAR, []
    for _ in range(200):
        moment = trigger.get_next_fire_time(moment, NEW_YEAR)
        seen.append(moment)

    hours = [each.replace(minute=0, second=0, microsecond=0) for each in seen]
    assert hours == [NEW_YEAR + timedelta(hours=each + 1) for each in range(200)]
    assert max(each.minute for each in seen) < 30
    assert len({each.minute for each in seen}) > 10


def test_never_two_at_once_whatever_is_due(begin: Begin) -> None:
    at_work, most, lock = 0, 0, threading.Lock()
    release = threading.Event()

    def slow(_: str | None) -> SyncReport:
        nonlocal at_work, most
        with lock:
            at_work += 1
            most = max(most, at_work)
        release.wait(PATIENCE)
        with lock:
            at_work -= 1
        return FINE

    nights = begin(ScheduleConfig(), sync=slow)
    for day in range(1, 4):
        nights.move_to(NEW_YEAR + timedelta(days=day))
        settle(lambda day=day: nights.scheduler.due()[0].day == day + 2)  # type: ignore[misc]
    settle(lambda: at_work == 1)
    release.set()
    nights.wait_for(2)
    nights.night()

    assert most == 1
    assert len(nights.began) == 3  # the first, one for those that were missed, the next


# What goes wrong --------------------------------------------------------------------


def test_after_an_outage_a_sync_is_tried_again_less_and_less_often(begin: Begin) -> None:
    answers: list[SyncReport | Exception] = [DOWN, DatabaseError("Away."), DOWN, FINE]
    nights = begin(ScheduleConfig(), sync=lambda _: answer(answers.pop(0)))
    nights.night()
    for seconds in (60, 120, 300):
        retry = nights.scheduler._jobs.get_job("retry-0")
        assert retry.next_run_time == now() + timedelta(seconds=seconds)
        made = len(nights.began)
        nights.move_to(retry.next_run_time)
        nights.wait_for(made + 1)

    settle(lambda: len(nights.told) == 2)
    assert nights.sentences == [
        ("failed", "Sync 2 failed: openai: it is down"),
        ("recovered", "Syncs of all sources go well again, after 0 h 8 min."),
    ]
    nights.night()
    assert len(nights.began) == 5


def answer(given: SyncReport | Exception) -> SyncReport:
    if isinstance(given, Exception):
        raise given
    return given


def test_a_defect_of_ours_does_not_end_the_nights_to_come(begin: Begin) -> None:
    nights = begin(ScheduleConfig(), sync=lambda _: answer(ZeroDivisionError()))

    nights.night()
    settle(lambda: bool(nights.told))
    nights.sync = lambda _: FINE
    nights.night()

    assert nights.sentences[0] == (
        "failed",
        "This is a defect in runtide, ZeroDivisionError.",
    )


def test_a_sync_that_another_makes_is_no_failure(begin: Begin) -> None:
    nights = begin(ScheduleConfig(), sync=lambda _: answer(HeldError("held")))

    nights.night()
    nights.night()

    assert nights.told == []
    assert nights.scheduler._jobs.get_job("retry-0") is None


def test_a_lasting_outage_is_told_once_a_day(begin: Begin) -> None:
    nights = begin(ScheduleConfig(cron="0 * * * *"), sync=lambda _: DOWN)

    while now() < NEW_YEAR + timedelta(days=3):
        nights.night()

    assert [notice.at.day for notice in nights.told] == [1, 2, 3]
    assert {notice.since for notice in nights.told} == {nights.told[0].at}


def test_a_database_that_comes_back_is_told_and_made_use_of(
    begin: Begin, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", logger="etl")

    def away(*_: object) -> Standing:
        raise DatabaseError("The database is away.")

    nights = begin(ScheduleConfig(), sync=away, look=away)
    nights.night()
    for _ in range(2):
        made = len(nights.began)
        nights.move_to(nights.scheduler._jobs.get_job("retry-0").next_run_time)
        nights.wait_for(made + 1)
    assert nights.scheduler.standing is None
    assert nights.scheduler.unready() == ["The database is away."]
    assert nights.scheduler.unhealthy() == []
    nights.look, nights.sync = a_standing, lambda _: FINE
    nights.move_to(now() + timedelta(seconds=61))  # and no 300 seconds
    nights.wait_for(4)

    settle(lambda: nights.scheduler.unready() == [])
    messages = [record.message for record in caplog.records]
    assert messages.count("database is away") == messages.count("database is back") == 1


def test_what_is_overdue_is_told_and_makes_unready(begin: Begin) -> None:
    late = "No sync of openai has begun."
    nights = begin(ScheduleConfig(), look=lambda: a_standing(late))

    settle(lambda: bool(nights.told))
    assert nights.scheduler.unready() == [late]
    nights.look = a_standing
    nights.night()
    settle(lambda: len(nights.told) == 2)

    assert nights.scheduler.unready() == []
    assert nights.sentences == [
        ("overdue", late),
        ("recovered", "No sync is overdue any more, after 14 h 0 min."),
    ]


def test_a_scheduler_that_does_not_look_around_is_not_healthy(begin: Begin) -> None:
    hangs = threading.Event()

    def hang() -> Standing:
        hangs.wait(PATIENCE)
        return a_standing()

    nights = begin(ScheduleConfig(), look=hang)
    nights.move_to(NEW_YEAR + timedelta(minutes=6))
    silent = nights.scheduler.unhealthy()
    hangs.set()

    assert silent == ["The scheduler has not looked around since 12:00 UTC."]


def test_it_stops_although_a_sync_fails_meanwhile(begin: Begin) -> None:
    fails = threading.Event()

    def broken(_: str | None) -> SyncReport:
        fails.wait(PATIENCE)
        return DOWN

    nights = begin(ScheduleConfig(on_start=True), ScheduleConfig(), sync=broken)
    settle(nights.scheduler._turn.locked)
    nights.move_to(NEW_YEAR + timedelta(days=1))
    stopping = threading.Thread(target=nights.scheduler.stop, daemon=True)
    stopping.start()
    settle(nights.scheduler._stopping.is_set)
    fails.set()
    stopping.join(PATIENCE)

    assert not stopping.is_alive()
    assert len(nights.began) == 1


def test_it_stops_when_it_is_asked_to() -> None:
    stop, ended = threading.Event(), threading.Event()
    tasks = Tasks(
        sync=lambda _: FINE,
        look=a_standing,
        incidents=Incidents(lambda _: None, now=now),
        now=now,
    )
    scheduler = Scheduler([ScheduleConfig()], tasks)

    def work() -> None:
        scheduler.run(stop)
        ended.set()

    threading.Thread(target=work, daemon=True).start()
    settle(lambda: scheduler.unhealthy() == [])
    stop.set()

    assert ended.wait(PATIENCE)
    assert scheduler.unhealthy() == ["The scheduler does not run."]
