"""Whom a night asks: all who are due, as many as a budget allows, or who has something."""

import numpy as np

from scripts.simulating.nights import Choice
from scripts.simulating.registry import Asked, Registry


def everybody(registry: Registry, night: int, known: int) -> Asked:
    """All threads that are known."""
    return np.arange(known)


def due(factor: float) -> Choice:
    """Everybody who waited as long as the rule grants, times the factor."""

    def choice(registry: Registry, night: int, known: int) -> Asked:
        return np.flatnonzero(registry.ranks(night, known) >= np.float32(factor))

    return choice


def budget(share: float) -> Choice:
    """That share of the registry: those of the highest rank."""

    def choice(registry: Registry, night: int, known: int) -> Asked:
        left_out = known - int(known * share)
        ranks = registry.ranks(night, known)
        return np.sort(np.argpartition(ranks, left_out)[left_out:])

    return choice


def oracle(registry: Registry, night: int, known: int) -> Asked:
    """Those who have something new, and nobody else."""
    return np.flatnonzero(registry.coming[:known] <= night)


def hints(registry: Registry, night: int, known: int) -> Asked:
    """Those who have something new, and whoever was not asked for max_interval."""
    is_new = registry.coming[:known] <= night
    return np.flatnonzero(is_new | (registry.ranks(night, known) >= 1))


def interrupted(choice: Choice, nights: range) -> Choice:
    """The same, but for an outage in which nobody is asked."""

    def other(registry: Registry, night: int, known: int) -> Asked:
        is_out = night in nights
        return np.zeros(0, np.int64) if is_out else choice(registry, night, known)

    return other
