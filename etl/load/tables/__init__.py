"""The tables as SQLAlchemy sees them; Alembic compares the database with these."""

from etl.load.tables.columns import HISTORY, SYNC, metadata
from etl.load.tables.history import instructions, runs, tools
from etl.load.tables.sync import drift, erasures, rejects, sources, syncs, threads

__all__ = [
    "HISTORY",
    "SYNC",
    "drift",
    "erasures",
    "instructions",
    "metadata",
    "rejects",
    "runs",
    "sources",
    "syncs",
    "threads",
    "tools",
]
