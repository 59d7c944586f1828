"""What runs cost, against sums made by hand."""

import json
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from etl.demo.server import DemoServer
from etl.demo.world import World
from etl.domain.outcome import Outcome
from tests.integration.builders import query
from tests.integration.rows_of_runs import NOON, Row, add_sources, put, the_row, the_rows
from tests.integration.serving import RunsServer
from tests.integration.syncing import Syncer

# US dollars for a million tokens: input, cached input, output; as OpenAI published them.
PUBLISHED = {
    "gpt-4": ("30", "30", "60"),
    "gpt-4-turbo": ("10", "10", "30"),
    "gpt-4.1": ("2", "0.5", "8"),
    "gpt-4.1-mini": ("0.4", "0.1", "1.6"),
    "gpt-4o": ("2.5", "1.25", "10"),
    "gpt-4o-2024-11-20": ("2.5", "1.25", "10"),
    "gpt-4o-mini": ("0.15", "0.075", "0.6"),
    "o3-mini": ("1.1", "0.55", "4.4"),
}
COSTS = "SELECT run_id, cost_status, cost_usd FROM run_analytics.run_costs ORDER BY run_id"
TOTAL = """
    SELECT sum(cost_usd), sum(priced_runs), sum(unpriced_runs), sum(no_usage_runs)
    FROM run_analytics.token_usage_daily
"""


@pytest.fixture
def connection(shared_engine: Engine) -> Iterator[Connection]:
    """A source, and a connection whose changes nobody else ever sees."""
    with shared_engine.connect() as connection:
        add_sources(connection, "first")
        yield connection
        connection.rollback()


def set_price(
    connection: Connection,
    model: str,
    since: datetime,
    *,
    provider: str = "openai",
    origin: str = "user",
    **usd: str,
) -> None:
    """Prices by kind of token."""
    statement = sa.text(
        "INSERT INTO run_analytics.model_prices"
        " VALUES (:provider, :model, :kind, CAST(:usd AS numeric), :since, :origin)"
    )
    known = {"provider": provider, "model": model, "since": since, "origin": origin}
    connection.execute(
        statement, [known | {"kind": kind, "usd": price} for kind, price in usd.items()]
    )


def a_million(run_id: str, **facts: Any) -> Row:
    """A run of a million prompt tokens and nothing else."""
    return Row(run_id=run_id, prompt=1_000_000, completion=0, **facts)


def by_hand(payload: dict[str, Any]) -> Decimal | None:
    """What a payload's tokens cost; None where it reports none."""
    usage = payload.get("usage")
    if usage is None:
        return None
    prices: tuple[Decimal, ...] = tuple(map(Decimal, PUBLISHED[payload["model"]]))
    per_input, per_cached, per_output = prices
    cached = (usage.get("prompt_token_details") or {}).get("cached_tokens", 0)
    cost: Decimal = (
        (usage["prompt_tokens"] - cached) * per_input
        + cached * per_cached
        + usage["completion_tokens"] * per_output
    )
    return cost / 1_000_000


def of_all(payloads: Iterable[dict[str, Any]]) -> dict[str, Decimal | None]:
    return {payload["id"]: by_hand(payload) for payload in payloads}


def test_the_recorded_runs_cost_what_a_hand_calculation_says(
    swept_engine: Engine, data: Path
) -> None:
    lines = (data / "recorded_runs.jsonl").read_text(encoding="utf-8").splitlines()
    server = RunsServer([json.loads(line) for line in lines])
    server.moment = len(lines)
    with server.listening() as base_url:
        syncer = Syncer(swept_engine, base_url)
        syncer.track(server.thread_ids)
        assert syncer.sync().outcome is Outcome.SUCCEEDED

    found = query(swept_engine, COSTS)

    expected = of_all(server.payloads().values())
    assert {run_id: cost for run_id, _, cost in found} == expected
    assert len(found) == 24
    # Seven of gpt-4o-mini: four with 88 completion tokens, three with 89; one of gpt-4.
    mini = 7 * 381 * Decimal("0.15") + (4 * 88 + 3 * 89) * Decimal("0.6")
    total = (mini + 27 * 30 + 16 * 60) / 1_000_000
    assert total == Decimal("0.00254145")
    assert query(swept_engine, TOTAL) == [(total, 8, 0, 16)]


def test_the_demo_world_costs_what_a_hand_calculation_says(swept_engine: Engine) -> None:
    world = World(seed=1)
    with DemoServer(world, now=world.now) as server:
        syncer = Syncer(swept_engine, server.base_url)
        syncer.track(list(server.thread_ids))
        assert syncer.sync().outcome is Outcome.SUCCEEDED

    expected = of_all(world.all_payloads(at=world.now))
    assert {run: cost for run, _, cost in query(swept_engine, COSTS)} == expected
    known = [cost for cost in expected.values() if cost is not None]
    assert len(known) > 500
    assert query(swept_engine, TOTAL) == [
        (sum(known), len(known), 0, len(expected) - len(known))
    ]


def test_cached_tokens_are_counted_once(connection: Connection) -> None:
    put(connection, Row(run_id="run_1", prompt=1_000_000, cached=400_000, completion=0))

    # 600,000 at 2.50 and 400,000 at 1.25
    assert the_rows(connection, COSTS) == [("run_1", "priced", Decimal("2.00"))]
    assert the_row(connection, TOTAL) == (Decimal("2.00"), 1, 0, 0)


def test_reasoning_is_part_of_the_output_and_costs_nothing_more(
    connection: Connection,
) -> None:
    put(connection, Row(run_id="run_1", prompt=0, completion=1_000_000, reasoning=900_000))

    assert the_rows(connection, COSTS) == [("run_1", "priced", Decimal(10))]


def test_a_price_that_changes_at_noon_holds_from_that_microsecond_on(
    connection: Connection,
) -> None:
    set_price(connection, "gpt-4o", NOON, input="5", output="20", cached_input="5")
    moments = {
        "run_1": NOON - timedelta(hours=12),
        "run_2": NOON - timedelta(microseconds=1),
        "run_3": NOON,
        "run_4": NOON + timedelta(hours=11, minutes=59),
        "run_5": NOON + timedelta(hours=12),
        "run_6": NOON - timedelta(hours=12, microseconds=1),
    }
    put(connection, *(a_million(n, created_at=at) for n, at in moments.items()))

    assert {run: cost for run, _, cost in the_rows(connection, COSTS)} == {
        "run_1": Decimal("2.5"),
        "run_2": Decimal("2.5"),
        "run_3": Decimal(5),
        "run_4": Decimal(5),
        "run_5": Decimal(5),
        "run_6": Decimal("2.5"),
    }
    by_day = (
        "SELECT day::text, runs, cost_usd FROM run_analytics.token_usage_daily ORDER BY 1"
    )
    assert the_rows(connection, by_day) == [
        ("2026-11-19", 1, Decimal("2.5")),
        ("2026-11-20", 4, Decimal(15)),
        ("2026-11-21", 1, Decimal(5)),
    ]


def test_an_unknown_price_is_null_counted_and_listed(connection: Connection) -> None:
    put(
        connection,
        Row(run_id="run_1", model="llama-3", total=1_100),
        Row(run_id="run_2", model=None),
        Row(run_id="run_3", model="llama-3", prompt=None, completion=None),
        Row(run_id="run_4", prompt=1_000_000, completion=0),
    )

    assert the_rows(connection, COSTS) == [
        ("run_1", "unpriced", None),
        ("run_2", "unpriced", None),
        ("run_3", "no_usage", None),
        ("run_4", "priced", Decimal("2.5")),
    ]
    assert the_row(connection, TOTAL) == (Decimal("2.5"), 1, 2, 1)
    listed = """
        SELECT model, provider, unpriced_runs, total_tokens
        FROM run_analytics.unpriced_models ORDER BY model
    """
    assert the_rows(connection, listed) == [
        ("llama-3", "openai", 1, 1_100),
        (None, "openai", 1, 0),
    ]


def test_a_run_without_usage_is_not_a_run_for_nothing(connection: Connection) -> None:
    put(
        connection,
        Row(run_id="run_1", prompt=None, completion=None),
        Row(run_id="run_2", prompt=0, completion=0),
    )

    assert the_rows(connection, COSTS) == [
        ("run_1", "no_usage", None),
        ("run_2", "priced", Decimal(0)),
    ]
    assert the_row(connection, TOTAL) == (Decimal(0), 1, 0, 1)


def test_a_day_without_any_usage_has_no_cost_at_all(connection: Connection) -> None:
    put(connection, Row(run_id="run_1", prompt=None, completion=None))

    assert the_row(connection, TOTAL) == (None, 0, 0, 1)


@pytest.mark.parametrize(
    ("told", "cost"),
    [
        ({"prompt": 100, "cached": 1_000_000, "completion": 0}, "0.000125"),
        ({"prompt": 100, "cached": -7, "completion": 0}, "0.00025"),
        ({"prompt": None, "cached": 50, "completion": 100}, "0.001"),
        ({"prompt": 100, "cached": None, "completion": None}, "0.00025"),
        ({"prompt": 2**62, "cached": 0, "completion": 0}, "11529215046068.46976"),
    ],
)
def test_what_a_server_says_against_itself_costs_no_more_than_the_prompt(
    connection: Connection, told: dict[str, int | None], cost: str
) -> None:
    put(connection, Row(run_id="run_1", **told))  # type: ignore[arg-type]

    assert the_rows(connection, COSTS) == [("run_1", "priced", Decimal(cost))]
    assert the_row(connection, TOTAL) == (Decimal(cost), 1, 0, 0)


def test_without_a_cached_price_cached_input_costs_as_input(connection: Connection) -> None:
    put(connection, Row(run_id="run_1", model="gpt-4", prompt=1_000_000, cached=1_000_000))

    assert the_row(connection, TOTAL)[0] == Decimal(30) + 100 * Decimal("0.00006")


def test_a_model_is_priced_once_input_and_output_both_are(connection: Connection) -> None:
    put(connection, Row(run_id="run_1", model="mine"))
    long_ago = NOON - timedelta(days=900)

    set_price(connection, "mine", long_ago, input="1")
    half = the_row(connection, TOTAL)
    set_price(connection, "mine", long_ago, output="2")

    assert half == (None, 0, 1, 0)
    assert the_row(connection, TOTAL) == (Decimal("0.0012"), 1, 0, 0)


def test_a_users_price_wins_from_its_day_on_whatever_was_collected_since(
    connection: Connection,
) -> None:
    """The price of o3 went from 10 to 2 dollars on 2025-06-10."""
    told = {
        "run_1": datetime(2025, 5, 1, tzinfo=NOON.tzinfo),
        "run_2": datetime(2025, 6, 5, tzinfo=NOON.tzinfo),
        "run_3": datetime(2025, 6, 10, tzinfo=NOON.tzinfo),
    }
    put(
        connection,
        *(a_million(n, created_at=at, model="o3") for n, at in told.items()),
    )
    before = [cost for _, _, cost in the_rows(connection, COSTS)]

    set_price(connection, "o3", datetime(2025, 6, 1, tzinfo=NOON.tzinfo), input="7")

    assert before == [10, 10, 2]
    assert [cost for _, _, cost in the_rows(connection, COSTS)] == [10, 7, 7]


@pytest.mark.parametrize(
    ("name", "stands_for", "found_by"),
    [
        ("gpt-4o", "gpt-4o", "name"),
        ("gpt-4o-2024-08-06", "gpt-4o", "other name"),
        ("gpt-4o-2024-05-13", "gpt-4o-2024-05-13", "name"),
        ("gpt-4.1-2031-01-01", "gpt-4.1", "name without date"),
        ("gpt-35-turbo", "gpt-3.5-turbo", "other name"),
        ("ft:gpt-4o-mini-2024-07-18:shop::x1", "ft:gpt-4o-mini", "beginning of the name"),
        ("support-bot", "gpt-4o", "configuration"),
        ("gpt-4o-mini", "gpt-4.1", "configuration"),
        ("nobody-knows", None, None),
        ("points-nowhere", None, None),
    ],
)
def test_a_name_stands_for_a_priced_model(
    connection: Connection, name: str, stands_for: str | None, found_by: str | None
) -> None:
    deployments = {
        "support-bot": "gpt-4o-2024-08-06",
        "gpt-4o-mini": "gpt-4.1",
        "points-nowhere": "not-a-model",
    }
    statement = sa.text("INSERT INTO run_analytics.deployments VALUES (1, :name, :model)")
    connection.execute(
        statement, [{"name": key, "model": value} for key, value in deployments.items()]
    )
    put(connection, Row(run_id="run_1", model=name))

    found = "SELECT model, price_model, found_by FROM run_analytics.priced_models"
    assert the_row(connection, found) == (name, stands_for, found_by)


def test_each_source_has_the_prices_of_its_provider(connection: Connection) -> None:
    connection.execute(
        sa.text(
            "INSERT INTO run_sync.sources (source_id, name, kind, base_url, price_provider)"
            " OVERRIDING SYSTEM VALUE VALUES (2, 'other', 'openai', 'http://x/v1', 'azure')"
        )
    )
    set_price(
        connection, "gpt-4o", NOON - timedelta(9), provider="azure", input="3", output="0"
    )
    put(
        connection,
        a_million("run_1"),
        a_million("run_2", source_id=2),
    )

    assert [cost for _, _, cost in the_rows(connection, COSTS)] == [Decimal("2.5"), 3]


def test_a_day_of_another_time_zone_has_that_days_runs(connection: Connection) -> None:
    """Midnight in Kathmandu is 18:15 in UTC."""
    put(
        connection,
        Row(run_id="run_1", created_at=NOON + timedelta(hours=6, minutes=14)),
        Row(run_id="run_2", created_at=NOON + timedelta(hours=6, minutes=15)),
        Row(run_id="run_3", created_at=NOON + timedelta(hours=30, minutes=14)),
        Row(run_id="run_4", created_at=NOON + timedelta(hours=30, minutes=15)),
    )
    days = "SELECT day::text, sum(runs) FROM run_analytics.token_usage_daily_in"

    whole = the_rows(connection, f"{days}('Asia/Kathmandu') GROUP BY 1 ORDER BY 1")
    part = the_rows(
        connection, f"{days}('Asia/Kathmandu', '2026-11-21', '2026-11-21') GROUP BY 1"
    )

    assert whole == [("2026-11-20", 1), ("2026-11-21", 2), ("2026-11-22", 1)]
    assert part == [("2026-11-21", 2)]


def test_a_version_that_a_provider_does_not_price_costs_as_its_model(
    connection: Connection,
) -> None:
    """OpenAI has a price of its own for gpt-4o-2024-05-13, this provider has not."""
    connection.execute(sa.text("UPDATE run_sync.sources SET price_provider = 'azure'"))
    since = NOON - timedelta(9)
    set_price(connection, "gpt-4o", since, provider="azure", input="3", output="0")
    put(connection, a_million("run_1", model="gpt-4o-2024-05-13"))

    assert the_rows(connection, COSTS) == [("run_1", "priced", 3)]


def test_of_two_beginnings_the_longer_one_counts(connection: Connection) -> None:
    connection.execute(
        sa.text(
            "INSERT INTO run_analytics.model_names VALUES"
            " ('openai', 'ours-', 'beginning', 'gpt-4o', 'test'),"
            " ('openai', 'ours-small-', 'beginning', 'gpt-4o-mini', 'test'),"
            " ('openai', 'ours-s', 'beginning', 'gpt-4', 'test')"
        )
    )
    put(connection, a_million("run_1", model="ours-small-7"))

    assert the_rows(connection, COSTS) == [("run_1", "priced", Decimal("0.15"))]


def test_a_version_priced_by_half_costs_as_its_model(connection: Connection) -> None:
    set_price(connection, "gpt-4o-2024-08-06", NOON - timedelta(9), input="7")
    put(connection, a_million("run_1", model="gpt-4o-2024-08-06"))

    assert the_rows(connection, COSTS) == [("run_1", "priced", Decimal("2.5"))]


def test_on_a_day_that_is_priced_from_noon_on_only_the_morning_is_listed(
    connection: Connection,
) -> None:
    set_price(connection, "mine", NOON, input="1", output="1")
    put(
        connection,
        Row(run_id="run_1", model="mine", created_at=NOON - timedelta(hours=1), total=30),
        Row(run_id="run_2", model="mine", created_at=NOON + timedelta(hours=1), total=500),
    )

    listed = "SELECT unpriced_runs, total_tokens FROM run_analytics.unpriced_models"
    assert the_rows(connection, listed) == [(1, 30)]


def test_before_a_version_has_its_own_price_that_of_its_model_holds(
    connection: Connection,
) -> None:
    version = "gpt-4o-2024-08-06"
    set_price(connection, version, NOON, input="7", output="7")
    set_price(connection, "gpt-4o", NOON - timedelta(hours=1), input="3")
    set_price(connection, "gpt-4o", NOON + timedelta(hours=2), input="9")
    for run_id, hours in {"run_1": -2, "run_2": -0.5, "run_3": 1, "run_4": 3}.items():
        at = NOON + timedelta(hours=hours)
        put(connection, a_million(run_id, model=version, created_at=at))

    costs = [cost for _, _, cost in the_rows(connection, COSTS)]
    assert costs == [Decimal("2.5"), 3, 7, 7]
    assert the_row(connection, TOTAL) == (Decimal("19.5"), 4, 0, 0)


def test_a_price_that_has_yet_to_begin_names_no_model_yet(connection: Connection) -> None:
    version = "gpt-4o-2024-08-06"
    put(connection, a_million("run_1", model=version))
    named = "SELECT price_model FROM run_analytics.priced_models"

    set_price(connection, version, datetime(2100, 1, 1, tzinfo=UTC), input="7", output="7")
    before = the_row(connection, named)
    set_price(connection, version, NOON - timedelta(9), input="7", output="7")

    assert before == ("gpt-4o",)
    assert the_row(connection, named) == (version,)
