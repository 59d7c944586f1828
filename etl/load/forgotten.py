"""Forgotten threads: known by a digest of their id, and kept out of the registry."""

from collections.abc import Sequence
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.engine import Engine

from etl.domain.batch import SourceId
from etl.domain.digest import digest
from etl.domain.run import ThreadId
from etl.load.database import connected
from etl.load.tables import erasures


def is_forgotten(
    source_id: SourceId, thread_id: sa.ColumnElement[str]
) -> sa.ColumnElement[bool]:
    """Whether a thread of a source was erased, and is to stay out."""
    content = sa.func.convert_to(thread_id, "UTF8")
    start = sa.func.substring(sa.func.sha256(content), 1, 16)
    name = sa.cast(sa.func.encode(start, "hex"), sa.Uuid)
    return sa.exists().where(
        erasures.c.source_id == source_id,
        erasures.c.thread_digest == name,
        erasures.c.readmitted_at.is_(None),
    )


def count_forgotten(
    engine: Engine, source_id: SourceId, thread_ids: Sequence[ThreadId]
) -> int:
    """How many of some threads were erased, and are to stay out."""
    found = sa.select(sa.func.count()).select_from(erasures)
    with connected(engine) as connection:
        return connection.scalar(found.where(*_among(source_id, thread_ids))) or 0


def readmit(engine: Engine, source_id: SourceId, thread_ids: Sequence[ThreadId]) -> int:
    """Keep threads out no longer; the records of their erasure stay. Answers how many."""
    statement = sa.update(erasures).where(*_among(source_id, thread_ids))
    with connected(engine) as connection, connection.begin():
        return connection.execute(
            statement.values(readmitted_at=sa.func.clock_timestamp())
        ).rowcount


def _among(
    source_id: SourceId, thread_ids: Sequence[ThreadId]
) -> list[sa.ColumnElement[bool]]:
    names: list[UUID] = [digest(thread_id.encode()) for thread_id in thread_ids]
    return [
        erasures.c.source_id == source_id,
        erasures.c.readmitted_at.is_(None),
        erasures.c.thread_digest == sa.any_(sa.cast(names, ARRAY(sa.Uuid))),
    ]
