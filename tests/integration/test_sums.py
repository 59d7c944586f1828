"""Sums over every view equal sums over the runs, over generated data."""

from collections.abc import Iterator
from datetime import timedelta

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy.engine import Connection, Engine

from tests.integration.rows_of_runs import NOON, Row, add_sources, put, the_row, the_rows

TOKENS = st.none() | st.integers(0, 90_000)

rows = st.builds(
    Row,
    source_id=st.sampled_from([1, 2]),
    run_id=st.uuids().map("run_{}".format),
    thread_id=st.sampled_from(["thread_a", "thread_b", "thread_c"]),
    assistant_id=st.sampled_from(["asst_a", "asst_b", None]),
    status=st.sampled_from(
        ["queued", "completed", "completed", "failed", "expired", "cancelled", "incomplete"]
    ),
    model=st.sampled_from(
        ["gpt-4o", "gpt-4o-2024-08-06", "o3-mini", "mine", "llama", None]
    ),
    created_at=st.integers(-40 * 86_400, 86_400).map(
        lambda seconds: NOON + timedelta(seconds=seconds)
    ),
    prompt=TOKENS,
    completion=TOKENS,
    cached=TOKENS | st.just(10**9),
    reasoning=TOKENS,
    total=TOKENS,
    error_code=st.sampled_from([None, "server_error"]),
    incomplete_reason=st.sampled_from([None, "max_prompt_tokens"]),
)
prices = st.lists(
    st.tuples(
        st.sampled_from(["gpt-4o", "o3-mini", "mine"]),
        st.sampled_from(["input", "cached_input", "output"]),
        st.decimals(0, 900, places=3),
        st.integers(-40 * 86_400, 86_400),
    ),
    max_size=8,
    unique_by=lambda price: (price[0], price[1], price[3]),
)

RUNS = """
    SELECT count(*), coalesce(sum(prompt_tokens), 0), coalesce(sum(completion_tokens), 0),
           coalesce(sum(cached_prompt_tokens), 0), coalesce(sum(reasoning_tokens), 0),
           coalesce(sum(total_tokens), 0)
    FROM run_history.runs
"""
SINGLE = """
    SELECT count(*), coalesce(sum(input_tokens), 0), coalesce(sum(output_tokens), 0),
           coalesce(sum(cached_input_tokens), 0),
           coalesce(sum(reasoning_output_tokens), 0), coalesce(sum(total_tokens), 0)
    FROM run_analytics.{view}
"""
SUMMED = """
    SELECT coalesce(sum(runs), 0), coalesce(sum(input_tokens), 0),
           coalesce(sum(output_tokens), 0), coalesce(sum(cached_input_tokens), 0),
           coalesce(sum(reasoning_output_tokens), 0), coalesce(sum(total_tokens), 0)
    FROM run_analytics.{view}
"""
WASTED = "WHERE status IN ('failed', 'expired', 'cancelled', 'incomplete')"
WASTED_RUNS = f"""
    SELECT count(*), coalesce(sum(total_tokens), 0), sum(cost_usd)
    FROM run_analytics.run_costs {WASTED}
"""
ALL = {
    "run_facts": SINGLE.format(view="run_facts"),
    "run_costs": SINGLE.format(view="run_costs"),
    "daily_costs": SUMMED.format(view="daily_costs"),
    "token_usage_daily": SUMMED.format(view="token_usage_daily"),
    "token_usage_by_model": SUMMED.format(view="token_usage_by_model"),
    "token_usage_by_assistant": SUMMED.format(view="token_usage_by_assistant"),
    "thread_overview": SUMMED.format(view="thread_overview"),
    "token_usage_daily_in": SUMMED.format(view="token_usage_daily_in('Asia/Tokyo')"),
}
MONEY = """
    SELECT sum(cost_usd), coalesce(sum(priced_runs), 0), coalesce(sum(unpriced_runs), 0),
           coalesce(sum(no_usage_runs), 0), coalesce(sum(runs_with_usage), 0)
    FROM run_analytics.{view}
"""
MONEY_OF_RUNS = """
    SELECT sum(cost_usd), count(*) FILTER (WHERE cost_status = 'priced'),
           count(*) FILTER (WHERE cost_status = 'unpriced'),
           count(*) FILTER (WHERE cost_status = 'no_usage'),
           count(*) FILTER (WHERE cost_status <> 'no_usage')
    FROM run_analytics.run_costs
"""
WITH_MONEY = (
    "daily_costs",
    "token_usage_daily",
    "token_usage_by_model",
    "token_usage_by_assistant",
    "thread_overview",
    "token_usage_daily_in('America/St_Johns')",
)
WASTE = """
    SELECT coalesce(sum(wasted_runs), 0), coalesce(sum(wasted_tokens), 0),
           sum(wasted_cost_usd)
    FROM run_analytics.{view}
"""
PARTS = {
    "run_waste": (SUMMED.format(view="run_waste"), f"{RUNS} {WASTED}"),
    "run_failures": (
        """
        SELECT coalesce(sum(runs), 0), coalesce(sum(total_tokens), 0)
        FROM run_analytics.run_failures
        """,
        """
        SELECT count(*), coalesce(sum(total_tokens), 0) FROM run_history.runs
        WHERE status IN ('failed', 'expired', 'incomplete')
        """,
    ),
    "truncation_in_effect": (
        """
        SELECT coalesce(sum(runs), 0), coalesce(sum(input_tokens), 0),
               coalesce(sum(runs_at_input_limit), 0)
        FROM run_analytics.truncation_in_effect
        """,
        """
        SELECT count(*), coalesce(sum(prompt_tokens), 0),
               count(*) FILTER (WHERE incomplete_reason = 'max_prompt_tokens')
        FROM run_history.runs
        """,
    ),
    "run_latency_daily": (
        "SELECT coalesce(sum(runs), 0) FROM run_analytics.run_latency_daily",
        "SELECT count(*) FROM run_history.runs",
    ),
    "context_growth": (
        """
        SELECT coalesce(sum(runs), 0), max(largest_input_tokens)
        FROM run_analytics.context_growth
        """,
        """
        SELECT count(*), max(prompt_tokens) FROM run_history.runs
        WHERE status = 'completed' AND prompt_tokens > 0
        """,
    ),
    "unpriced_models": (
        "SELECT coalesce(sum(unpriced_runs), 0) FROM run_analytics.unpriced_models",
        "SELECT count(*) FROM run_analytics.run_costs WHERE cost_status = 'unpriced'",
    ),
}


@pytest.fixture
def connection(shared_engine: Engine) -> Iterator[Connection]:
    """A connection whose changes nobody else ever sees."""
    with shared_engine.connect() as connection:
        yield connection
        connection.rollback()


@settings(
    max_examples=20,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(runs=st.lists(rows, max_size=25), prices=prices)
def test_sums_over_any_view_equal_sums_over_the_runs(
    connection: Connection, runs: list[Row], prices: list[tuple[str, str, object, int]]
) -> None:
    connection.rollback()
    add_sources(connection, "first", "second")
    put(connection, *runs)
    for model, kind, usd, seconds in prices:
        connection.execute(
            sa.text(
                "INSERT INTO run_analytics.model_prices"
                " VALUES ('openai', :model, :kind, :usd, :since, 'user')"
            ),
            {
                "model": model,
                "kind": kind,
                "usd": usd,
                "since": NOON + timedelta(seconds=seconds),
            },
        )

    expected = the_row(connection, RUNS)
    assert {view: the_row(connection, sums) for view, sums in ALL.items()} == dict.fromkeys(
        ALL, expected
    )
    money = the_row(connection, MONEY_OF_RUNS)
    assert {
        view: the_row(connection, MONEY.format(view=view)) for view in WITH_MONEY
    } == dict.fromkeys(WITH_MONEY, money)
    wasted = the_row(connection, WASTED_RUNS)
    assert {
        view: the_row(connection, WASTE.format(view=view)) for view in WITH_MONEY[1:]
    } == dict.fromkeys(WITH_MONEY[1:], wasted)
    for view, (sums, of_runs) in PARTS.items():
        assert the_row(connection, sums) == the_row(connection, of_runs), view


def test_a_run_with_two_tools_counts_with_both_and_once_with_each(
    connection: Connection,
) -> None:
    add_sources(connection, "first")
    put(connection, Row(run_id="run_1"), Row(run_id="run_2", assistant_id="asst_b"))
    connection.execute(
        sa.text(
            "WITH tool_set AS (SELECT gen_random_uuid() AS id), used AS ("
            " UPDATE run_history.runs SET tool_set_id = (SELECT id FROM tool_set)"
            " WHERE run_id = 'run_1')"
            " INSERT INTO run_history.tools (tool_set_id, position, tool_type,"
            " function_name) SELECT id, place, kind, name FROM tool_set, (VALUES"
            " (0, 'function', 'find'), (1, 'file_search', NULL), (2, 'function', 'find')"
            ") AS tool (place, kind, name)"
        )
    )

    used = """
        SELECT assistant_id, tool_type, function_name, runs, threads
        FROM run_analytics.tool_usage ORDER BY tool_type
    """
    assert the_rows(connection, used) == [
        ("asst_a", "file_search", None, 1, 1),
        ("asst_a", "function", "find", 1, 1),
    ]
