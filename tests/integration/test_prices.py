"""Which price holds for which run, and what a change of prices does to costs."""

from datetime import datetime, timedelta
from decimal import Decimal
from functools import partial

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy.engine import Connection, Engine

from etl.analytics.prices.acceptance import accept, withdraw
from etl.analytics.prices.changes import applied, prices_noted, tried, write
from etl.analytics.prices.costs import compared, costs_by_day, total
from etl.analytics.prices.price import BEGINNING, KINDS, Price
from etl.domain.errors import ConfigError
from tests.integration.builders import execute, query, row_versions
from tests.integration.pricing import (
    BORDERS,
    SEEDED,
    forget_own_prices,
    instant,
    undone,
)

APRIL = instant("2026-04-01T00:00:00Z")
MICROSECOND = timedelta(microseconds=1)


@pytest.fixture
def engine(priced: Engine) -> Engine:
    return priced


def prices(
    model: str,
    *amounts: str | None,
    since: datetime = BEGINNING,
    provider: str = "openai",
) -> list[Price]:
    """Prices of input, cached input and output, in this order."""
    return [
        Price(
            provider=provider,
            model=model,
            token_kind=kind,
            usd_per_million=Decimal(usd),
            effective_from=since,
        )
        for kind, usd in zip(KINDS, amounts, strict=False)
        if usd is not None
    ]


def put(engine: Engine, *told: list[Price]) -> None:
    with engine.begin() as connection:
        write(connection, [price for each in told for price in each])


def costs(engine: Engine | Connection) -> dict[str, Decimal | None]:
    """What each run costs."""
    statement = "SELECT run_id, cost_usd FROM run_analytics.run_costs"
    if isinstance(engine, Engine):
        return {run_id: cost for run_id, cost in query(engine, statement)}  # noqa: C416
    return {row.run_id: row.cost_usd for row in engine.exec_driver_sql(statement)}


def found(engine: Engine, model: str) -> tuple[str | None, str | None]:
    """The priced model that a name stands for, and how it was found."""
    [row] = query(
        engine,
        "SELECT price_model, found_by FROM run_analytics.priced_models"
        " WHERE model = :model AND source = 'demo'",
        model=model,
    )
    return row[0], row[1]


# Names -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "model", "found_by", "cost"),
    [
        ("gpt-4o", "gpt-4o", "name", SEEDED),
        ("gpt-4o-2024-08-06", "gpt-4o", "other name", SEEDED),
        ("gpt-4o-2031-01-01", "gpt-4o", "name without date", SEEDED),
        ("gpt-35-turbo", "gpt-3.5-turbo", "other name", Decimal("0.65")),
        (
            "ft:gpt-4o-mini-2024-07-18:org::id",
            "ft:gpt-4o-mini",
            "beginning of the name",
            Decimal("0.42"),
        ),
        ("support-bot", "gpt-4o", "configuration", SEEDED),
        ("house-model", None, None, None),
    ],
)
def test_a_name_leads_to_the_price_of_its_model(
    engine: Engine, name: str, model: str | None, found_by: str | None, cost: Decimal | None
) -> None:
    assert found(engine, name) == (model, found_by)
    assert costs(engine)[f"run_{name}"] == cost


def test_a_name_that_only_the_user_prices_has_the_users_price(engine: Engine) -> None:
    put(engine, prices("house-model", "1", None, "10"))

    assert found(engine, "house-model") == ("house-model", "name")
    assert costs(engine)["run_house-model"] == Decimal(2)


def test_the_users_price_of_a_versioned_name_wins_for_that_name_alone(
    engine: Engine,
) -> None:
    put(engine, prices("gpt-4o-2024-08-06", "1", "1", "1"))

    after = costs(engine)
    assert found(engine, "gpt-4o-2024-08-06") == ("gpt-4o-2024-08-06", "name")
    assert after["run_gpt-4o-2024-08-06"] == Decimal("1.1")
    assert after["run_support-bot"] == Decimal("1.1")
    assert after["run_gpt-4o"] == after["run_gpt-4o-2031-01-01"] == SEEDED


def test_a_source_of_another_provider_has_only_that_providers_prices(
    engine: Engine,
) -> None:
    assert costs(engine)["run_mine"] is None

    put(engine, prices("gpt-4o", "1", "1", "1", provider="mine"))

    assert costs(engine)["run_mine"] == Decimal("1.1")
    assert costs(engine)["run_gpt-4o"] == SEEDED


# Validity --------------------------------------------------------------------


def test_a_price_holds_from_its_instant_on_to_the_microsecond(engine: Engine) -> None:
    last, first = (f"run_{each}" for each in BORDERS)
    for since, expected in (
        (APRIL, (SEEDED, Decimal("1.1"))),
        (APRIL + MICROSECOND, (SEEDED, SEEDED)),
        (APRIL - MICROSECOND, (Decimal("1.1"), Decimal("1.1"))),
    ):
        forget_own_prices(engine)
        put(engine, prices("gpt-4o", "1", "1", "1", since=since))

        after = costs(engine)
        assert (after[last], after[first]) == expected
        assert after["run_gpt-4o"] == SEEDED


def test_a_price_ends_where_the_next_one_of_its_kind_begins(engine: Engine) -> None:
    put(
        engine,
        prices("gpt-4o", "1", "1", "1"),
        prices("gpt-4o", "2", since=APRIL),
    )

    after = costs(engine)
    assert after[f"run_{BORDERS[0]}"] == Decimal("1.1")
    assert after[f"run_{BORDERS[1]}"] == Decimal("1.7")


def test_a_kind_that_the_user_does_not_price_keeps_its_seeded_price(
    engine: Engine,
) -> None:
    put(engine, prices("gpt-4o", None, None, "20"))

    assert costs(engine)["run_gpt-4o"] == Decimal("4.00")


def test_cached_input_without_a_price_costs_as_input(engine: Engine) -> None:
    put(engine, prices("house-model", "3", None, "0"))

    assert costs(engine)["run_house-model"] == Decimal(3)


START = instant("2026-01-01T00:00:00Z")
CHANGES = st.lists(
    st.builds(
        Price,
        provider=st.just("openai"),
        model=st.just("gpt-4o"),
        token_kind=st.sampled_from(KINDS),
        usd_per_million=st.decimals(min_value=0, max_value=100, places=6),
        effective_from=st.one_of(
            st.just(BEGINNING),
            st.sampled_from([APRIL, APRIL - MICROSECOND, APRIL + MICROSECOND]),
            st.integers(0, 120).map(lambda days: START + timedelta(days=days)),
        ),
    ),
    max_size=6,
    unique_by=lambda each: each.key,
)
RUNS = {
    "run_gpt-4o": instant("2026-01-15T12:00:00Z"),
    "run_gpt-4o-2031-01-01": instant("2026-02-01T00:00:00Z"),
    **{f"run_{each}": instant(each) for each in BORDERS},
}
SEEDS = dict(zip(KINDS, map(Decimal, ("2.5", "1.25", "10")), strict=True))


def cost_of(created_at: datetime, told: list[Price]) -> Decimal:
    """What a run costs by the rule as docs/prices.md tells it."""

    def usd(kind: str) -> Decimal:
        mine = [
            each
            for each in told
            if each.token_kind == kind and each.effective_from <= created_at
        ]
        if not mine:
            return SEEDS[kind]
        return max(mine, key=lambda each: each.effective_from).usd_per_million

    tokens = dict(zip(KINDS, (600_000, 400_000, 100_000), strict=True))
    return sum((usd(kind) * tokens[kind] for kind in KINDS), Decimal(0)) / 1_000_000


def summed(told: dict[str, Decimal | None]) -> Decimal:
    """The costs of source demo together."""
    return sum((cost or Decimal(0) for cost in told.values()), Decimal(0))


@settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(told=CHANGES)
def test_a_change_of_prices_changes_just_the_costs_that_its_validity_names(
    engine: Engine, told: list[Price]
) -> None:
    with undone(engine) as connection:
        before = costs(connection)
        by_day_before = costs_by_day(connection, ["openai"])
        write(connection, told)
        after = costs(connection)
        by_day = costs_by_day(connection, ["openai"])

    for run_id, created_at in RUNS.items():
        assert after[run_id] == cost_of(created_at, told)
        if all(each.effective_from > created_at for each in told):
            assert after[run_id] == before[run_id]
    for run_id in ("run_gpt-35-turbo", "run_house-model", "run_mine", "run_silent"):
        assert after[run_id] == before[run_id]
    assert total(by_day.values()).cost_usd == summed(after)
    months = compared(by_day_before, by_day)
    assert sum(each.usd for each in months) == summed(after) - summed(before)
    concerned = [run_id for run_id in after if after[run_id] != before[run_id]]
    assert sum(each.before.runs for each in months) == len(concerned)


# Changes ---------------------------------------------------------------------


def test_a_change_tells_what_each_month_of_each_model_cost_before_and_after(
    engine: Engine,
) -> None:
    effect = applied(
        engine,
        ["openai"],
        partial(accept, prices=prices("gpt-4o", "1", "1", "1", since=APRIL)),
    )

    [month] = effect.costs
    assert (month.source, month.model, f"{month.month}") == ("demo", "gpt-4o", "2026-04-01")
    assert month.before == (1, 0, SEEDED)
    assert month.after == (1, 0, Decimal("1.1"))
    assert month.usd == Decimal("-1.9")
    assert costs(engine)[f"run_{BORDERS[1]}"] == Decimal("1.1")


def test_a_change_that_is_tried_tells_the_same_and_writes_nothing(engine: Engine) -> None:
    change = partial(accept, prices=prices("house-model", "1", None, "1", since=START))
    before = row_versions(engine, "run_analytics", "run_sync"), costs(engine)

    promised = tried(engine, ["openai"], change)

    assert (row_versions(engine, "run_analytics", "run_sync"), costs(engine)) == before
    assert applied(engine, ["openai"], change) == promised
    [month] = promised.costs
    assert (month.before, month.after) == ((1, 1, None), (1, 0, Decimal("1.1")))


def test_runs_that_a_sync_writes_meanwhile_are_no_effect_of_a_change(
    engine: Engine,
) -> None:
    def more_tokens(tokens: int) -> None:
        execute(
            engine,
            f"UPDATE run_history.runs SET completion_tokens = {tokens}"
            " WHERE run_id = 'run_gpt-4o'",
        )

    def change(connection: Connection) -> None:
        more_tokens(200_000)  # is not held up by the change, or this would never end
        accept(connection, prices("gpt-4o", "1", "1", "1", since=APRIL))

    try:
        effect = tried(engine, ["openai"], change)
        assert costs(engine)["run_gpt-4o"] == SEEDED + 1
    finally:
        more_tokens(100_000)

    assert [f"{each.month:%Y-%m}" for each in effect.costs] == ["2026-04"]


def test_writing_the_same_twice_changes_nothing_the_second_time(engine: Engine) -> None:
    change = partial(accept, prices=prices("gpt-4o", "1", "1", "1"))
    first = applied(engine, ["openai"], change)
    before = row_versions(engine, "run_analytics")

    second = applied(engine, ["openai"], change)

    assert (first.done.written.added, second.done.written.unchanged) == (3, 3)
    assert second.costs == ()
    assert row_versions(engine, "run_analytics") == before


def test_what_is_exported_and_taken_in_again_changes_nothing(engine: Engine) -> None:
    put(engine, prices("gpt-4o", "1"), prices("house-model", "2", None, "3", since=APRIL))
    before = row_versions(engine, "run_analytics")
    with engine.connect() as connection:
        exported = prices_noted(connection)

    effect = applied(engine, ["openai"], partial(accept, prices=exported))

    written = effect.done.written
    assert (written.added, written.changed, written.unchanged) == (0, 0, 3)
    assert written.left == len(exported) - 3 > 200
    assert row_versions(engine, "run_analytics") == before


def test_a_seeded_price_that_was_changed_in_an_export_becomes_the_users(
    engine: Engine,
) -> None:
    with engine.connect() as connection:
        [seeded] = [
            each
            for each in prices_noted(connection)
            if (each.model, each.token_kind) == ("gpt-4o", "output")
        ]
    edited = Price(
        provider=seeded.provider,
        model=seeded.model,
        token_kind=seeded.token_kind,
        usd_per_million=Decimal(20),
        effective_from=seeded.effective_from,
        origin=seeded.origin,
    )

    put(engine, [edited])

    assert costs(engine)["run_gpt-4o"] == Decimal("4.00")
    assert query(
        engine,
        "SELECT origin, usd_per_million FROM run_analytics.model_prices"
        " WHERE model = 'gpt-4o' AND token_kind = 'output' ORDER BY origin",
    ) == [(seeded.origin, Decimal(10)), ("user", Decimal(20))]


def test_two_prices_that_contradict_each_other_are_refused_and_none_is_written(
    engine: Engine,
) -> None:
    told = [*prices("gpt-4o", "1"), *prices("gpt-4o", "2"), *prices("o1", "1")]
    before = row_versions(engine, "run_analytics")

    with pytest.raises(ConfigError) as caught:
        applied(engine, ["openai"], partial(accept, prices=told))

    assert str(caught.value) == (
        "There are two prices for input tokens of gpt-4o from 1970-01-01 on, 1 and 2;"
        " leave one of them out."
    )
    assert row_versions(engine, "run_analytics") == before


def test_what_is_taken_away_lets_the_seeded_price_hold_again(engine: Engine) -> None:
    put(
        engine,
        prices("gpt-4o", "1", "1", "1"),
        prices("gpt-4o", "2", since=APRIL),
        prices("o1", "1"),
    )
    take = partial(withdraw, provider="openai", model="gpt-4o")

    one = applied(engine, ["openai"], partial(take, since=APRIL))
    assert [each.effective_from for each in one.done.prices] == [APRIL]
    assert costs(engine)[f"run_{BORDERS[1]}"] == Decimal("1.1")

    rest = applied(engine, ["openai"], partial(take, since=None))
    assert len(rest.done.prices) == 3
    assert costs(engine)["run_gpt-4o"] == SEEDED
    assert query(
        engine, "SELECT model FROM run_analytics.model_prices WHERE origin = 'user'"
    ) == [("o1",)]


def test_a_model_without_a_whole_price_is_told(engine: Engine) -> None:
    def gaps(told: list[Price]) -> list[tuple[object, ...]]:
        effect = tried(engine, ["openai"], partial(accept, prices=told))
        return [tuple(each) for each in effect.done.gaps]

    assert gaps(prices("house-model", "1")) == [
        ("openai", "house-model", ("output",), None)
    ]
    assert gaps(prices("house-model", None, "1")) == [
        ("openai", "house-model", ("input", "output"), None)
    ]
    assert gaps(
        prices("house-model", "1") + prices("house-model", None, None, "1", since=APRIL)
    ) == [("openai", "house-model", ("output",), APRIL)]
    assert gaps(prices("house-model", "1", None, "1")) == []
    assert gaps(prices("gpt-4o", None, "1")) == []


def test_a_providers_prices_that_no_source_has_are_told(engine: Engine) -> None:
    told = prices("x", "1", "1", "1", provider="nobody") + prices("x", "1", provider="mine")

    effect = tried(engine, ["nobody", "mine"], partial(accept, prices=told))

    assert effect.done.unused_providers == ("nobody",)
