"""The tables as SQLAlchemy sees them; Alembic compares the database with these."""

from etl.load.tables.analytics import (
    daily_usage,
    deployments,
    model_names,
    model_prices,
    month_changes,
)
from etl.load.tables.columns import ANALYTICS, HISTORY, SYNC, metadata
from etl.load.tables.history import instructions, runs, tools
from etl.load.tables.shared import budgets, leases, plans
from etl.load.tables.sync import drift, erasures, rejects, sources, syncs, threads
from etl.load.tables.ways import discoveries, imports, untracked

__all__ = [
    "ANALYTICS",
    "HISTORY",
    "SYNC",
    "budgets",
    "daily_usage",
    "deployments",
    "discoveries",
    "drift",
    "erasures",
    "imports",
    "instructions",
    "leases",
    "metadata",
    "model_names",
    "model_prices",
    "month_changes",
    "plans",
    "rejects",
    "runs",
    "sources",
    "syncs",
    "threads",
    "tools",
    "untracked",
]
