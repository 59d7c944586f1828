"""A budget that processes share: never more than was agreed, and nobody starves."""

import math
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from etl.domain.errors import DatabaseError
from etl.domain.reservation import (
    UNDERWAY_SECONDS,
    USABLE_SECONDS,
    Reservation,
    spacing_seconds,
)
from etl.extract.shared_budget import SharedBudget
from tests.unit.made_up_time import MadeUpTime
from tests.unit.timelines import TimelineInMemory

A_HAIR = 1e-6
"""What floating point may lose of a stretch that is open at its end."""

LATE = (0.0, 0.0, 0.0, 0.001, 0.3, 0.74, 0.76, 5.0, 61.0, 600.0)
"""How much too long a wait may take: a busy machine, or a process that was stopped."""

rates = st.sampled_from([1, 2, 5, 59, 60, 240]) | st.integers(1, 300)
high_rates = st.sampled_from([900, 6_000, 60_000]) | st.integers(300, 1_000_000)
seeds = st.integers(0, 2**32)


@dataclass
class Machine:
    """Processes with their workers, and when each process's requests arrive.

    `lateness` is drawn for each wait: how much longer it takes, as the process is slow
    or was stopped. `answering` is drawn for each answer of the database, half of it
    before the row moves. `underway` is how long a request takes to the server.
    """

    rate: int
    lateness: Callable[[], float] = lambda: 0.0
    answering: Callable[[], float] = lambda: 0.0
    underway: Callable[[], float] = lambda: 0.0
    thinking: Callable[[], float] = lambda: 0.0
    time: MadeUpTime = field(default_factory=MadeUpTime)
    arrived: dict[int, list[float]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.timeline = TimelineInMemory(spacing_seconds(self.rate), clock=self.time)

    @property
    def all_arrived(self) -> list[float]:
        return sorted(at for one in self.arrived.values() for at in one)

    def work(self, *, processes: int, workers: int, requests: int) -> None:
        """Let every worker of every process send so many requests."""
        jobs = []
        for number in range(processes):
            budget = self.budget()
            self.arrived[number] = []
            jobs += [self._worker(budget, number, requests) for _ in range(workers)]
        self.time.run(*jobs)

    def budget(self) -> SharedBudget:
        """The budget of one more process."""
        return SharedBudget(_Slow(self), sleep=self._sleep, clock=self.time)

    def _sleep(self, seconds: float) -> None:
        self.time.sleep(seconds + self.lateness())

    def _worker(
        self, budget: SharedBudget, process: int, requests: int
    ) -> Callable[[], None]:
        def work() -> None:
            for _ in range(requests):
                budget.spend()
                self.arrived[process].append(self.time.now + self.underway())
                if (pause := self.thinking()) > 0:
                    self.time.sleep(pause)

        return work


class _Slow:
    """The timeline at the other end of a line; everybody's time goes on meanwhile."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine

    def reserve(self, wanted: int) -> Reservation:
        half = self._machine.answering() / 2
        self._machine.time.now += half
        reserved = self._machine.timeline.reserve(wanted)
        self._machine.time.now += half
        return reserved

    def slow_down(self, pause: float) -> None:
        self._machine.timeline.slow_down(pause)


def most_in(seconds: float, sent_at: list[float]) -> int:
    """The fullest of all stretches so long that begin with a request."""
    first, most = 0, 0
    for last, at in enumerate(sent_at):
        while at - sent_at[first] >= seconds - A_HAIR:
            first += 1
        most = max(most, last - first + 1)
    return most


def a_bad_day(rate: int, seed: int) -> Machine:
    """Everything that may be late is, at times."""
    dice = random.Random(seed)  # noqa: S311  # not for secrets
    return Machine(
        rate,
        lateness=lambda: dice.choice(LATE),
        answering=lambda: dice.choice((0.0, 0.0, 0.0, 0.002, 0.2, 0.7, 0.8, 30.0)),
        underway=lambda: dice.uniform(0, UNDERWAY_SECONDS),
        thinking=lambda: dice.choice((0.0, 0.0, 0.0, 0.05, 2.0, 90.0)),
    )


@given(rates, seeds, st.integers(1, 3), st.integers(1, 3))
@settings(max_examples=40, deadline=None)
def test_no_minute_has_more_requests_than_agreed_over_all_processes(
    rate: int, seed: int, processes: int, workers: int
) -> None:
    machine = a_bad_day(rate, seed)

    machine.work(processes=processes, workers=workers, requests=20)

    assert most_in(60, machine.all_arrived) <= rate
    assert len(machine.all_arrived) == processes * workers * 20


@given(high_rates, seeds)
@settings(max_examples=20, deadline=None)
def test_at_a_high_rate_no_second_holds_more_than_two_seconds_worth(
    rate: int, seed: int
) -> None:
    machine = a_bad_day(rate, seed)

    machine.work(processes=3, workers=3, requests=40)

    late = USABLE_SECONDS + UNDERWAY_SECONDS
    assert most_in(1, machine.all_arrived) <= math.ceil((1 + late) / spacing_seconds(rate))


@pytest.mark.parametrize("rate", [1, 5, 60, 300])
def test_a_minute_that_is_as_full_as_may_be_is_not_over(rate: int) -> None:
    lateness = iter([USABLE_SECONDS] * 1 + [0.0] * 10_000)
    machine = Machine(rate, lateness=lambda: next(lateness))

    machine.work(processes=1, workers=1, requests=2 * rate + 2)

    assert most_in(60, machine.all_arrived) <= rate
    assert most_in(61 + A_HAIR, machine.all_arrived) >= rate


@pytest.mark.parametrize("rate", [1, 5, 60, 900, 60_000])
def test_nothing_is_saved_up(rate: int) -> None:
    machine = Machine(rate)
    machine.time.now += 86_400

    machine.work(processes=3, workers=2, requests=5)

    assert machine.all_arrived[0] - 87_400 >= spacing_seconds(rate) - A_HAIR
    apart = [b - a for a, b in pairwise(machine.all_arrived)]
    assert min(apart) >= spacing_seconds(rate) - A_HAIR


@pytest.mark.parametrize("rate", [1, 5, 60, 900, 6_000])
@pytest.mark.parametrize("processes", [1, 3])
def test_the_agreed_rate_is_reached_by_all_together(rate: int, processes: int) -> None:
    machine = Machine(rate, answering=lambda: 0.001)

    machine.work(processes=processes, workers=4, requests=100)

    took = machine.all_arrived[-1] - 1_000
    assert len(machine.all_arrived) / took * 61 == pytest.approx(rate, rel=0.05)
    unused = machine.timeline.handed_out - len(machine.all_arrived)
    assert unused <= processes * max(1, 0.25 / spacing_seconds(rate))


@pytest.mark.parametrize("rate", [5, 900, 6_000])
def test_each_process_has_its_part(rate: int) -> None:
    machine = Machine(rate)

    machine.work(processes=3, workers=2, requests=200)

    first_to_end = min(one[-1] for one in machine.arrived.values())
    sent = [sum(at <= first_to_end for at in one) for one in machine.arrived.values()]
    assert min(sent) >= 0.8 * max(sent)


def test_one_that_asks_seldom_takes_little_from_the_others() -> None:
    machine = Machine(60_000)
    seldom, often = machine.budget(), machine.budget()

    def ask_seldom() -> None:
        for _ in range(10):
            seldom.spend()
            machine.time.sleep(1.0)

    def ask_often() -> None:
        while machine.time.now < 1_010:
            often.spend()
            sent.append(machine.time.now)

    sent: list[float] = []
    machine.time.run(ask_seldom, ask_often)

    assert len(sent) == pytest.approx(10 * 60_000 / 61, rel=0.05)


def test_a_process_that_was_stopped_sends_nothing_it_reserved_before() -> None:
    machine = Machine(60_000)
    budget = machine.budget()
    sent: list[float] = []

    def work() -> None:
        for _ in range(600):
            budget.spend()
            sent.append(machine.time.now)
            if len(sent) == 500:
                machine.time.now += 3_600  # SIGSTOP, and SIGCONT an hour later

    machine.time.run(work)

    woken = sent[500:]
    assert woken[0] > sent[499] + 3_600
    apart = [b - a for a, b in pairwise(woken)]
    assert min(apart) >= spacing_seconds(60_000) - A_HAIR


def test_a_refusal_halves_the_pace_of_all_once_a_second() -> None:
    machine = Machine(600)
    first, second = machine.budget(), machine.budget()

    first.slow_down()
    second.slow_down()
    assert machine.timeline.share == 0.5
    machine.time.now += 1.0
    second.slow_down()

    assert machine.timeline.share == pytest.approx(0.25, abs=0.01)


def test_what_was_reserved_at_the_old_pace_is_not_sent() -> None:
    machine = Machine(6_000)
    budget = machine.budget()
    sent: list[float] = []

    def work() -> None:
        for number in range(60):
            budget.spend()
            sent.append(machine.time.now)
            if number == 40:
                budget.slow_down()

    machine.time.run(work)

    apart = [b - a for a, b in pairwise(sent[41:])]
    assert min(apart) > 1.9 * spacing_seconds(6_000)


def test_the_pace_grows_back_over_five_minutes() -> None:
    machine = Machine(60)
    budget = machine.budget()
    for _ in range(12):
        budget.slow_down()
        machine.time.now += 1.0
    slowest = machine.timeline.share

    machine.time.now += 150
    halfway = machine.timeline.share
    machine.time.now += 150

    assert slowest < 0.03
    assert halfway == pytest.approx(0.5, abs=0.03)
    assert machine.timeline.share == 1.0


def test_a_pause_that_the_server_asks_for_is_kept_by_all() -> None:
    machine = Machine(60)
    budgets = [machine.budget() for _ in range(3)]
    sent: list[float] = []

    def refused() -> None:
        budgets[0].spend()
        budgets[0].slow_down(30.0)
        pauses.append(machine.time.now)

    def work(budget: SharedBudget) -> Callable[[], None]:
        def spend() -> None:
            machine.time.sleep(5.0)
            budget.spend()
            sent.append(machine.time.now)

        return spend

    pauses: list[float] = []
    machine.time.run(refused, *(work(budget) for budget in budgets for _ in range(3)))

    assert len(sent) == 9
    assert min(sent) >= pauses[0] + 30


def test_whoever_waits_in_the_refused_process_keeps_the_pause_too() -> None:
    machine = Machine(60)
    budget = machine.budget()
    sent: list[float] = []

    def wait() -> None:
        budget.spend()
        sent.append(machine.time.now)

    def refuse() -> None:
        budget.slow_down(30.0)

    machine.time.run(wait, wait, wait, refuse)

    assert len(sent) == 3
    assert min(sent) >= 1_030


def test_a_clock_that_was_set_back_stops_nobody() -> None:
    machine = Machine(60)
    budget = machine.budget()

    def work() -> None:
        for number in range(10):
            budget.spend()
            sent.append(machine.time.now)
            if number == 4:
                machine.timeline.clock = lambda: machine.time.now - 3_600

    sent: list[float] = []
    machine.time.run(work)

    apart = [b - a for a, b in pairwise(sent)]
    assert min(apart) >= spacing_seconds(60) - A_HAIR
    assert max(apart) <= 2 * spacing_seconds(60) + 2 * A_HAIR


def test_a_database_that_always_answers_too_late_is_an_error_not_a_loop() -> None:
    machine = Machine(60, answering=lambda: 0.8)
    budget = machine.budget()

    with pytest.raises(DatabaseError) as raised:
        machine.time.run(budget.spend)

    assert str(raised.value) == (
        "The database took more than 0.75 seconds to answer, 10 times in a row, so no"
        " request could be sent when it was due; sync closer to the database, or in one"
        " process, without --join."
    )
