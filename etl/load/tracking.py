"""Which threads the registry has: tracked, untracked, found by a discovery or a file."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from types import MappingProxyType

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY, Insert, insert
from sqlalchemy.engine import Connection, Engine

from etl.domain.batch import SourceId
from etl.domain.found import Found
from etl.domain.run import ThreadId
from etl.load.database import connected
from etl.load.forgotten import is_forgotten
from etl.load.tables import sources, threads, untracked


def track(engine: Engine, source_id: SourceId, thread_ids: Sequence[ThreadId]) -> int:
    """Add threads to the registry, but no forgotten ones; answer how many were new.

    That they were untracked by hand is history then.
    """
    wanted = _wanted(thread_ids)
    with _changing(engine, source_id) as connection:
        connection.execute(
            sa.delete(untracked).where(*_among(untracked, source_id, wanted))
        )
        free = sa.select(wanted).where(~is_forgotten(source_id, wanted.c.thread_id))
        return connection.execute(
            _insert(threads, source_id, free.subquery()),
            execution_options={"preserve_rowcount": True},
        ).rowcount


def untrack(engine: Engine, source_id: SourceId, thread_ids: Sequence[ThreadId]) -> int:
    """Take threads out of the registry, their runs stay; answer how many were there.

    It is noted, so that nobody who finds them tracks them again. A forgotten thread
    stays out without a note, which would name it.
    """
    wanted = _wanted(thread_ids)
    with _changing(engine, source_id) as connection:
        free = sa.select(wanted).where(~is_forgotten(source_id, wanted.c.thread_id))
        connection.execute(_insert(untracked, source_id, free.subquery()))
        return connection.execute(
            sa.delete(threads).where(*_among(threads, source_id, wanted))
        ).rowcount


def track_found(
    engine: Engine,
    source_id: SourceId,
    thread_ids: Sequence[ThreadId],
    active_at: Mapping[ThreadId, datetime] = MappingProxyType({}),
) -> Found:
    """Add threads that a discovery or a file has named, unless somebody keeps them out.

    `active_at` tells when some of them were active. Ids may repeat. Some ten thousand at
    a time are quick.
    """
    wanted = _wanted(thread_ids)
    free = (
        sa.select(wanted)
        .where(
            ~is_forgotten(source_id, wanted.c.thread_id),
            ~sa.exists().where(
                untracked.c.source_id == source_id,
                untracked.c.thread_id == wanted.c.thread_id,
            ),
        )
        .cte("free")
    )
    added = _insert(threads, source_id, free).returning(sa.literal(1)).cte("added")
    numbers = [
        sa.select(sa.func.count()).select_from(each) for each in (wanted, free, added)
    ]
    with _changing(engine, source_id) as connection:
        statement = sa.select(*(each.scalar_subquery() for each in numbers))
        named, let_in, new = connection.execute(statement).one()
        moved = _note_activity(connection, source_id, active_at) if active_at else 0
    return Found(added=new, known=let_in - new, kept_out=named - let_in, moved=moved)


def _note_activity(
    connection: Connection, source_id: SourceId, active_at: Mapping[ThreadId, datetime]
) -> int:
    """Move on when tracked threads were active; answer how many did move.

    It never goes back, and never ahead of our clock: what lies there would make a thread
    due at every sync until then.
    """
    told = (
        sa.func.unnest(
            sa.cast(list(active_at), ARRAY(sa.Text)),
            sa.cast(list(active_at.values()), ARRAY(sa.DateTime(timezone=True))),
        )
        .table_valued("thread_id", "active_at", name="told")
        .render_derived()
    )
    moved = sa.func.least(told.c.active_at, sa.func.clock_timestamp())
    statement = (
        sa.update(threads)
        .where(
            threads.c.source_id == source_id,
            threads.c.thread_id == told.c.thread_id,
            sa.or_(threads.c.active_at.is_(None), threads.c.active_at < moved),
        )
        .values(active_at=moved)
    )
    return connection.execute(
        statement, execution_options={"preserve_rowcount": True}
    ).rowcount


@contextmanager
def _changing(engine: Engine, source_id: SourceId) -> Iterator[Connection]:
    """A transaction that is alone in changing which threads of a source are tracked.

    Else a thread could be found, and so tracked, while somebody untracks it.
    """
    mine = sa.select(sources.c.source_id).where(sources.c.source_id == source_id)
    with connected(engine) as connection, connection.begin():
        connection.execute(mine.with_for_update(key_share=True))
        yield connection


def _wanted(thread_ids: Sequence[ThreadId]) -> sa.CTE:
    """Distinct ids, as a table of them."""
    named = sa.func.unnest(sa.cast(thread_ids, ARRAY(sa.Text))).column_valued("named")
    return sa.select(named.label("thread_id")).distinct().cte("wanted")


def _insert(table: sa.Table, source_id: SourceId, wanted: sa.FromClause) -> Insert:
    """Add threads to a table, unless they stand there."""
    rows = sa.select(sa.literal(source_id, sa.SmallInteger), wanted.c.thread_id)
    statement = insert(table).from_select(["source_id", "thread_id"], rows)
    return statement.on_conflict_do_nothing()


def _among(
    table: sa.Table, source_id: SourceId, wanted: sa.CTE
) -> list[sa.ColumnElement[bool]]:
    """The rows of a table that are of these threads."""
    return [
        table.c.source_id == source_id,
        table.c.thread_id.in_(sa.select(wanted.c.thread_id)),
    ]
