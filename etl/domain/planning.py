"""The plan of a sync: which threads are due, from a census of them and a capacity."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple, TypeVar

from etl.domain.census import STEP, Census, Cost, Group, Reason, Rule, Tier

Key = TypeVar("Key")


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Which threads of a source a sync asks.

    `first`, `overdue` and `rest` are how many of each tier, by their order; `begins` is
    who of the first two does, and `rest_from` the step where the rest ends. `factor` is
    how many times its idle time a thread of the rest must have waited; None where none
    is left for that. `capacity` is None where requests are not bounded. `reasons` and
    `idle` are all threads that are taken, by why they are and by how long they were idle.
    """

    planned_at: datetime
    rule: Rule
    capacity: int | None
    known: int
    first: int
    overdue: int
    rest: int
    rest_from: int | None
    begins: Tier
    requests_expected: int
    factor: float | None
    reasons: Mapping[Reason, int]
    idle: Mapping[int, int]

    @property
    def due(self) -> int:
        """How many threads are asked."""
        return self.first + self.overdue + self.rest

    @property
    def left(self) -> int:
        """How many threads are left for a later sync."""
        return self.known - self.due


class _Share(NamedTuple):
    """So many threads of a group."""

    group: Group
    threads: int


def capacity(requests_per_minute: int, seconds: float | None) -> int | None:
    """How many requests fit into a time; None where the time is not bounded.

    One at least, as long as there is time: else a short window would never ask anybody.
    """
    if seconds is None:
        return None
    return max(1, int(requests_per_minute * seconds / 60)) if seconds > 0 else 0


def plan(census: Census, capacity: int | None) -> Plan:
    """Take threads in their order for as long as their expected requests fit.

    What is taken with less capacity is also taken with more. A thread that alone
    expects more than fits is taken alone, or it would bar the way for ever.
    """
    purse = _Purse(census.cost, capacity)
    tiers = {tier: census.tier(tier) for tier in Tier}
    begins = _longest_waiting(tiers)
    follows = Tier.OVERDUE if begins is Tier.FIRST else Tier.FIRST
    urgent = _in_turns(purse, tiers[begins], tiers[follows])
    taken = [*urgent, *_in_order(purse, tiers[Tier.REST])]
    rest = [share for share in taken if share.group.reason.tier is Tier.REST]
    reasons = _counted((each.group.reason, each.threads) for each in taken)
    number = {
        tier: sum(n for reason, n in reasons.items() if reason.tier is tier)
        for tier in Tier
    }
    return Plan(
        planned_at=census.taken_at,
        rule=census.rule,
        capacity=capacity,
        known=census.known,
        first=number[Tier.FIRST],
        overdue=number[Tier.OVERDUE],
        rest=number[Tier.REST],
        rest_from=rest[-1].group.step if rest else None,
        begins=begins,
        requests_expected=purse.spent,
        factor=_factor(tiers[Tier.REST], rest),
        reasons=reasons,
        idle=_counted((each.group.idle_step, each.threads) for each in taken),
    )


class _Purse:
    """The requests that are still to be had; the first thread too many closes it."""

    def __init__(self, cost: Cost, capacity: int | None) -> None:
        self._cost = cost
        self._capacity = capacity
        self._is_closed = capacity == 0
        self.spent = 0

    def take(self, groups: Sequence[Group], rounds: int) -> int:
        """Pay for one thread of each group, so many times; answer how often it went."""
        price = sum(map(self._price, groups))
        if self._is_closed:
            return 0
        if self._capacity is not None:
            rounds = min(rounds, (self._capacity - self.spent) // price)
        self.spent += rounds * price
        return rounds

    def close(self) -> None:
        """Pay for nothing more: whoever comes later is less urgent."""
        self._is_closed = True

    def _price(self, group: Group) -> int:
        price = self._cost.of(group)
        return price if self._capacity is None else min(price, self._capacity)


def _in_order(purse: _Purse, groups: Sequence[Group]) -> Iterator[_Share]:
    """The leading threads of some groups that can be paid for."""
    for group in groups:
        paid = purse.take([group], group.threads)
        if paid:
            yield _Share(group, paid)
        if paid < group.threads:
            purse.close()
            return


def _longest_waiting(tiers: Mapping[Tier, Sequence[Group]]) -> Tier:
    """The tier that begins: else one dear thread, first in every sync, would be alone."""
    first, overdue = tiers[Tier.FIRST], tiers[Tier.OVERDUE]
    if first and overdue and overdue[0].step > first[0].step:
        return Tier.OVERDUE
    return Tier.FIRST


def _in_turns(
    purse: _Purse, one: Sequence[Group], other: Sequence[Group]
) -> Iterator[_Share]:
    """One thread of the one, one of the other, and so on; then what either has left."""
    mine, theirs = list(reversed(one)), list(reversed(other))
    while mine and theirs:
        pair = mine[-1], theirs[-1]
        rounds = min(each.threads for each in pair)
        paid = purse.take(pair, rounds)
        yield from (_Share(each, paid) for each in pair)
        if paid < rounds:
            yield _Share(pair[0], purse.take(pair[:1], 1))
            purse.close()
            return
        _move_on(mine, rounds)
        _move_on(theirs, rounds)
    yield from _in_order(purse, [*reversed(mine), *reversed(theirs)])


def _move_on(queue: list[Group], threads: int) -> None:
    """Take so many threads from the group at a queue's head, its last."""
    head = queue.pop()
    if head.threads > threads:
        queue.append(head._replace(threads=head.threads - threads))


def _counted(pairs: Iterator[tuple[Key, int]]) -> dict[Key, int]:
    total: Counter[Key] = Counter()
    for key, number in pairs:
        total[key] += number
    return dict(total)


def _factor(rest: Sequence[Group], taken: Sequence[_Share]) -> float | None:
    """The smallest ratio that is due; above all of them where none is."""
    if sum(share.threads for share in taken) == sum(group.threads for group in rest):
        return None
    step = taken[-1].group.step if taken else rest[0].step + 1
    return float(STEP**step)
