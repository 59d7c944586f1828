"""The sums by day follow the runs, whoever writes them and however."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from functools import partial

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy.engine import Connection, Engine

from etl.domain.batch import SourceId
from tests.integration.builders import (
    a_batch,
    a_payload,
    a_store,
    after,
    an_increment,
    query,
)
from tests.integration.daily_sums import DIFFERENCES
from tests.integration.rows_of_runs import NOON, Row, add_sources, put, the_rows

TOKENS = st.none() | st.integers(0, 9_000) | st.sampled_from([-5, 2**62])

rows = st.builds(
    Row,
    source_id=st.sampled_from([1, 2]),
    run_id=st.integers(1, 12).map("run_{}".format),
    thread_id=st.sampled_from(["thread_a", "thread_b"]),
    assistant_id=st.sampled_from(["asst_a", "asst_b", None]),
    status=st.sampled_from(["queued", "in_progress", "completed", "failed", "new_word"]),
    model=st.sampled_from(["gpt-4o", "o3-mini", "m" * 5_000, None]),
    created_at=st.sampled_from([NOON, NOON + timedelta(hours=12), NOON - timedelta(60)]),
    prompt=TOKENS,
    completion=TOKENS,
    cached=TOKENS,
    reasoning=TOKENS,
    total=TOKENS,
)

Act = Callable[[Connection], object]


def run(statement: str) -> Act:
    """Do something by plain SQL."""
    return lambda connection: connection.execute(sa.text(statement))


def _put(rows: Sequence[Row], connection: Connection) -> None:
    put(connection, *rows)


acts = st.lists(
    st.lists(rows, min_size=1, max_size=10).map(lambda listed: partial(_put, listed))
    | st.sampled_from(
        [
            run("DELETE FROM run_history.runs WHERE thread_id = 'thread_a'"),
            run("UPDATE run_history.runs SET status = 'expired', total_tokens = 0"),
            run("UPDATE run_history.runs SET created_at = created_at - interval '1 d'"),
            run("UPDATE run_history.runs SET metadata = '{}'"),
            run("SELECT run_sync.make_month('2026-09-01')"),
            run("TRUNCATE run_history.runs"),
        ]
    ),
    max_size=8,
)


@pytest.fixture
def connection(shared_engine: Engine) -> Iterator[Connection]:
    """A connection whose changes nobody else ever sees."""
    with shared_engine.connect() as connection:
        yield connection
        connection.rollback()


@settings(
    max_examples=30,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(acts=acts)
def test_the_sums_equal_those_of_the_runs_after_any_statements(
    connection: Connection, acts: list[Act]
) -> None:
    connection.rollback()
    add_sources(connection, "first", "second")

    for act in acts:
        act(connection)
        assert the_rows(connection, DIFFERENCES) == []


def test_a_run_that_ends_moves_from_one_status_to_the_other(
    engine: Engine, source_id: SourceId
) -> None:
    """Through the store, as a sync writes it."""
    sums = (
        "SELECT status, runs, runs_with_usage, total_tokens FROM run_analytics.daily_usage"
    )
    with a_store(engine) as store:
        waiting = a_payload(status="queued", usage=None)
        store.commit(a_batch(an_increment(source_id, waiting)))
        before = query(engine, sums)

        ended = an_increment(source_id, a_payload(), read_before=after(0), read_at=after(9))
        store.commit(a_batch(ended))

    assert before == [("queued", 1, 0, 0)]
    assert query(engine, sums) == [("completed", 1, 1, 7)]


def test_a_refused_batch_leaves_the_sums_alone(engine: Engine, source_id: SourceId) -> None:
    broken = a_payload("run_2", metadata={"key": "\0"})
    with a_store(engine) as store:
        store.commit(a_batch(an_increment(source_id, a_payload(), broken)))

    assert query(engine, DIFFERENCES) == []
    assert query(engine, "SELECT runs FROM run_analytics.daily_usage") == [(1,)]


def test_two_who_write_one_day_at_the_same_time_both_count(
    engine: Engine, source_id: SourceId
) -> None:
    with (
        engine.connect() as one,
        engine.connect() as other,
        ThreadPoolExecutor(1) as pool,
    ):
        put(one, Row(source_id=source_id, run_id="run_1", model="gpt-4o"))
        second = Row(source_id=source_id, run_id="run_2", model="o3-mini")
        waiting = pool.submit(put, other, second)  # for a month's writers take turns
        one.commit()
        waiting.result()
        put(other, Row(source_id=source_id, run_id="run_3", model="gpt-4o"))
        other.commit()

    assert query(engine, DIFFERENCES) == []
    assert query(engine, "SELECT sum(runs) FROM run_analytics.daily_usage") == [(3,)]


def test_a_month_that_was_dropped_by_hand_keeps_its_sums_until_they_are_made_anew(
    engine: Engine, source_id: SourceId
) -> None:
    old = datetime(2026, 9, 3, tzinfo=NOON.tzinfo)
    counted = "SELECT day::text, runs FROM run_analytics.daily_usage ORDER BY day"
    with engine.begin() as connection:
        run("SELECT run_sync.make_month('2026-09-01')")(connection)
        put(
            connection,
            Row(source_id=source_id, run_id="run_1", created_at=old),
            Row(source_id=source_id, run_id="run_2"),
        )
        run("DROP TABLE run_history.runs_2026_09")(connection)
    kept = query(engine, counted)

    with engine.begin() as connection:
        run("SELECT run_analytics.rebuild_daily_usage()")(connection)

    assert kept == [("2026-09-03", 1), ("2026-11-20", 1)]
    assert query(engine, counted) == [("2026-11-20", 1)]


def test_summing_up_anew_takes_nothing_from_a_report_at_work(engine: Engine) -> None:
    sums = "SELECT count(*) FROM run_analytics.daily_usage"
    with engine.begin() as connection:
        add_sources(connection)
        put(connection, Row(run_id="run_1"))

    with engine.connect().execution_options(isolation_level="REPEATABLE READ") as report:
        report.exec_driver_sql("SELECT count(*) FROM run_sync.sources")
        with engine.begin() as connection:
            connection.exec_driver_sql("SELECT run_analytics.rebuild_daily_usage()")
        assert report.exec_driver_sql(sums).scalar_one() == 1
