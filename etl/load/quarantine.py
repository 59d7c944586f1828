"""The quarantine: payloads that could not become runs, kept as they came."""

from collections.abc import Iterable
from typing import Any

from sqlalchemy.engine import Connection

from etl.domain.batch import Increment
from etl.domain.digest import digest
from etl.domain.run import Reject
from etl.load.moments import moment
from etl.load.statements import ADD_REJECTS


def add_rejects(connection: Connection, increments: Iterable[Increment]) -> int:
    """Write the rejects of some increments; answer how many there are."""
    rows = {
        (row["source_id"], row["thread_id"], row["payload_id"]): row
        for increment in increments
        for row in (_row(increment, reject) for reject in increment.rejects)
    }
    if rows:
        connection.execute(ADD_REJECTS, list(rows.values()))
    return len(rows)


def _row(increment: Increment, reject: Reject) -> dict[str, Any]:
    seen_at = moment(increment.read_at)
    detail = f": {reject.detail}" if reject.detail else ""
    return {
        "source_id": increment.source_id,
        "thread_id": increment.thread_id,
        "run_id": reject.run_id,
        "payload": reject.payload,
        "payload_id": digest(reject.payload.encode()),
        "reason": f"{reject.reason.value}{detail}",
        "first_seen_at": seen_at,
        "last_seen_at": seen_at,
    }
