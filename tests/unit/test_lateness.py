"""How often threads are asked in the long run: generated censuses, no database."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from etl.domain.census import IDLE_EDGES, Census, Group, Reason, Rule
from etl.domain.lateness import Pace, pace
from etl.domain.planning import capacity

NIGHT = timedelta(days=1)
LONGEST = timedelta(days=30)

groups = st.builds(
    Group,
    reason=st.sampled_from(Reason),
    step=st.integers(-100, 1_000),
    whole=st.booleans(),
    watched=st.integers(0, 20),
    idle_step=st.integers(0, len(IDLE_EDGES)),
    threads=st.integers(1, 10_000),
    runs=st.integers(0, 100_000),
)


def a_census(*counted: Group, hints: bool = False) -> Census:
    return Census(
        taken_at=datetime(2026, 11, 20, tzinfo=UTC),
        rule=Rule(max_interval=LONGEST, hints=hints),
        groups=counted,
    )


def idle(step: int, threads: int) -> Group:
    return Group(0, step, Reason.IDLE, whole=False, watched=0, threads=threads, runs=0)


def paced(*counted: Group, requests: int | None) -> Pace:
    return pace(a_census(*counted), requests, NIGHT)


@given(counted=st.lists(groups, max_size=12), requests=st.integers(1, 200_000))
def test_the_requests_of_a_sync_fit_in_the_long_run(
    counted: list[Group], requests: int
) -> None:
    found = paced(*counted, requests=requests)

    assert found.requests <= requests + 1
    assert found.requests_of_checks <= found.requests_of_all
    assert (found.stretch > 1) == (found.requests_of_checks > 1.001 * requests + 1) or (
        abs(found.requests_of_checks - requests) <= 0.001 * requests + 1
    )
    assert sum(each.threads for each in found.classes) == sum(g.threads for g in counted)


@given(
    counted=st.lists(groups, max_size=12),
    less=st.integers(1, 100_000),
    more=st.integers(0, 100_000),
)
def test_more_requests_never_mean_a_longer_wait(
    counted: list[Group], less: int, more: int
) -> None:
    small = paced(*counted, requests=less)
    large = paced(*counted, requests=less + more)

    second = timedelta(seconds=1)
    for one, other in zip(small.classes, large.classes, strict=True):
        assert other.every <= one.every + second
        assert other.latest <= one.latest + second


@given(counted=st.lists(groups, max_size=12))
def test_where_everybody_fits_everybody_is_asked_at_every_sync(
    counted: list[Group],
) -> None:
    found = paced(*counted, requests=None)

    assert found.factor == 0
    awake = [each for each in counted if each.reason is not Reason.GONE]
    for each in paced(*awake, requests=None).classes:
        assert (each.every, each.latest) == (NIGHT, NIGHT)


def test_a_thread_waits_for_a_share_of_its_idle_time() -> None:
    """A thousand threads, half of them idle for some 35 days, half for some 185."""
    found = paced(idle(14, 500), idle(20, 500), requests=100)
    fresh, old = found.classes

    assert found.factor is not None
    assert 0 < found.factor < 1
    assert fresh.every < old.every <= LONGEST
    assert 90 <= found.requests <= 100


def test_too_few_requests_stretch_every_wait() -> None:
    found = paced(idle(14, 3_000), requests=50)

    assert found.requests_of_checks == 100
    assert found.stretch == 2
    assert [each.every for each in found.classes] == [2 * LONGEST]


def test_hints_leave_checks_only() -> None:
    quiet = idle(14, 300)._replace(reason=Reason.QUIET)
    active = idle(0, 7)._replace(reason=Reason.HINTED)
    found = pace(a_census(quiet, active, hints=True), None, NIGHT)

    assert found.factor is None
    assert found.requests == 300 / 30 + 7
    assert [each.every for each in found.classes] == [NIGHT, LONGEST]


def test_a_capacity_is_what_fits_into_a_time() -> None:
    assert capacity(900, 6 * 3_600) == 324_000
    assert capacity(1, 59) == 1, "else nobody would ever be asked"
    assert capacity(1, 0) == 0
    assert capacity(1, -5) == 0
    assert capacity(1, None) is None
