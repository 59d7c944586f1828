"""Due times, in SQL: a source's threads counted for a plan, and chosen by it."""

import math
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.engine import Connection

from etl.domain.batch import SourceId
from etl.domain.census import (
    AWAKE_SECONDS,
    IDLE_EDGES,
    MOST_WATCHED,
    STEP,
    Census,
    Group,
    Reason,
    Rule,
    Tier,
)
from etl.domain.planning import Plan
from etl.load.tables import threads
from etl.load.threads import draw_of, due, walk_is_due

FEW_ERRORS = 3
"""A thread whose passes failed so often is urgent no more."""

CLOCKS_DIFFER = timedelta(minutes=5)
"""How far the clock that hints are from may be from ours."""

STAGGERED = 1_000
"""Parts of `max_interval` at which first checks lie."""

KEY = ("step", "idle_step", "reason", "whole", "watched")
"""The members of a `Group` that its threads have in common, in its order.

What tells most threads apart comes first: Postgres sorts by it, and looks at the others
only where that is equal.
"""

_APART: sa.ColumnClause[int] = sa.literal_column("'0'::bigint")
"""An offset of nothing: what lies below is computed once, and still in parallel."""


def census(
    connection: Connection, source_id: SourceId, rule: Rule, *, now: datetime | None = None
) -> Census:
    """Count a source's threads by what decides over them, in one look at each.

    `now` is the database's clock, unless it is told.
    """
    at = now or _clock(connection)
    facts = _facts(source_id, rule, at).subquery()
    key = [facts.c[name] for name in KEY]
    numbers = sa.func.count(), sa.func.sum(facts.c.runs)
    rows = connection.execute(sa.select(*key, *numbers).group_by(*key))
    groups = [_group(row) for row in rows]
    return Census(taken_at=at, rule=rule, groups=groups)


def chosen(
    source_id: SourceId, rule: Rule, plan: Plan, *, now: datetime | None = None
) -> sa.Select[tuple[str]]:
    """The ids of the threads that a plan takes, the most urgent first.

    Of the registry that the plan was made of, they are exactly as many as it says; of
    one that has changed since, never more. `now` is when it was planned, unless told.
    """
    facts = _facts(source_id, rule, now or plan.planned_at).subquery()
    most = {Tier.FIRST: plan.first, Tier.OVERDUE: plan.overdue, Tier.REST: plan.rest}
    tier = sa.case(
        {reason.value: reason.tier.value for reason in Reason}, value=facts.c.reason
    )
    order = [
        facts.c.step.desc(),
        *(facts.c.whole, facts.c.watched, facts.c.idle_step, facts.c.reason),
        *(facts.c.draw, facts.c.thread_id),
    ]
    place = sa.func.row_number().over(partition_by=tier, order_by=order)
    placed = (
        sa.select(facts.c.thread_id, tier.label("tier"), place.label("place"))
        .where(_may_be_among(plan, facts))
        .subquery()
    )
    taken = [
        sa.and_(placed.c.tier == each.value, placed.c.place <= number)
        for each, number in most.items()
    ]
    is_rest = placed.c.tier == Tier.REST.value
    return (
        sa.select(placed.c.thread_id)
        .where(sa.or_(*taken))
        .order_by(is_rest, placed.c.place, placed.c.tier != plan.begins.value)
    )


def _may_be_among(plan: Plan, facts: sa.Subquery) -> sa.ColumnElement[bool]:
    """Leave out what the plan does not reach, before the rest is put in order."""
    urgent = [each.value for each in Reason if each.tier in {Tier.FIRST, Tier.OVERDUE}]
    reached = facts.c.reason.in_(urgent)
    if plan.rest_from is None:
        return reached
    is_near = facts.c.step >= plan.rest_from
    return sa.or_(reached, sa.and_(facts.c.reason == Reason.IDLE.value, is_near))


def _clock(connection: Connection) -> datetime:
    at: datetime = connection.execute(sa.select(sa.func.clock_timestamp())).scalar_one()
    return at


def _group(row: Sequence[Any]) -> Group:
    step, idle_step, reason, whole, watched, number, runs = row
    return Group(step, idle_step, Reason(reason), whole, watched, number, int(runs))


def _facts(source_id: SourceId, rule: Rule, at: datetime) -> sa.Select[Any]:
    """What decides over each thread of a source: the members of a `Group`, and its id."""
    seen = _seen(source_id, rule, at).offset(_APART).subquery()
    now = at.timestamp()
    reasoned = sa.select(
        _reason(seen, rule, now).label("reason"),
        sa.func.greatest(now - seen.c.asked, 1.0).label("waited"),
        sa.func.greatest(seen.c.asked - seen.c.active, 0.0).label("idle"),
        *(seen.c.whole, seen.c.watched, seen.c.runs_seen, seen.c.thread_id),
    )
    found = reasoned.offset(_APART).subquery()
    edges = sa.cast(list(IDLE_EDGES), ARRAY(sa.Double))
    return sa.select(
        found.c.reason,
        _step(found).label("step"),
        found.c.whole,
        found.c.watched,
        sa.func.width_bucket(found.c.idle, edges).label("idle_step"),
        found.c.runs_seen.label("runs"),
        found.c.thread_id,
        draw_of(found.c.thread_id).label("draw"),
    )


def _seen(source_id: SourceId, rule: Rule, at: datetime) -> sa.Select[Any]:
    """The threads that may be asked, their instants in seconds of the epoch.

    Sums of these take a quarter of the time that intervals do.
    """
    now = sa.literal(at, sa.DateTime(timezone=True))
    asked = sa.func.coalesce(
        threads.c.asked_at, threads.c.last_pass_at, threads.c.tracked_at
    )
    active = sa.func.greatest(threads.c.last_run_at, threads.c.active_at)
    was_read = threads.c.last_pass_at.is_not(None)
    is_hinted = threads.c.active_at > threads.c.last_pass_at - CLOCKS_DIFFER
    watched = sa.func.least(sa.func.cardinality(threads.c.watched_run_ids), MOST_WATCHED)
    return sa.select(
        _epoch(asked).label("asked"),
        _epoch(sa.func.coalesce(active, threads.c.tracked_at)).label("active"),
        _epoch(threads.c.tracked_at).label("tracked"),
        threads.c.gone_at.is_not(None).label("is_gone"),
        was_read.label("was_read"),
        sa.or_(~was_read, walk_is_due(rule.full_walk, now=now)).label("whole"),
        (is_hinted if rule.hints else sa.false()).label("is_hinted"),
        threads.c.unsettled,
        watched.label("watched"),
        threads.c.consecutive_errors.label("errors"),
        threads.c.runs_seen,
        threads.c.thread_id,
    ).where(*due(source_id, now=now))


def _epoch(moment: sa.ColumnElement[Any]) -> sa.ColumnElement[float]:
    return sa.func.date_part("epoch", moment, type_=sa.Double)


def _reason(seen: sa.Subquery, rule: Rule, now: float) -> sa.Case[int]:
    """Why a thread may be asked: the first that holds."""
    is_steady = seen.c.errors < FEW_ERRORS
    may_change = sa.or_(seen.c.unsettled, seen.c.watched > 0)
    is_waited_for = sa.or_(~seen.c.was_read, seen.c.is_hinted)
    return sa.case(
        (seen.c.is_gone, Reason.GONE.value),
        (sa.and_(is_steady, ~seen.c.was_read), Reason.NEW.value),
        (sa.and_(is_steady, may_change), Reason.OPEN.value),
        (sa.and_(is_steady, seen.c.errors > 0), Reason.FAILED.value),
        (sa.and_(is_steady, seen.c.is_hinted), Reason.HINTED.value),
        (_is_overdue(seen, rule, now), Reason.OVERDUE.value),
        (is_waited_for if rule.hints else sa.true(), Reason.IDLE.value),
        else_=Reason.QUIET.value,
    )


def _is_overdue(seen: sa.Subquery, rule: Rule, now: float) -> sa.ColumnElement[bool]:
    """Whether a thread has waited as long as it may.

    Threads that were tracked together have each a first check of their own, or they
    would all be overdue in the same night for ever. Where a clock was set back, the last
    ask lies ahead.
    """
    longest = rule.overdue_after.total_seconds()
    share = (1 + draw_of(seen.c.thread_id) % STAGGERED) / sa.literal(float(STAGGERED))
    first_check = seen.c.tracked + share * longest
    return sa.or_(
        seen.c.asked <= now - longest,
        seen.c.asked > now,
        sa.and_(
            seen.c.asked < seen.c.tracked + longest,
            seen.c.asked < first_check,
            first_check <= now,
        ),
    )


def _step(found: sa.Subquery) -> sa.ColumnElement[int]:
    """How urgent a thread is within its tier, in steps of one per cent.

    Of the rest, the ratio counts of how long it waited and how long it was idle.
    """
    ratio = found.c.waited / (found.c.idle + AWAKE_SECONDS)
    is_rest = found.c.reason == Reason.IDLE.value
    rank = sa.case((is_rest, ratio), else_=found.c.waited)
    return sa.cast(sa.func.floor(sa.func.ln(rank) / math.log(STEP)), sa.Integer)
