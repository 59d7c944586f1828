"""Rules of whom to ask: how long a thread may wait, from what the registry knows."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float32]

LEAST_IDLE = 0.01


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What the registry knows of threads when they were just asked; a value for each.

    `idle` is last_pass_at - last_run_at, `life` last_pass_at - the first run, both in
    days; `seen` is runs_seen, `empty` the asks since the last that found something.
    `last_gap` and `gap_before` lie between the last three runs: no column has them.
    """

    idle: Values
    life: Values
    seen: Values
    empty: Values
    last_gap: Values
    gap_before: Values

    @property
    def mean_gap(self) -> Values:
        """Days from run to run, up to the last one; of a lone run, how idle it is."""
        told = (self.life - self.idle) / np.maximum(self.seen - 1, 1)
        return np.where(self.seen > 1, np.maximum(told, LEAST_IDLE), self.idle)


Wait = Callable[[Known], NDArray[np.floating]]
"""How long each thread may wait, in days, up to a factor that is the same for all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """A name for tables, and the wait that it grants."""

    name: str
    wait: Wait
    foresees: bool = False
    """Threads whose last two gaps are equal are asked when the next one ends."""


def idle_to(power: float) -> Wait:
    """As the idle time, to a power."""
    return lambda known: known.idle**power


def nightly(known: Known) -> Values:
    """The same for all."""
    return np.ones_like(known.idle)


def tiers(known: Known) -> Values:
    """Nightly within a week, every third night within a month, weekly, monthly."""
    return np.select(
        [known.idle <= 7, known.idle <= 30, known.idle <= 90],  # noqa: PLR2004
        [np.float32(1), np.float32(3), np.float32(7)],
        np.float32(30),
    ).astype(np.float32)


def _rate(known: Known) -> NDArray[np.floating]:
    """Runs a day: a gamma prior of one run in ten days, and what was counted since."""
    return (1 + known.seen) / (10 + known.life)


def _backed_off(known: Known, times: float, most: int) -> Values:
    """Longer by as much after each empty ask, up to so many."""
    return np.float32(times) ** np.minimum(known.empty, np.float32(most))


def idle_and(days: float, power: float = 1) -> Wait:
    """As the idle time and some days more, to a power; five days and 1 are ours."""
    return lambda known: (known.idle + np.float32(days)) ** power


ALIKE = Rule(name="all alike, in turn", wait=nightly)
TIERS = Rule(name="fixed tiers", wait=tiers)
OURS = Rule(name="idle + 5 days (ours)", wait=idle_and(5))
OTHERS = (
    ALIKE,
    TIERS,
    Rule(name="idle", wait=idle_to(1)),
    Rule(name="idle + 1 day", wait=idle_and(1)),
    Rule(name="idle + 10 days", wait=idle_and(10)),
    Rule(name="(idle + 5 days)^0.75", wait=idle_and(5, 0.75)),
    Rule(name="√idle", wait=idle_to(0.5)),
    Rule(name="idle^0.75", wait=idle_to(0.75)),
    Rule(name="idle^1.5", wait=idle_to(1.5)),
    Rule(name="idle²", wait=idle_to(2)),
    Rule(name="1/rate (gamma-Poisson)", wait=lambda known: 1 / _rate(known)),
    Rule(name="1/√rate (crawlers' optimum)", wait=lambda known: _rate(known) ** -0.5),
    Rule(name="back-off, doubling", wait=lambda known: _backed_off(known, 2, 20)),
    Rule(name="back-off by 1.3", wait=lambda known: _backed_off(known, 1.3, 60)),
    Rule(
        name="min(idle, mean gap)",
        wait=lambda known: np.minimum(known.idle, known.mean_gap),
    ),
    Rule(
        name="√(idle · mean gap)",
        wait=lambda known: np.sqrt(known.idle * known.mean_gap),
    ),
    Rule(
        name="idle / √runs seen",
        wait=lambda known: known.idle / np.sqrt(np.maximum(known.seen, 1)),
    ),
    Rule(name="idle + 5 days, periods foreseen", wait=idle_and(5), foresees=True),
)
"""What might be better with the same requests; the last two gaps stand in no column."""
