"""What the tables say about themselves: for `status`, `threads` and the scheduler."""

from etl.load.overview.contents import (
    DriftOverview,
    RejectsOverview,
    RunsOverview,
    drift_overview,
    rejects_overview,
    runs_overview,
)
from etl.load.overview.sources import (
    WHOLE,
    FailingThread,
    SourceOverview,
    ThreadOverview,
    failing_threads,
    sources_overview,
    threads_overview,
)
from etl.load.overview.syncs import (
    DatabaseOverview,
    SyncOverview,
    database_overview,
    last_syncs,
)

__all__ = [
    "WHOLE",
    "DatabaseOverview",
    "DriftOverview",
    "FailingThread",
    "RejectsOverview",
    "RunsOverview",
    "SourceOverview",
    "SyncOverview",
    "ThreadOverview",
    "database_overview",
    "drift_overview",
    "failing_threads",
    "last_syncs",
    "rejects_overview",
    "runs_overview",
    "sources_overview",
    "threads_overview",
]
