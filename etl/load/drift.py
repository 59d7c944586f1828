"""The drift ledger: what the schema does not know, counted per source."""

from collections.abc import Iterable
from typing import Any

from sqlalchemy.engine import Connection

from etl.domain.batch import Increment
from etl.load.moments import moment
from etl.load.statements import ADD_DRIFT


def add_drift(connection: Connection, increments: Iterable[Increment]) -> None:
    """Count the drift of some increments, one row for each thing that is new."""
    rows: dict[tuple[Any, ...], dict[str, Any]] = {}
    for increment in increments:
        for found in increment.drift:
            key = (increment.source_id, found.path, found.kind.value, found.value)
            row = rows.setdefault(
                key,
                {
                    "source_id": increment.source_id,
                    "path": found.path,
                    "kind": found.kind.value,
                    "value": found.value,
                    "example_run_id": found.run_id,
                    "first_seen_at": moment(increment.read_at),
                    "times_seen": 0,
                },
            )
            row["last_seen_at"] = moment(increment.read_at)
            row["times_seen"] += 1
    if rows:
        connection.execute(ADD_DRIFT, [rows[key] for key in sorted(rows)])
