"""The tables of docs/scale.md, from what became of every world."""

from collections.abc import Iterable, Sequence

import numpy as np

from scripts.simulating.contest import (
    BUDGETS,
    FACTORS,
    IDLE,
    NEAREST,
    OTHER_FACTORS,
    OUTAGE_BUDGETS,
    USUAL,
    Standing,
)
from scripts.simulating.lateness import Lateness
from scripts.simulating.nights import Year
from scripts.simulating.rules import OTHERS, OURS
from scripts.simulating.world import OUTAGE, WARM_NIGHTS

Standings = Sequence[Standing]
Ratios = tuple[float, float, float]
"""Of runs over a day late, mean lateness and runs late at all, to those of ours."""

EQUAL = f"equal {OURS.name}"

AT_ONCE = ", all checked at once"
CLOSE = 1.1
A_FIFTH = 0.8
LATENESS = ("late at all", "over a day", "mean days", "p50", "p99", "longest")


def tables(standings: Standings) -> dict[str, str]:
    """Their texts by the names of their places in the document."""
    return {
        "worlds": worlds(standings),
        "rules": rules(standings),
        "factors": factors(standings),
        "equals": equals(standings),
        "nearest": nearest(standings),
        "budgets": budgets(standings),
        "outage": outage(standings),
    }


def worlds(standings: Standings) -> str:
    """Ours at the usual f, in each world."""
    rows = [
        [
            each.name,
            each.meaning,
            f"{each.runs / each.threads:.0f}",
            _percent(each.recent),
            _percent(each.years["oracle"].share),
            _percent(each.years[f"f {USUAL}"].share),
            *_lateness(each.years[f"f {USUAL}"].lateness),
        ]
        for each in standings
    ]
    heads = ["gaps", "what they are", "runs a thread", "active within 7 days"]
    return _table([*heads, "oracle's requests", "our requests", *LATENESS], rows, texts=2)


def rules(standings: Standings) -> str:
    """Rules as they stand, each with its own requests; worlds count alike."""
    named = [
        ("everybody each night", "everybody"),
        ("fixed tiers", "tiers"),
        (f"idle alone, f = {USUAL}", f"idle {USUAL}"),
        (f"ours, f = {USUAL}", f"f {USUAL}"),
        ("the oracle", "oracle"),
        ("the oracle, and a check every 30 days", "hints"),
    ]
    return _by_key(standings, "rule", named)


def factors(standings: Standings) -> str:
    """Ours over f."""
    return _by_key(standings, "f", [(str(f), f"f {f}") for f in FACTORS])


def equals(standings: Standings) -> str:
    """All rules at the requests of ours; what is below 0.8 beats ours by over a fifth."""
    keys = [f"equal {rule.name}" for rule in (OURS, *OTHERS)]
    keys += [f"equal {rule.name}{AT_ONCE}" for rule in (OURS, IDLE)]
    rows = [
        [
            key.removeprefix("equal "),
            *(f"{ratio:.2f}" for ratio in against_ours(standings, key)),
            *_lateness_of(each.years[key] for each in standings)[:5],
        ]
        for key in keys
    ]
    ratios = ["over a day, to ours", "mean, to ours", "late at all, to ours"]
    return _table(["the wait grows with", *ratios, *LATENESS[:5]], rows, texts=1)


def nearest(standings: Standings) -> str:
    """The nearest rules at the requests of other f, and in the world that suits them."""
    rows = []
    for rule in NEAREST:
        ratios = [against_ours(standings, f"equal {rule.name}")]
        for factor in OTHER_FACTORS:
            ours = f"equal {factor} {OURS.name}"
            ratios.append(against_ours(standings, f"equal {factor} {rule.name}", ours))
        world, best = _best_world(standings, f"equal {rule.name}")
        rows.append([rule.name, world, *map(_pair, [best, *ratios])])
    heads = [f"at the requests of f = {factor}" for factor in (USUAL, *OTHER_FACTORS)]
    named = ["the wait grows with", f"does best, at f = {USUAL}, in", "there"]
    return _table([*named, *heads], rows, texts=2)


def _best_world(standings: Standings, key: str) -> tuple[str, Ratios]:
    """The world where the worse of its first two ratios is lowest, and its ratios."""
    alone = [
        (each.name, against_ours([each], key))
        for each in standings
        if _telling([each], key, EQUAL)
    ]
    return min(alone, key=lambda told: max(told[1][:2]))


def _pair(ratios: Ratios) -> str:
    return f"{ratios[0]:.2f} / {ratios[1]:.2f}"


def against_ours(standings: Standings, key: str, ours: str = EQUAL) -> Ratios:
    """Geometric means over the worlds, so that no single one decides."""
    pairs = _telling(standings, key, ours)
    return (
        _geometric(a.over(1) / b.over(1) for a, b in pairs),
        _geometric(a.mean / b.mean for a, b in pairs),
        _geometric(a.over(0) / b.over(0) for a, b in pairs),
    )


def _telling(standings: Standings, key: str, ours: str) -> list[tuple[Lateness, Lateness]]:
    """The worlds in which runs are over a day late under both rules; others say nothing."""
    pairs = [(each.years[key].lateness, each.years[ours].lateness) for each in standings]
    return [(a, b) for a, b in pairs if a.over(1) > 0 and b.over(1) > 0]


def beats_ours(standings: Standings, key: str) -> bool:
    """Whether it is better by over a fifth in one measure and no worse in the other."""
    over, mean, _ = against_ours(standings, key)
    return min(over, mean) < A_FIFTH and max(over, mean) <= 1


def budgets(standings: Standings) -> str:
    """The f that a budget settles at, by itself, and what it leaves late."""
    named = [(f"{share:.0%}", f"budget {share}") for share in BUDGETS]
    named.append((f"{min(BUDGETS):.0%}, checks first", "overload, checks first"))
    rows = [
        [name, *_factors(standings, key), *_lateness_of(years), str(_longest(years))]
        for name, key in named
        for years in [[each.years[key] for each in standings]]
    ]
    heads = ["budget", "f in the median night", "f swings by", *LATENESS]
    return _table([*heads, "longest wait, nights"], rows, texts=1)


def outage(standings: Standings) -> str:
    """Runs of five nights without a sync and of the month after."""
    named = [("everybody each night", "everybody", "outage everybody")]
    named += [
        (f"ours, {share:.0%} a night", f"budget {share}", f"outage {share}")
        for share in OUTAGE_BUDGETS
    ]
    rows = [
        [
            name,
            _percent(np.mean([each.years[usual].month.over(1) for each in standings])),
            _percent(np.mean([each.years[key].month.over(1) for each in standings])),
            f"{np.mean([each.years[usual].month.mean for each in standings]):.2f}",
            f"{np.mean([each.years[key].month.mean for each in standings]):.2f}",
            str(max(_recovery(each.years[usual], each.years[key]) for each in standings)),
        ]
        for name, usual, key in named
    ]
    heads = ["rule", "over a day without it", "with it", "mean days without it", "with it"]
    return _table([*heads, "nights until f is back"], rows, texts=1)


def _recovery(usual: Year, year: Year) -> int:
    """Nights after the outage until f is no higher than without it, give or take 10 %."""
    end = OUTAGE.stop - WARM_NIGHTS
    pairs = zip(year.factor[end:], usual.factor[end:], strict=True)
    is_back = (with_it <= CLOSE * without for with_it, without in pairs)
    return next(night for night, back in enumerate(is_back) if back)


def _by_key(standings: Standings, head: str, named: Iterable[tuple[str, str]]) -> str:
    rows = []
    for name, key in named:
        years = [each.years[key] for each in standings]
        requests = _percent(np.mean([year.share for year in years]))
        rows.append([name, requests, *_lateness_of(years)])
    return _table([head, "requests", *LATENESS], rows, texts=1)


def _lateness_of(years: Iterable[Year]) -> list[str]:
    """Means over worlds; of the percentiles, too, but the longest is the longest."""
    all_ = [year.lateness for year in years]
    return [
        _percent(np.mean([each.over(0) for each in all_])),
        _percent(np.mean([each.over(1) for each in all_])),
        f"{np.mean([each.mean for each in all_]):.2f}",
        f"{np.mean([each.percentile(50) for each in all_]):.0f}",
        f"{np.mean([each.percentile(99) for each in all_]):.0f}",
        str(max(each.worst for each in all_)),
    ]


def _lateness(lateness: Lateness) -> list[str]:
    return [
        _percent(lateness.over(0)),
        _percent(lateness.over(1)),
        f"{lateness.mean:.2f}",
        str(lateness.percentile(50)),
        str(lateness.percentile(99)),
        str(lateness.worst),
    ]


def _factors(standings: Standings, key: str) -> tuple[str, str]:
    """The median f over nights and worlds, and how far nights lie from each other."""
    nights = [np.array(each.years[key].factor) for each in standings]
    medians = [float(np.median(each)) for each in nights]
    if not np.isfinite(medians).all():
        return "none: checks only", ""
    spread = [np.quantile(each, 0.95) / np.quantile(each, 0.05) for each in nights]
    return f"{np.median(medians):.3f}", f"{np.median(spread):.1f} times"


def _longest(years: Iterable[Year]) -> int:
    return max(year.longest_wait for year in years)


def _geometric(ratios: Iterable[float]) -> float:
    return float(np.exp(np.mean(np.log(list(ratios)))))


def _percent(share: float | np.floating) -> str:
    return f"{100 * share:.1f} %"


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]], *, texts: int) -> str:
    """In Markdown; the first columns are texts, the others numbers."""
    rules_ = ["---"] * texts + ["---:"] * (len(heads) - texts)
    lines = [heads, rules_, *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)
