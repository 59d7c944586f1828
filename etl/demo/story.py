"""A thread's story: what has happened, what goes on, and what is about to come."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from random import Random
from typing import Self

from etl.demo.cast import Cast, Plan, draw_cast, draw_plans, draw_slow_plan
from etl.demo.dice import draw_id
from etl.demo.life import Life
from etl.demo.thread import Thread
from etl.demo.timeline import BusyHours, place
from etl.demo.usage import draw_usage, grow_context

_QUIET_SECONDS = 1800

_PlacedPlan = tuple[Plan, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """How many of a thread's runs have ended, are open, and are to come."""

    ended: int
    open_now: int
    coming: int

    @classmethod
    def of(cls, index: int, count: int) -> Self:
        """Give every third thread an open run, and every fifth one or two to come."""
        coming = min(count, 1 + index % 2) if index % 5 == 1 else 0
        open_now = min(count - coming, 1) if index % 3 == 0 else 0
        return cls(ended=count - coming - open_now, open_now=open_now, coming=coming)


@dataclass(frozen=True, slots=True, kw_only=True)
class Era:
    """The time in which a world's threads live."""

    now: int
    hours: BusyHours

    @classmethod
    def around(cls, now: int, *, days: int) -> Self:
        """Take the `days` before an instant, and the hour after it."""
        return cls(now=now, hours=BusyHours.before(now - _QUIET_SECONDS, days=days))


def draw_thread(rng: Random, index: int, count: int, era: Era) -> Thread:
    """Draw a thread with all the runs that it will ever have."""
    cast = draw_cast(rng, index)
    share = Share.of(index, count)
    plans = (*_history(rng, cast, share.ended, era), *_present(rng, cast, share, era))
    return Thread(id=cast.thread_id, lives=tuple(_lives(rng, cast, plans)))


def _history(rng: Random, cast: Cast, count: int, era: Era) -> Iterator[_PlacedPlan]:
    """Draw runs that have ended well before the present."""
    plans = draw_plans(rng, cast, count)
    starts = era.hours.draw_starts(rng, count)
    created = place(rng, plans, starts, until=era.now - _QUIET_SECONDS)
    return zip(plans, created, strict=True)


def _present(rng: Random, cast: Cast, share: Share, era: Era) -> Iterator[_PlacedPlan]:
    """Draw what is open now, and what will be created and end within an hour."""
    free_at = era.now
    for _ in range(share.open_now):
        plan = draw_slow_plan(rng, cast)
        created_at = era.now - rng.randrange(plan.course.seconds)
        free_at = created_at + plan.course.seconds
        yield plan, created_at
    for plan in draw_plans(rng, cast, share.coming, refused_share=0.0):
        created_at = free_at + rng.randint(60, 900)
        free_at = created_at + plan.course.seconds
        yield plan, created_at


def _lives(rng: Random, cast: Cast, plans: Iterable[_PlacedPlan]) -> Iterator[Life]:
    context_tokens, ended_at = 0, 0
    for plan, created_at in plans:
        usage = draw_usage(
            rng,
            plan.assistant,
            plan.course,
            context_tokens=context_tokens,
            idle_seconds=created_at - ended_at,
        )
        life = Life(
            id=draw_id(rng, "run"),
            thread_id=cast.thread_id,
            created_at=created_at,
            assistant=plan.assistant,
            instructions=plan.assistant.instructions + cast.closing_words,
            metadata=cast.metadata,
            course=plan.course,
            usage=usage,
        )
        yield life
        context_tokens = grow_context(rng, context_tokens, usage)
        ended_at = life.ends_at
