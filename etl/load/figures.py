"""The figures of one sync, from its row in the ledger."""

import sqlalchemy as sa
from sqlalchemy.engine import Engine

from etl.domain.outcome import Failure, Outcome, SyncReport
from etl.load.database import connected
from etl.load.tables import syncs

COUNTS = (
    "threads",
    "threads_failed",
    "pages",
    "requests",
    "retries",
    "runs_read",
    "runs_created",
    "runs_updated",
    "runs_unchanged",
    "rejects",
)


def figures(engine: Engine, sync_id: int) -> SyncReport:
    """What all processes of a sync have done so far; interrupted until it has ended."""
    ended = sa.func.coalesce(syncs.c.finished_at, sa.func.clock_timestamp())
    seconds = sa.func.extract("epoch", ended - syncs.c.started_at)
    statement = sa.select(
        *(syncs.c[name] for name in COUNTS),
        syncs.c.threads_due,
        sa.func.coalesce(syncs.c.threads_left, 0).label("threads_left"),
        sa.func.coalesce(syncs.c.outcome, Outcome.INTERRUPTED.value).label("outcome"),
        sa.cast(seconds, sa.Double).label("seconds"),
        syncs.c.error,
    ).where(syncs.c.sync_id == sync_id)
    with connected(engine) as connection:
        row = dict(connection.execute(statement).mappings().one())
    error, outcome = row.pop("error"), Outcome(row.pop("outcome"))
    errors = [Failure(source="sync", thread=None, message=error)] if error else []
    return SyncReport(sync_id=sync_id, outcome=outcome, errors=errors, **row)
