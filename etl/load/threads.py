"""The registry of tracked threads, and of the sources they belong to."""

from collections.abc import Iterator, Sequence

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY, insert
from sqlalchemy.engine import Engine

from etl.domain.batch import SourceId, TrackedThread
from etl.domain.bookmark import Bookmark
from etl.domain.run import ThreadId
from etl.load.database import connected
from etl.load.statements import microseconds
from etl.load.tables import sources, threads

AT_ONCE = 1_000
"""Threads read from the registry by one statement."""


def record_source(engine: Engine, *, name: str, kind: str, base_url: str) -> SourceId:
    """Answer a source's short key; note its kind and address."""
    facts = {"kind": kind, "base_url": base_url}
    statement = insert(sources).values(name=name, **facts)
    known = sa.select(sources.c.source_id, sources.c.kind, sources.c.base_url)
    with connected(engine) as connection, connection.begin():
        row = connection.execute(known.where(sources.c.name == name)).one_or_none()
        if row is not None and (row.kind, row.base_url) == (kind, base_url):
            return SourceId(row.source_id)
        found = connection.scalar(
            statement.on_conflict_do_update(index_elements=["name"], set_=facts).returning(
                sources.c.source_id
            )
        )
    return SourceId(found or 0)


def track(engine: Engine, source_id: SourceId, thread_ids: Sequence[ThreadId]) -> int:
    """Add threads to the registry; answer how many were new."""
    wanted = sa.func.unnest(sa.cast(thread_ids, ARRAY(sa.Text)))
    statement = insert(threads).from_select(
        ["source_id", "thread_id"],
        sa.select(sa.literal(source_id, sa.SmallInteger), wanted),
    )
    with connected(engine) as connection, connection.begin():
        return connection.execute(
            statement.on_conflict_do_nothing(),
            execution_options={"preserve_rowcount": True},
        ).rowcount


def untrack(engine: Engine, source_id: SourceId, thread_ids: Sequence[ThreadId]) -> int:
    """Take threads out of the registry, their runs stay; answer how many were there."""
    statement = sa.delete(threads).where(
        threads.c.source_id == source_id,
        threads.c.thread_id == sa.any_(sa.cast(thread_ids, ARRAY(sa.Text))),
    )
    with connected(engine) as connection, connection.begin():
        return connection.execute(statement).rowcount


def count_tracked(engine: Engine, source_id: SourceId, only: ThreadId | None = None) -> int:
    """How many threads of a source a sync has before it."""
    statement = sa.select(sa.func.count()).select_from(threads)
    with connected(engine) as connection:
        return connection.scalar(statement.where(*_due(source_id, only))) or 0


def tracked(
    engine: Engine, source_id: SourceId, only: ThreadId | None = None
) -> Iterator[TrackedThread]:
    """Read the threads of a source, a thousand at a time."""
    last = ThreadId("")
    while True:
        found = _tracked_after(engine, source_id, only, last)
        yield from found
        if len(found) < AT_ONCE:
            return
        last = found[-1].thread_id


def _due(source_id: SourceId, only: ThreadId | None) -> Iterator[sa.ColumnElement[bool]]:
    yield threads.c.source_id == source_id
    yield threads.c.gone_at.is_(None)
    if only is not None:
        yield threads.c.thread_id == only


def _tracked_after(
    engine: Engine, source_id: SourceId, only: ThreadId | None, last: ThreadId
) -> list[TrackedThread]:
    statement = (
        sa.select(
            threads.c.thread_id,
            threads.c.synced_through,
            microseconds(threads.c.synced_through_at).label("synced_through_at"),
            microseconds(threads.c.read_at).label("read_at"),
        )
        .where(*_due(source_id, only), threads.c.thread_id > last)
        .order_by(threads.c.thread_id)
        .limit(AT_ONCE)
    )
    with connected(engine) as connection:
        rows = connection.execute(statement).all()
    return [
        TrackedThread(
            source_id=source_id,
            thread_id=row.thread_id,
            bookmark=Bookmark(
                synced_through=row.synced_through,
                synced_through_at=row.synced_through_at,
            ),
            read_at=row.read_at,
        )
        for row in rows
    ]
