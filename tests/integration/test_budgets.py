"""The budget that processes share, in Postgres: the rules of the model, and its clock."""

import math
import threading
import time
from bisect import bisect_left
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import pairwise

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy.engine import Engine

from etl.domain.batch import SourceId
from etl.domain.errors import DatabaseError
from etl.domain.reservation import UNDERWAY_SECONDS, USABLE_SECONDS, spacing_seconds
from etl.extract.shared_budget import SharedBudget
from etl.load.budgets import Timeline, timeline
from etl.load.threads import record_source
from tests.unit.timelines import TimelineInMemory

BEGIN = datetime(2026, 11, 20, 10, tzinfo=UTC)
RATE = 60_000
PROCESSES = 3
WORKERS = 2
REQUESTS = 250

LOG = """
SELECT extract(epoch FROM reserved_from)::float8 AS since,
    extract(epoch FROM reserved_to)::float8 AS until
FROM moves ORDER BY number"""

END_THE_OTHERS = """
SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity
WHERE datname = current_database() AND query LIKE '%UPDATE run_sync.budgets%'
    AND pid <> pg_backend_pid()"""

LOGGED = """
CREATE TABLE moves (number bigint GENERATED ALWAYS AS IDENTITY,
    reserved_from timestamptz, reserved_to timestamptz);
CREATE FUNCTION note_move() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    INSERT INTO moves (reserved_from, reserved_to)
    VALUES (greatest(old.free_at, new.written_at), new.free_at);
    RETURN NULL; END $$;
CREATE TRIGGER note_move AFTER UPDATE ON run_sync.budgets
    FOR EACH ROW EXECUTE FUNCTION note_move();
"""


def a_source(engine: Engine) -> SourceId:
    return record_source(engine, name="demo", kind="openai", base_url="http://here/v1")


@pytest.fixture
def source(swept_engine: Engine) -> SourceId:
    return a_source(swept_engine)


@pytest.fixture
def shared(swept_engine: Engine, source: SourceId) -> Iterator[Timeline]:
    with timeline(swept_engine, source, spacing_seconds=spacing_seconds(60)) as shared:
        yield shared


moves = st.lists(
    st.tuples(
        st.sampled_from([0.0, 2**-10, 0.25, 1.0, 7.5, 299.0, 301.0, -0.5, -2.0, -3_600.0]),
        st.one_of(st.integers(1, 9), st.floats(0, 90).map(lambda pause: round(pause, 3))),
    ),
    min_size=1,
    max_size=12,
)
"""Seconds that pass, or by which the clock is set back, all exact in binary: just a second
is one for both clocks. And how many requests are reserved then, or the pause of a
refusal."""


@given(st.sampled_from([1, 7, 60, 900, 30_000]), moves)
@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
def test_the_row_moves_as_the_model_does(
    swept_engine: Engine,
    source: SourceId,
    rate: int,
    moves: list[tuple[float, int | float]],
) -> None:
    passed = 0.0
    model = TimelineInMemory(spacing_seconds(rate), clock=lambda: passed)
    with swept_engine.begin() as connection:
        connection.execute(sa.text("DELETE FROM run_sync.budgets"))
    with swept_engine.connect() as connection:
        row = Timeline(connection, source, spacing_seconds=spacing_seconds(rate))
        assert row.reserve(1, now=BEGIN) == model.reserve(1)
        for seconds, move in moves:
            passed += seconds
            now = BEGIN + timedelta(seconds=passed)
            if isinstance(move, float):
                model.slow_down(move)
                row.slow_down(move, now=now)
                continue
            expected, reserved = model.reserve(move), row.reserve(move, now=now)
            assert reserved.count == expected.count
            assert reserved.spacing_seconds == pytest.approx(expected.spacing_seconds)
            assert reserved.first_in_seconds == pytest.approx(
                expected.first_in_seconds, abs=1e-4
            )


def test_a_source_that_was_never_asked_begins_with_nothing(shared: Timeline) -> None:
    reserved = shared.reserve(5)

    assert reserved.count == 1
    assert reserved.first_in_seconds == pytest.approx(61 / 60, abs=1e-3)
    assert reserved.spacing_seconds == pytest.approx(61 / 60)


def most_in(seconds: float, sent_at: list[float]) -> int:
    """The fullest of all stretches so long that begin with a request."""
    return max(
        bisect_left(sent_at, at + seconds) - first for first, at in enumerate(sent_at)
    )


def work_through(engine: Engine, source_id: SourceId, sent_at: list[float]) -> None:
    """What one process does: its workers send what they may."""

    def work() -> None:
        for _ in range(REQUESTS):
            budget.spend()
            sent_at.append(time.time())

    spacing = spacing_seconds(RATE)
    with timeline(engine, source_id, spacing_seconds=spacing) as shared:
        budget = SharedBudget(shared)
        side_by_side(*[work] * WORKERS)


def side_by_side(*jobs: Callable[[], None]) -> None:
    threads = [threading.Thread(target=job) for job in jobs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def test_three_processes_never_reserve_the_same_moment(engine: Engine) -> None:
    source_id = a_source(engine)
    with engine.begin() as connection:
        connection.execute(sa.text(LOGGED))
    sent_at: list[float] = []

    side_by_side(*[partial(work_through, engine, source_id, sent_at)] * PROCESSES)

    with engine.connect() as connection:
        moved = connection.execute(sa.text(LOG)).all()
    spacing = spacing_seconds(RATE)
    assert all(after.since >= before.until for before, after in pairwise(moved))
    assert sum(move.until - move.since for move in moved) >= len(sent_at) * spacing
    assert len(sent_at) == PROCESSES * WORKERS * REQUESTS
    assert min(sent_at) >= moved[0].since
    sent_at.sort()
    for seconds in (0.01, 0.1, 0.5, 60):
        late = seconds + USABLE_SECONDS + UNDERWAY_SECONDS
        assert most_in(seconds, sent_at) <= math.ceil(late / spacing)


def test_refusals_that_come_together_halve_the_pace_once(
    swept_engine: Engine, source: SourceId
) -> None:
    def refused() -> None:
        with timeline(swept_engine, source, spacing_seconds=0.001) as shared:
            shared.slow_down(0.0)

    side_by_side(*[refused] * PROCESSES)

    with swept_engine.connect() as connection:
        share = connection.scalar(sa.text("SELECT share FROM run_sync.budgets"))
    assert share == 0.5


def test_nothing_that_is_set_for_it_stays_on_a_connection(
    swept_engine: Engine, source: SourceId
) -> None:
    with timeline(swept_engine, source, spacing_seconds=0.001) as shared:
        shared.reserve(1)

    with swept_engine.connect() as connection:
        assert connection.scalar(sa.text("SHOW synchronous_commit")) == "on"


def test_a_connection_that_is_lost_is_a_database_error(
    swept_engine: Engine, source: SourceId
) -> None:
    with timeline(swept_engine, source, spacing_seconds=0.001) as shared:
        budget = SharedBudget(shared)
        budget.spend()
        with swept_engine.connect() as connection:
            connection.execute(sa.text(END_THE_OTHERS))

        with pytest.raises(DatabaseError) as raised:
            budget.slow_down()
        budget.spend()  # over a new connection, if anybody still asks

    assert str(raised.value).startswith("The database at postgresql://")
