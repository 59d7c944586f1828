"""Due times on generated registries: each plan against the rule in plain Python."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from math import floor, log
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from sqlalchemy.engine import Connection, Engine

from etl.domain.batch import SourceId
from etl.domain.census import Reason, Rule
from etl.domain.planning import Plan, plan
from etl.load.database import connected
from etl.load.planning import census, chosen
from etl.load.tables import threads
from etl.load.threads import record_source

NOW = datetime(2026, 11, 20, 2, tzinfo=UTC)
DAY = timedelta(days=1)
LONGEST = timedelta(days=30)
SLACK = timedelta(minutes=5)

few = settings(
    max_examples=12,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


@dataclass(frozen=True, kw_only=True)
class Thread:
    """One row of the registry, as far as a plan looks at it."""

    thread_id: str
    tracked_at: datetime
    last_pass_at: datetime | None = None
    asked_at: datetime | None = None
    last_run_at: datetime | None = None
    active_at: datetime | None = None
    unsettled: bool = False
    watched_run_ids: Sequence[str] = ()
    consecutive_errors: int = 0
    runs_seen: int = 0


def ago(days: float) -> datetime:
    return NOW - days * DAY


spans = st.one_of(
    st.floats(0, 2), st.floats(0, 40), st.floats(0, 900), st.just(30.0), st.just(0.0)
)


@st.composite
def a_thread(draw: st.DrawFn, number: int = 0) -> Thread:
    asked = draw(spans)
    idle = draw(spans)
    is_read = draw(st.sampled_from((True, True, True, False)))
    has_runs = draw(st.booleans())
    errors = draw(st.sampled_from((0, 0, 0, 0, 1, 2, 3, 9)))
    return Thread(
        thread_id=f"thread_{number}",
        tracked_at=ago(asked + idle + draw(st.sampled_from((0.0, 1.0, 400.0)))),
        last_pass_at=ago(asked + errors) if is_read else None,
        asked_at=ago(asked) if is_read or errors else None,
        last_run_at=ago(asked + idle) if has_runs else None,
        active_at=ago(draw(spans)) if draw(st.booleans()) else None,
        unsettled=draw(st.sampled_from((False, False, False, True))),
        watched_run_ids=["run"] * draw(st.sampled_from((0, 0, 0, 1, 30))),
        consecutive_errors=errors,
        runs_seen=draw(st.integers(0, 900)) if has_runs else 0,
    )


@st.composite
def registries(draw: st.DrawFn, most: int = 30) -> list[Thread]:
    number = draw(st.integers(0, most))
    return [draw(a_thread(number=each)) for each in range(number)]


rules = st.builds(
    Rule,
    max_interval=st.just(LONGEST),
    hints=st.booleans(),
    trusted=st.booleans(),
    page_size=st.sampled_from((20, 100)),
)
capacities = st.one_of(st.none(), st.integers(0, 12), st.integers(0, 200))


@contextmanager
def planning(engine: Engine) -> Iterator["Planning"]:
    """A source on a connection whose transaction is rolled back."""
    source_id = record_source(engine, name="big", kind="openai", base_url=None)
    with connected(engine) as connection:
        yield Planning(connection, source_id)
        connection.rollback()


class Planning:
    """A registry that is filled, planned and asked at instants of its own."""

    def __init__(self, connection: Connection, source_id: SourceId) -> None:
        self.connection = connection
        self.source_id = source_id

    def fill(self, registry: Sequence[Thread]) -> None:
        self.connection.execute(sa.delete(threads))
        rows = [vars(each) | {"source_id": self.source_id} for each in registry]
        if rows:
            self.connection.execute(sa.insert(threads), rows)

    def registry(self) -> list[Thread]:
        columns = [threads.c[each.name] for each in fields(Thread)]
        rows = self.connection.execute(sa.select(*columns)).mappings()
        return [Thread(**row) for row in rows]

    def plan(self, rule: Rule, capacity: int | None, now: datetime = NOW) -> Plan:
        return plan(census(self.connection, self.source_id, rule, now=now), capacity)

    def chosen(self, planned: Plan) -> list[str]:
        return list(self.connection.scalars(chosen(self.source_id, planned.rule, planned)))

    def note_asked(self, thread_ids: Sequence[str], now: datetime) -> None:
        """What the store does at the end of passes that found nothing new."""
        self.connection.execute(
            sa.update(threads)
            .where(threads.c.thread_id.in_(thread_ids))
            .values(asked_at=now, last_pass_at=now, consecutive_errors=0)
        )

    def first_checks(self, registry: Sequence[Thread]) -> dict[str, datetime]:
        """When each thread's first check is, by the hash that spreads them."""
        share = sa.text(
            "SELECT (1 + abs(hashtextextended(:id, 0)) % 1000) / 1000.0::float8"
        )
        return {
            each.thread_id: each.tracked_at
            + self.connection.scalar(share, {"id": each.thread_id}) * LONGEST
            for each in registry
        }


@pytest.fixture(scope="module")
def planned(shared_engine: Engine) -> Iterator[Planning]:
    """One transaction for all generated registries of this file."""
    with planning(shared_engine) as found:
        yield found
    with shared_engine.begin() as connection:
        connection.execute(sa.text("DELETE FROM run_sync.sources WHERE name = 'big'"))


# The rule, in plain Python.


def asked(thread: Thread) -> datetime:
    return thread.asked_at or thread.last_pass_at or thread.tracked_at


def waited(thread: Thread, now: datetime) -> float:
    return max((now - asked(thread)).total_seconds(), 1.0)


def ratio(thread: Thread, now: datetime) -> float:
    moved = [each for each in (thread.last_run_at, thread.active_at) if each]
    active = max(moved, default=thread.tracked_at)
    idle = max((asked(thread) - active).total_seconds(), 0.0)
    return waited(thread, now) / (idle + 5 * 86_400)


def is_hinted(thread: Thread) -> bool:
    return bool(
        thread.active_at
        and thread.last_pass_at
        and thread.active_at > thread.last_pass_at - SLACK
    )


def is_urgent(thread: Thread, rule: Rule) -> bool:
    if thread.consecutive_errors >= 3:
        return False
    return bool(
        thread.last_pass_at is None
        or thread.unsettled
        or thread.watched_run_ids
        or thread.consecutive_errors
        or (rule.hints and is_hinted(thread))
    )


def is_overdue(thread: Thread, first_check: datetime, now: datetime) -> bool:
    if asked(thread) <= now - LONGEST or asked(thread) > now:
        return True
    return asked(thread) < first_check <= now


def may_rest(thread: Thread, rule: Rule) -> bool:
    """Whether one that is neither urgent nor overdue is asked if there is room."""
    return not rule.hints or thread.last_pass_at is None or is_hinted(thread)


def price(thread: Thread, registry: Sequence[Thread], rule: Rule) -> int:
    """The requests that a pass should take; of a new thread, what others take."""
    known = [t for t in registry if t.last_pass_at or t.consecutive_errors >= 3]
    pages = 1
    if thread.last_pass_at is None and known:
        pages += sum(t.runs_seen for t in known) // len(known) // rule.page_size
    return pages * (1 if rule.trusted else 2) + min(len(thread.watched_run_ids), 20)


def step(number: float) -> int:
    return floor(log(number) / log(1.01))


def tiers_of(
    registry: Sequence[Thread], rule: Rule, checks: dict[str, datetime]
) -> list[set[str]]:
    """The urgent, the overdue, and the rest."""
    first = [t for t in registry if is_urgent(t, rule)]
    others = [t for t in registry if t not in first]
    overdue = [t for t in others if is_overdue(t, checks[t.thread_id], NOW)]
    rest = [t for t in others if t not in overdue and may_rest(t, rule)]
    return [{t.thread_id for t in tier} for tier in (first, overdue, rest)]


# What must hold.


@few
@given(registry=registries(), rule=rules, capacity=capacities)
def test_a_plan_takes_the_most_urgent_as_far_as_they_fit(
    planned: Planning, registry: list[Thread], rule: Rule, capacity: int | None
) -> None:
    planned.fill(registry)
    made = planned.plan(rule, capacity)
    ids = planned.chosen(made)
    by_id = {t.thread_id: t for t in registry}
    tiers = tiers_of(registry, rule, planned.first_checks(registry))
    prices = {
        t.thread_id: min(price(t, registry, rule), capacity or 10**9) for t in registry
    }

    assert len(ids) == len(set(ids)) == made.due
    assert made.known == len(registry)
    assert [len(tier & set(ids)) for tier in tiers] == [made.first, made.overdue, made.rest]
    assert made.requests_expected == sum(prices[each] for each in ids)
    if capacity is not None:
        assert made.requests_expected <= capacity
        left = [each for tier in tiers for each in tier if each not in ids]
        if capacity and left:
            dearest = max(prices[each] for each in left)
            assert made.requests_expected + dearest > capacity
    for tier, rank in zip(tiers, (waited, waited, ratio), strict=True):
        steps = {each: step(rank(by_id[each], NOW)) for each in tier}
        taken = [steps[each] for each in ids if each in tier]
        assert taken == sorted(steps.values(), reverse=True)[: len(taken)]
    turns = [each in tiers[0] for each in ids[: 2 * min(made.first, made.overdue)]]
    assert all(one != other for one, other in pairwise(turns))
    assert not (made.rest and tiers[0] - set(ids)), "the rest gets only what is left"
    assert not (made.rest and tiers[1] - set(ids)), "the rest gets only what is left"


@few
@given(
    registry=registries(),
    rule=rules,
    small=st.integers(0, 60),
    more=st.integers(0, 60),
)
def test_more_budget_never_means_a_later_ask(
    planned: Planning, registry: list[Thread], rule: Rule, small: int, more: int
) -> None:
    planned.fill(registry)
    with_less = planned.chosen(planned.plan(rule, small))
    with_more = planned.chosen(planned.plan(rule, small + more))

    assert set(with_less) <= set(with_more)


@few
@given(registry=registries(), trusted=st.booleans())
def test_hints_name_those_who_are_asked(
    planned: Planning, registry: list[Thread], *, trusted: bool
) -> None:
    rule = Rule(max_interval=LONGEST, hints=True, trusted=trusted)
    planned.fill(registry)
    ids = set(planned.chosen(planned.plan(rule, None)))
    checks = planned.first_checks(registry)

    calm = [t for t in registry if not t.consecutive_errors and t.last_pass_at]
    quiet = [t for t in calm if not (t.unsettled or t.watched_run_ids)]
    for thread in quiet:
        due = is_hinted(thread) or is_overdue(thread, checks[thread.thread_id], NOW)
        assert (thread.thread_id in ids) == due


@few
@given(registry=registries(), rule=rules, capacity=st.integers(1, 90))
@example(
    registry=[Thread(thread_id="quiet", tracked_at=ago(99), last_pass_at=ago(9))],
    rule=Rule(max_interval=LONGEST, hints=True),
    capacity=9,
)
def test_somebody_waits_longer_than_max_interval_only_after_a_full_night(
    planned: Planning, registry: list[Thread], rule: Rule, capacity: int
) -> None:
    planned.fill(registry)
    for night in range(0, 40, 4):
        now, before = NOW + night * DAY, planned.registry()
        made = planned.plan(rule, capacity, now)
        planned.note_asked(planned.chosen(made), now)

        if any(asked(each) <= now - LONGEST for each in planned.registry()):
            dearest = max(price(each, before, rule) for each in before)
            assert made.requests_expected + dearest > capacity


@few
@given(registry=registries(), rule=rules)
def test_where_everybody_fits_everybody_is_asked(
    planned: Planning, registry: list[Thread], rule: Rule
) -> None:
    rule = replace(rule, hints=False)
    planned.fill(registry)
    made = planned.plan(rule, 100_000)

    assert sorted(planned.chosen(made)) == sorted(t.thread_id for t in registry)
    assert (made.factor, made.left) == (None, 0)
    assert planned.plan(rule, None).due == made.due


def played(
    planned: Planning,
    registry: Sequence[Thread],
    rule: Rule,
    capacity: int,
    nights: int,
    *,
    lasting: timedelta = timedelta(),
) -> dict[str, list[int]]:
    """Sync every night, finding nothing; the nights in which each thread was asked.

    Threads are asked `lasting` after their sync was planned.
    """
    planned.fill(registry)
    found: dict[str, list[int]] = {t.thread_id: [] for t in registry}
    for night in range(nights):
        now = NOW + night * DAY
        made = planned.plan(rule, capacity, now)
        ids = planned.chosen(made)
        assert made.requests_expected <= capacity
        assert len(ids) == made.due
        planned.note_asked(ids, now + lasting)
        for each in ids:
            found[each].append(night)
    return found


def a_registry(number: int, **more: Any) -> list[Thread]:
    """Threads that were tracked a year ago, idle for ever longer, last read last night."""
    facts = {"last_pass_at": ago(1), "asked_at": ago(1)} | more
    return [
        Thread(
            thread_id=f"thread_{each}",
            tracked_at=ago(400),
            last_run_at=ago(1 + 1.03**each),
            **facts,
        )
        for each in range(number)
    ]


def longest_gap(nights: Sequence[int], end: int) -> int:
    """The longest time between two asks, in nights; -1 is when it was read before."""
    times = [-1, *nights, end]
    return max(later - earlier for earlier, later in pairwise(times))


@pytest.mark.parametrize(("hints", "late"), [(False, 0), (True, 5)])
def test_nobody_waits_longer_than_max_interval_where_the_budget_allows_it(
    planned: Planning, *, hints: bool, late: int
) -> None:
    """With hints all of these are overdue in one night, and take the budget of five."""
    rule = Rule(max_interval=LONGEST, hints=hints)
    asks = played(planned, a_registry(60), rule, capacity=12, nights=62)

    assert max(longest_gap(nights, 62) for nights in asks.values()) <= 30 + late


def test_hours_between_the_plan_and_the_ask_cost_no_further_night(
    planned: Planning,
) -> None:
    rule = Rule(max_interval=LONGEST, gap=DAY, hints=True)
    sleepers = a_registry(60)
    asks = played(planned, sleepers, rule, 90, nights=92, lasting=timedelta(hours=3))

    assert max(longest_gap(nights, 92) for nights in asks.values()) <= 30


def test_threads_that_sleep_longer_are_asked_less_often(planned: Planning) -> None:
    asks = played(planned, a_registry(120), Rule(max_interval=LONGEST), 20, nights=60)

    wakeful, sleepy = asks["thread_0"], asks["thread_119"]
    assert len(wakeful) >= 2 * len(sleepy)
    assert len(sleepy) >= 2


@pytest.mark.parametrize("urgent", [{"unsettled": True}, {"active_at": NOW + 90 * DAY}])
def test_nobody_starves_where_the_budget_is_far_too_small(
    planned: Planning, urgent: dict[str, Any]
) -> None:
    """Half of the threads come first every night, and alone are too many."""
    sleepy, wakeful = a_registry(60)[:30], a_registry(60, **urgent)[30:]
    rule = Rule(max_interval=LONGEST, hints="active_at" in urgent)
    planned.fill([*sleepy, *wakeful])
    last: dict[str, int] = dict.fromkeys((t.thread_id for t in [*sleepy, *wakeful]), -1)
    worst = 0
    for night in range(90):
        now = NOW + night * DAY
        ids = planned.chosen(planned.plan(rule, 2, now))
        planned.note_asked(ids, now)
        for each in ids:
            worst = max(worst, night - last[each])
            last[each] = night
    worst = max(worst, *(90 - night for night in last.values()))

    assert worst <= 30 + 60  # max_interval, and one round of 60 threads, two a night, twice


def test_new_threads_and_open_runs_come_before_all_others(planned: Planning) -> None:
    old = a_registry(20)
    new = [Thread(thread_id=f"new_{each}", tracked_at=ago(0)) for each in range(3)]
    may_change = [replace(old[19], unsettled=True), replace(old[18], watched_run_ids=["r"])]
    planned.fill([*old[:18], *may_change, *new])
    made = planned.plan(Rule(max_interval=LONGEST), 6)

    ids = planned.chosen(made)
    assert set(ids) == {"thread_19", "thread_18", "new_0", "new_1", "new_2"}
    assert made.reasons == {Reason.OPEN: 2, Reason.NEW: 3}
    assert made.requests_expected == 6
    assert made.left == 18


def test_a_thread_that_takes_more_than_there_is_bars_nobodys_way(
    planned: Planning,
) -> None:
    dear = replace(a_registry(1)[0], thread_id="dear", watched_run_ids=["r"] * 20)
    asks = played(planned, [dear, *a_registry(10)], Rule(max_interval=LONGEST), 5, 60)

    assert all(len(nights) >= 1 for nights in asks.values())


def test_threads_that_were_tracked_together_are_checked_apart(planned: Planning) -> None:
    """All were read in one night, a day after they were tracked; none has ever moved."""
    registry = [
        replace(each, tracked_at=ago(2), last_run_at=ago(3_000)) for each in a_registry(300)
    ]
    asks = played(planned, registry, Rule(max_interval=LONGEST, hints=True), 10**6, 62)

    by_night = [sum(night in nights for nights in asks.values()) for night in range(62)]
    assert max(by_night) <= 30
    assert all(2 <= len(nights) <= 3 for nights in asks.values())


def test_a_clock_that_was_set_back_makes_threads_due(planned: Planning) -> None:
    ahead = replace(a_registry(1)[0], asked_at=ago(-3), last_pass_at=ago(-3))
    planned.fill([ahead])

    made = planned.plan(Rule(max_interval=LONGEST, hints=True), 1)
    assert made.reasons == {Reason.OVERDUE: 1}
    assert planned.chosen(made) == ["thread_0"]


def test_without_requests_nobody_is_due(planned: Planning) -> None:
    planned.fill(a_registry(5))
    made = planned.plan(Rule(max_interval=LONGEST), 0)

    assert planned.chosen(made) == []
    assert (made.due, made.left, made.requests_expected) == (0, 5, 0)
