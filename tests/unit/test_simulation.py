"""The simulation of whom a night should ask, on small worlds of every distribution."""

import numpy as np
import pytest

from scripts.simulating.__main__ import main
from scripts.simulating.choices import budget, due, everybody, hints, oracle
from scripts.simulating.contest import FACTORS, USUAL, Standing
from scripts.simulating.document import PAGE, PLACE, filled
from scripts.simulating.gaps import TRIED
from scripts.simulating.nights import Choice, Year, simulated
from scripts.simulating.registry import MAX_INTERVAL, Registry
from scripts.simulating.rules import OTHERS, OURS, Rule
from scripts.simulating.tables import beats_ours
from scripts.simulating.world import WARM_NIGHTS, YEAR_NIGHTS, World

THREADS = 1_000
SEED = 7
COSTS = 0.13
"""What f = 0.1 may cost at most, of the requests of asking everybody each night."""


@pytest.fixture(scope="module")
def worlds() -> dict[str, World]:
    return {each.name: World.made(each, threads=THREADS, seed=SEED) for each in TRIED}


@pytest.fixture(scope="module")
def usual(worlds: dict[str, World]) -> dict[str, Year]:
    """Ours at the usual f."""
    return {name: year(world, OURS, due(USUAL)) for name, world in worlds.items()}


@pytest.fixture(scope="module")
def standings(worlds: dict[str, World], usual: dict[str, Year]) -> list[Standing]:
    """Every rule at the requests of ours."""
    return [
        Standing(
            name=name,
            meaning="",
            threads=world.threads,
            runs=world.runs,
            recent=0.0,
            years={
                f"equal {rule.name}": year(world, rule, budget(usual[name].share))
                for rule in (OURS, *OTHERS)
            },
        )
        for name, world in worlds.items()
    ]


def year(world: World, rule: Rule, choice: Choice) -> Year:
    return simulated(Registry(world, rule), choice)


def test_our_rule_costs_an_eighth_of_asking_everybody(usual: dict[str, Year]) -> None:
    shares = {name: round(each.share, 3) for name, each in usual.items()}

    assert {name: share for name, share in shares.items() if share > COSTS} == {}


def test_no_other_rule_beats_ours_by_a_fifth_at_equal_requests(
    standings: list[Standing],
) -> None:
    better = [rule.name for rule in OTHERS if beats_ours(standings, f"equal {rule.name}")]

    assert better == []


def test_every_rule_finds_each_run_once(
    standings: list[Standing], usual: dict[str, Year]
) -> None:
    for each in standings:
        found = {name: year.found for name, year in each.years.items()}
        assert found == dict.fromkeys(found, each.runs)
        assert usual[each.name].found == each.runs


@pytest.mark.parametrize("choice", [everybody, oracle, hints])
def test_whoever_asks_all_that_changed_is_never_late(
    choice: Choice, worlds: dict[str, World]
) -> None:
    never = Rule(name="checks only", wait=lambda known: known.idle + np.float32(np.inf))

    worst = [
        year(world, never, choice).lateness.worst
        for world in (worlds["Pareto 0.8"], worlds["conversations"], worlds["seasonal"])
    ]

    assert worst == [0, 0, 0]


def test_every_run_of_the_year_is_counted_with_its_lateness(
    worlds: dict[str, World], usual: dict[str, Year]
) -> None:
    for name, world in worlds.items():
        nights = world.nights
        is_counted = (nights >= WARM_NIGHTS) & (nights < WARM_NIGHTS + YEAR_NIGHTS)
        assert usual[name].lateness.runs == int(is_counted.sum())


def test_more_requests_never_mean_a_later_mean(worlds: dict[str, World]) -> None:
    for name in ("exponential", "Pareto 0.6", "seasonal"):
        years = [year(worlds[name], OURS, due(factor)) for factor in FACTORS]
        requests = [each.requests for each in years]
        means = [each.lateness.mean for each in years]
        assert (requests, means) == (sorted(requests, reverse=True), sorted(means))


def test_a_budget_is_kept_and_nobody_waits_longer_than_the_longest_interval(
    worlds: dict[str, World],
) -> None:
    kept = year(worlds["Pareto 0.8"], OURS, budget(0.1))

    assert kept.share <= 0.1
    assert kept.longest_wait == MAX_INTERVAL


def test_the_same_seed_gives_the_same_figures_and_another_seed_others() -> None:
    first, same, other = (
        year(World.made(TRIED[2], threads=500, seed=seed), OURS, due(USUAL))
        for seed in (1, 1, 2)
    )

    assert (first.requests, first.factor) == (same.requests, same.factor)
    assert first.lateness.counts.tolist() == same.lateness.counts.tolist()
    assert first.lateness.counts.tolist() != other.lateness.counts.tolist()


def test_the_page_has_a_place_for_every_table_and_keeps_its_words() -> None:
    page = PAGE.read_text("utf-8")
    names = [found["name"] for found in PLACE.finditer(page)]

    again = filled(page, {name: f"| {name} |\n" for name in names})

    tables = ["worlds", "rules", "factors", "equals", "nearest", "budgets", "outage"]
    assert names == ["made", *tables]
    assert PLACE.split(again)[::4] == PLACE.split(page)[::4]
    assert [f"\n| {name} |\n\n" in again for name in names] == [True] * 8


def test_a_number_of_threads_out_of_bounds_is_told(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["--threads", "3"]) == 2

    assert capsys.readouterr() == (
        "",
        "--threads is 3; give a number from 500 to 5,000,000.\n",
    )
