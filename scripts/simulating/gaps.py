"""How long threads are silent between two activities: the distributions that are tried."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

Floats = NDArray[np.floating]
Ids = NDArray[np.int64]

Course = Callable[[Ids, Floats, int], Floats]
"""The next activity of each thread, in days, after its k-th; infinite for a dead one."""

Draw = Callable[[Generator, int], Course]
"""Gives so many threads their natures, and says how they go on."""

NEVER = np.inf
MINUTE = 1 / 1440
SEASON_DAYS = 120
AWAKE_DAYS = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Gaps:
    """One distribution: its name in tables, what it is, and the threads it makes."""

    name: str
    meaning: str
    draw: Draw


def dying(dice: Generator, times: Floats, chance: float) -> Floats:
    """The same instants, but for those that are never to come."""
    return np.where(dice.random(len(times)) < chance, NEVER, times)


def independent(gap: Callable[[Generator, int], Floats], chance: float) -> Draw:
    """Gaps that know nothing of the thread; after each activity it may be dead."""

    def draw(dice: Generator, threads: int) -> Course:
        def following(ids: Ids, times: Floats, k: int) -> Floats:
            return dying(dice, times + gap(dice, len(ids)), chance)

        return following

    return draw


def pareto(alpha: float, shortest: float = 0.25) -> Callable[[Generator, int], Floats]:
    """Gaps of which the share longer than t falls as t to the power of -alpha."""

    def gap(dice: Generator, size: int) -> Floats:
        return shortest * (1 - dice.random(size)) ** (-1 / alpha)

    return gap


def _exponential(dice: Generator, threads: int) -> Course:
    rates = dice.gamma(0.5, 1.0, threads) + 1e-9

    def following(ids: Ids, times: Floats, k: int) -> Floats:
        return dying(dice, times + dice.exponential(1 / rates[ids]), 0.1)

    return following


def _conversations(dice: Generator, threads: int) -> Course:
    def following(ids: Ids, times: Floats, k: int) -> Floats:
        size = len(ids)
        is_answer = dice.random(size) < 0.75  # noqa: PLR2004  # a burst of four
        pause = dying(dice, times + dice.lognormal(np.log(4), 1.5, size), 0.1)
        return np.where(
            is_answer, times + dice.exponential(10 * MINUTE, size), _working(dice, pause)
        )

    return following


def _working(dice: Generator, times: Floats) -> Floats:
    """Moved to a weekday between 8 and 18 h; the sync is at midnight."""
    is_dead = np.isinf(times)
    day = np.floor(np.where(is_dead, 0, times))
    weekday = np.mod(day, 7)
    monday = day + np.where(weekday >= 5, 7 - weekday, 0)  # noqa: PLR2004
    by_day = monday + (8 + 10 * dice.random(len(times))) / 24
    # What was begun in the night before stays where it is: time never goes back.
    return np.where(is_dead, NEVER, np.maximum(by_day, np.where(is_dead, 0, times)))


def _periodic(dice: Generator, threads: int) -> Course:
    kind = dice.random(threads)
    period = np.where(kind < 0.03, 7.0, np.where(kind < 0.06, 30.0, 0.0))  # noqa: PLR2004
    other = pareto(1.1)

    def following(ids: Ids, times: Floats, k: int) -> Floats:
        own = period[ids]
        free = dying(dice, times + other(dice, len(ids)), 0.05)
        exact = np.where(dice.random(len(ids)) < own / 360, NEVER, times + own)
        return np.where(own > 0, exact, free)

    return following


def _seasonal(dice: Generator, threads: int) -> Course:
    def following(ids: Ids, times: Floats, k: int) -> Floats:
        size = len(ids)
        season = np.floor(times / SEASON_DAYS)
        soon = times + dice.exponential(3, size)
        end = season * SEASON_DAYS + AWAKE_DAYS
        waking = (season + 1) * SEASON_DAYS + 3 * dice.random(size)
        return np.where(soon < end, soon, dying(dice, waking, 0.4))

    return following


TRIED = (
    Gaps(
        name="exponential",
        meaning="exponential, each thread at its own rate (gamma, shape 0.5, one a day)",
        draw=_exponential,
    ),
    Gaps(
        name="Pareto 1.1",
        meaning="Pareto, alpha 1.1, six hours or more",
        draw=independent(pareto(1.1), 0.05),
    ),
    Gaps(
        name="Pareto 0.8",
        meaning="the same with alpha 0.8: no mean",
        draw=independent(pareto(0.8), 0.05),
    ),
    Gaps(
        name="Pareto 0.6",
        meaning="the same with alpha 0.6: extremely heavy",
        draw=independent(pareto(0.6), 0.05),
    ),
    Gaps(
        name="log-normal",
        meaning="log-normal, median a day, sigma 2",
        draw=independent(lambda dice, size: dice.lognormal(0, 2, size), 0.05),
    ),
    Gaps(
        name="Weibull 0.5",
        meaning="Weibull, shape 0.5, mean three days",
        draw=independent(lambda dice, size: 1.5 * dice.weibull(0.5, size), 0.05),
    ),
    Gaps(
        name="conversations",
        meaning="bursts of four within an hour, on weekdays by day; log-normal between",
        draw=_conversations,
    ),
    Gaps(
        name="periodic",
        meaning="3 % exactly every 7th day, 3 % every 30th, the rest Pareto 1.1",
        draw=_periodic,
    ),
    Gaps(
        name="short-lived",
        meaning="one burst of five within a day, then never again",
        draw=independent(lambda dice, size: dice.exponential(1 / 6, size), 0.2),
    ),
    Gaps(
        name="seasonal",
        meaning="a month awake, three asleep, all together; 60 % come back each time",
        draw=_seasonal,
    ),
)
