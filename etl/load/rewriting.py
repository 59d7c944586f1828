"""The quarantine's texts, read one by one and written anew."""

from collections.abc import Iterator
from typing import NamedTuple

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from etl.domain.batch import SourceId
from etl.domain.digest import digest
from etl.load.database import connected
from etl.load.tables import rejects


class StoredReject(NamedTuple):
    """A quarantined payload, waiting or not."""

    reject_id: int
    payload: str


def stored_rejects(engine: Engine, source_id: SourceId) -> Iterator[StoredReject]:
    """Read all rejects of a source that are there now, one at a time."""
    last = 0
    with connected(engine) as connection:
        end = connection.scalar(sa.select(sa.func.max(rejects.c.reject_id))) or 0
    columns = [rejects.c[name] for name in StoredReject._fields]
    while True:
        statement = sa.select(*columns).where(
            rejects.c.source_id == source_id,
            rejects.c.reject_id > last,
            rejects.c.reject_id <= end,
        )
        with connected(engine) as connection:
            row = connection.execute(
                statement.order_by(rejects.c.reject_id).limit(1)
            ).one_or_none()
        if row is None:
            return
        yield StoredReject(*row)
        last = row.reject_id


REWRITE = sa.text(
    """
    WITH old AS (
        DELETE FROM run_sync.rejects WHERE reject_id = :reject_id RETURNING *
    )
    INSERT INTO run_sync.rejects AS kept (source_id, thread_id, run_id, payload,
        payload_id, reason, first_seen_at, last_seen_at, times_seen, replayed_at)
    SELECT source_id, thread_id, run_id, :payload, :payload_id,
           split_part(reason, ': ', 1),
           first_seen_at, last_seen_at, times_seen, replayed_at
    FROM old
    ON CONFLICT (source_id, thread_id, payload_id) DO UPDATE
    SET first_seen_at = least(kept.first_seen_at, excluded.first_seen_at),
        last_seen_at = greatest(kept.last_seen_at, excluded.last_seen_at),
        times_seen = kept.times_seen + excluded.times_seen,
        replayed_at = CASE WHEN excluded.last_seen_at > kept.last_seen_at
            THEN excluded.replayed_at ELSE kept.replayed_at END
    """
).bindparams(sa.bindparam("payload_id", type_=sa.Uuid))
"""Two texts may become the same one: then one row remains, with the state of the one
that was read last. What a reason says beyond its sentence was said of the old text."""


def rewrite_reject(connection: Connection, reject_id: int, payload: str) -> None:
    """Give a reject another text."""
    facts = {
        "reject_id": reject_id,
        "payload": payload,
        "payload_id": digest(payload.encode()),
    }
    with connection.begin():
        connection.execute(REWRITE, facts)
