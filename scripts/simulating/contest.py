"""What is tried on one world: each rule a year long, on the same activities."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from scripts.simulating.choices import (
    budget,
    due,
    everybody,
    hints,
    interrupted,
    oracle,
)
from scripts.simulating.gaps import TRIED, Gaps
from scripts.simulating.nights import Choice, Year, simulated
from scripts.simulating.registry import MAX_INTERVAL, Registry
from scripts.simulating.rules import ALIKE, OTHERS, OURS, TIERS, Rule
from scripts.simulating.world import OUTAGE, WARM_NIGHTS, YEAR_NIGHTS, World

USUAL = 0.1
FACTORS = (0.02, 0.05, USUAL, 0.2, 0.5, 1.0)
BUDGETS = (0.02, 0.05, 0.1, 0.2, 0.5)
OUTAGE_BUDGETS = (0.1, 0.2)
IDLE = next(rule for rule in OTHERS if rule.name == "idle")
NEAREST = tuple(
    rule
    for rule in OTHERS
    if rule.name in {"idle", "idle + 10 days", "(idle + 5 days)^0.75"}
)
"""What comes nearest to ours, and so is compared at the requests of other f, too."""
OTHER_FACTORS = (0.05, 0.2, 0.5)
RECENT_DAYS = 7
CONTEST_THREADS = 50_000
"""More are not needed to tell rules apart at equal requests."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """A world and what became of it under each rule, by the rule's key."""

    name: str
    meaning: str
    threads: int
    runs: int
    recent: float
    """The share of threads with a run within a week, when the year ends."""
    years: dict[str, Year]


def stood(gaps: Gaps, *, threads: int, seed: int) -> Standing:
    """All rules on one world; the others are compared on the first of its threads."""
    world = World.made(gaps, threads=threads, seed=seed)
    years = dict(_costs(world)) | dict(_budgets(world)) | dict(_outages(world))
    less = world
    if threads > CONTEST_THREADS:
        less = World.made(gaps, threads=CONTEST_THREADS, seed=seed)
    years |= dict(_equals(less))
    return Standing(
        name=gaps.name,
        meaning=gaps.meaning,
        threads=threads,
        runs=world.runs,
        recent=_recent(world),
        years=years,
    )


def stood_at(place: int, *, threads: int, seed: int) -> Standing:
    """The world of one of the distributions; a process can be told a place only."""
    return stood(TRIED[place], threads=threads, seed=seed)


def _costs(world: World) -> Iterator[tuple[str, Year]]:
    yield "everybody", _year(world, ALIKE, everybody)
    yield "tiers", _year(world, TIERS, due(1))
    for factor in FACTORS:
        yield f"f {factor}", _year(world, OURS, due(factor))
    yield f"idle {USUAL}", _year(world, IDLE, due(USUAL))
    yield "oracle", _year(world, ALIKE, oracle)
    never = Rule(name="checks only", wait=lambda known: known.idle + np.float32(np.inf))
    yield "hints", _year(world, never, hints)


def _budgets(world: World) -> Iterator[tuple[str, Year]]:
    for share in BUDGETS:
        yield f"budget {share}", simulated(_within(world, OURS, share), budget(share))
    least = min(BUDGETS)
    yield "overload, checks first", _year(world, OURS, budget(least))


def _outages(world: World) -> Iterator[tuple[str, Year]]:
    yield "outage everybody", _year(world, ALIKE, interrupted(everybody, OUTAGE))
    for share in OUTAGE_BUDGETS:
        yield f"outage {share}", _year(world, OURS, interrupted(budget(share), OUTAGE))


def _equals(world: World) -> Iterator[tuple[str, Year]]:
    """All rules at the requests of ours, each night the same share of the registry."""
    usual = budget(_year(world, OURS, due(USUAL)).share)
    for rule in (OURS, *OTHERS):
        yield f"equal {rule.name}", _year(world, rule, usual)
    for rule in (OURS, IDLE):
        together = Registry(world, rule, is_staggered=False)
        yield f"equal {rule.name}, all checked at once", simulated(together, usual)
    for factor in OTHER_FACTORS:
        share = _year(world, OURS, due(factor)).share
        for rule in (OURS, *NEAREST):
            yield f"equal {factor} {rule.name}", _year(world, rule, budget(share))


def _within(world: World, rule: Rule, share: float) -> Registry:
    """Checks come first only where the budget holds them."""
    return Registry(world, rule, has_precedence=share * MAX_INTERVAL >= 1)


def _year(world: World, rule: Rule, choice: Choice) -> Year:
    return simulated(Registry(world, rule), choice)


def _recent(world: World) -> float:
    end = WARM_NIGHTS + YEAR_NIGHTS
    is_recent = (world.times > end - RECENT_DAYS) & (world.times <= end)
    owners = np.searchsorted(world.starts, np.flatnonzero(is_recent), side="right")
    return len(np.unique(owners)) / world.known(end)
