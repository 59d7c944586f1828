"""What the views promise beyond what Postgres knows of them: the database cannot tell."""

import re

from scripts.documenting.catalogue import Column, Relation

SUMS = frozenset(
    (
        "input_tokens",
        "cached_input_tokens",
        "output_tokens",
        "reasoning_output_tokens",
        "total_tokens",
    )
)
"""Null in a run that does not report them, never null in a sum."""
OF_SINGLE_RUNS = {"run_facts", "run_costs"}

NEVER_NULL = SUMS | frozenset(
    (
        *("source_id", "source", "run_id", "thread_id", "status", "created_at", "day"),
        *("has_usage", "is_open", "is_error", "is_wasted", "cost_status", "changed_at"),
        *("provider", "valid_from"),
        *("runs", "runs_with_usage", "priced_runs", "unpriced_runs", "no_usage_runs"),
        *("wasted_runs", "wasted_tokens", "assistants", "threads"),
        *("first_day", "last_day", "first_run_at", "last_run_at", "example_run_id"),
        *("runs_at_input_limit", "runs_at_output_limit", "runs_started", "runs_ended"),
        *("first_input_tokens", "last_input_tokens"),
        *("sync_id", "trigger", "kind"),
        *("threads_failed", "pages", "requests", "retries", "runs_read", "runs_created"),
        *("runs_updated", "runs_unchanged", "rejects"),
        *("threads_complete", "threads_failing", "threads_never_read", "threads_gone"),
        "threads_waiting",
        *("position", "resource_type"),
    )
)
"""Columns that are null in no view, whichever has them."""
ALSO_NEVER_NULL = {
    ("price_periods", "model"),
    ("price_periods", "price_origin"),
    ("price_periods", "input_usd_per_million"),
    ("price_periods", "cached_input_usd_per_million"),
    ("price_periods", "output_usd_per_million"),
    ("priced_models", "model"),
    ("repriced_days", "model"),
    ("context_growth", "largest_input_tokens"),
    ("sync_health", "started_at"),
    ("tracked_threads", "tracked_at"),
    ("tracked_threads", "runs_seen"),
    ("tracked_threads", "consecutive_errors"),
}
"""Columns that other views of the same column name leave null."""

BEFORE_THE_FIRST_RUN = ("tracked_threads", "last_run_at")
"""Where a thread is there before it has any run."""

UNIQUE = {
    ("run_analytics", "sync_health", "sync_id"),
    ("run_analytics", "freshness", "source_id"),
    ("run_analytics", "freshness", "source"),
}

WASTED = ("failed", "expired", "cancelled", "incomplete")
CLOSED = {
    ("run_costs", "cost_status"): ("priced", "unpriced", "no_usage"),
    ("priced_models", "found_by"): (
        "configuration",
        "name",
        "other name",
        "name without date",
        "beginning of the name",
    ),
    ("run_waste", "status"): WASTED,
    ("run_failures", "status"): ("failed", "expired", "incomplete"),
    ("sync_health", "outcome"): ("succeeded", "partial", "failed", "interrupted"),
}
"""Every value that a column of a view can have."""

STANDS_IN = {
    ("run_analytics", "daily_usage", "source_id"): ("run_analytics", "freshness"),
    ("run_analytics", "deployments", "source_id"): ("run_analytics", "freshness"),
    ("run_analytics", "run_facts", "source_id"): ("run_analytics", "freshness"),
    ("run_analytics", "model_names", "model"): ("run_analytics", "model_prices"),
    ("run_history", "runs", "instructions_id"): ("run_history", "instructions"),
}
"""Columns whose every value stands in the column of the same name elsewhere, where a
reader can look; keys to `run_sync` are Postgres's own affair."""


def is_never_null(relation: Relation, column: Column) -> bool:
    """Whether a row always has a value there."""
    if not relation.is_view:
        return column.is_required
    if relation.name in OF_SINGLE_RUNS and column.name in SUMS:
        return False
    if (relation.name, column.name) == BEFORE_THE_FIRST_RUN:
        return False
    return column.name in NEVER_NULL or (relation.name, column.name) in ALSO_NEVER_NULL


def is_unique(relation: Relation, column: Column) -> bool:
    """Whether each value of the column stands in one row alone."""
    place = (relation.schema, relation.name, column.name)
    return column.name in relation.single_keys or place in UNIQUE


def closed_values(relation: Relation, column: Column) -> tuple[str, ...]:
    """Every value that the column can have; none where that is not settled."""
    if relation.is_view:
        return CLOSED.get((relation.name, column.name), ())
    for constraint in relation.constraints:
        if constraint.kind == "c" and constraint.columns == (column.name,):
            return tuple(re.findall(r"'(\w+)'::text", constraint.rule))
    return ()


def other_place(relation: Relation, column: Column) -> tuple[str, str] | None:
    """Schema and name of what lists the column's values."""
    return STANDS_IN.get((relation.schema, relation.name, column.name))
