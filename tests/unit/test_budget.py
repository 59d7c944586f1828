"""The request budget: never more than was agreed, and not much less."""

from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from etl.extract.budget import Budget

A_MINUTE = 60 - 1e-6
"""Half open, less what floating point may lose."""


@dataclass
class Clock:
    """A clock that only sleeping moves; `late` is how much too long each sleep is."""

    now: float = 1_000.0
    late: float = 0.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        assert seconds > 0
        self.now += seconds + self.late


@dataclass
class Arrivals:
    """Requests that arrive when they like, from any number of workers."""

    clock: Clock = field(default_factory=Clock)
    sent_at: list[float] = field(default_factory=list)
    waited: float = 0.0

    def sleep(self, seconds: float) -> None:
        self.waited = seconds

    def arrive(self, budget: Budget, *, pause: float) -> None:
        """One request, `pause` seconds after the last one arrived."""
        self.clock.now += pause
        self.waited = 0.0
        budget.spend()
        self.sent_at.append(self.clock.now + self.waited)


def one_after_the_other(requests: int, rate: int, clock: Clock) -> list[float]:
    """When one worker that never pauses sends its requests."""
    budget = Budget(rate, sleep=clock.sleep, clock=clock)
    sent_at = []
    for _ in range(requests):
        budget.spend()
        sent_at.append(clock.now)
    return sent_at


def most_in_a_minute(sent_at: list[float]) -> int:
    """The fullest of all minutes that begin with a request."""
    sent_at, first, most = sorted(sent_at), 0, 0
    for last, at in enumerate(sent_at):
        while at - sent_at[first] >= A_MINUTE:
            first += 1
        most = max(most, last - first + 1)
    return most


rates = st.sampled_from([1, 2, 59, 60, 599, 600, 601, 1000]) | st.integers(1, 100_000)
pauses = st.sampled_from([0.0, 0.0, 0.0, 0.001, 1.0, 30.0, 61.0, 3600.0])
patterns = st.lists(st.tuples(pauses, st.integers(1, 60)), min_size=1, max_size=12)
"""Pauses, and how many requests arrive at once after each."""


@given(rates, patterns)
@settings(max_examples=200)
def test_no_minute_has_more_requests_than_agreed(
    rate: int, pattern: list[tuple[float, int]]
) -> None:
    arrivals = Arrivals()
    budget = Budget(rate, sleep=arrivals.sleep, clock=arrivals.clock)

    for pause, requests in pattern:
        for number in range(requests):
            arrivals.arrive(budget, pause=0.0 if number else pause)

    assert most_in_a_minute(arrivals.sent_at) <= rate


@given(st.integers(1, 300), st.integers(1, 4))
@settings(max_examples=60)
def test_a_crowd_that_comes_after_a_long_silence_fills_no_minute_over(
    rate: int, minutes: int
) -> None:
    arrivals = Arrivals()
    budget = Budget(rate, sleep=arrivals.sleep, clock=arrivals.clock)

    arrivals.arrive(budget, pause=86_400)
    for _ in range(minutes * rate):
        arrivals.arrive(budget, pause=0)

    assert most_in_a_minute(arrivals.sent_at) <= rate


def test_at_a_high_rate_a_crowd_fills_no_minute_over() -> None:
    arrivals = Arrivals()
    budget = Budget(20_000, sleep=arrivals.sleep, clock=arrivals.clock)

    arrivals.arrive(budget, pause=3_600)
    for _ in range(45_000):
        arrivals.arrive(budget, pause=0)

    assert 19_900 < most_in_a_minute(arrivals.sent_at) <= 20_000


@pytest.mark.parametrize("rate", [1, 7, 60, 900, 30_000])
def test_the_bucket_starts_empty(rate: int) -> None:
    clock = Clock()

    (sent_at,) = one_after_the_other(1, rate, clock)

    assert sent_at - 1_000.0 >= 60 / rate - 1e-9


@pytest.mark.parametrize("rate", [1, 7, 60, 599, 900, 5_000, 30_000])
def test_the_agreed_rate_is_reached(rate: int) -> None:
    requests = max(20, rate * 2)

    sent_at = one_after_the_other(requests, rate, Clock())

    assert requests / (sent_at[-1] - 1_000.0) * 60 == pytest.approx(rate, rel=0.005)


@pytest.mark.parametrize("rate", [60, 900, 30_000])
def test_waking_up_late_is_made_good(rate: int) -> None:
    requests = rate * 2

    sent_at = one_after_the_other(requests, rate, Clock(late=0.02))

    assert requests / (sent_at[-1] - 1_000.0) * 60 == pytest.approx(rate, rel=0.005)


@pytest.mark.parametrize(
    ("rate", "at_once"), [(1, 1), (600, 1), (6_000, 10), (60_000, 100)]
)
def test_after_a_silence_a_tenth_of_a_second_is_there_at_once(
    rate: int, at_once: int
) -> None:
    arrivals = Arrivals()
    budget = Budget(rate, sleep=arrivals.sleep, clock=arrivals.clock)
    arrivals.clock.now += 3600

    for _ in range(at_once + 1):
        arrivals.arrive(budget, pause=0)

    immediate = [at for at in arrivals.sent_at if at == arrivals.clock.now]
    assert len(immediate) == at_once


def test_it_waits_outside_its_lock() -> None:
    asleep: list[float] = []

    def sleep(seconds: float) -> None:
        asleep.append(seconds)
        if len(asleep) < 3:
            budget.spend()

    budget = Budget(60, sleep=sleep, clock=lambda: 0.0)
    budget.spend()

    assert asleep == [1.0, 2.0, 3.0]
