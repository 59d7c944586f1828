"""The registry of tracked threads, and of the sources they belong to."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY, Insert, insert
from sqlalchemy.engine import Connection, Engine

from etl.domain.batch import SourceId, TrackedThread
from etl.domain.bookmark import Bookmark
from etl.domain.found import Found
from etl.domain.run import ThreadId
from etl.load.database import connected
from etl.load.deployments import record_deployments
from etl.load.forgotten import is_forgotten
from etl.load.statements import microseconds
from etl.load.tables import sources, threads, untracked

AT_ONCE = 1_000
"""Threads read from the registry by one statement."""


def record_source(
    engine: Engine,
    *,
    name: str,
    kind: str,
    base_url: str | None,
    price_provider: str = "openai",
    models: Mapping[str, str] = MappingProxyType({}),
) -> SourceId:
    """Answer a source's short key; note what the configuration says of it.

    What is noted already is not written again.
    """
    facts = {"kind": kind, "base_url": base_url, "price_provider": price_provider}
    with connected(engine) as connection, connection.begin():
        source_id = _unchanged(connection, name, facts) or _noted(connection, name, facts)
        record_deployments(connection, source_id, models)
    return source_id


def _unchanged(
    connection: Connection, name: str, facts: Mapping[str, str | None]
) -> SourceId | None:
    """The key of a source that is noted just so."""
    same = [
        sources.c[column].is_not_distinct_from(value) for column, value in facts.items()
    ]
    statement = sa.select(sources.c.source_id).where(sources.c.name == name, *same)
    return connection.scalar(statement)


def _noted(connection: Connection, name: str, facts: dict[str, str | None]) -> SourceId:
    statement = insert(sources).values(name=name, **facts)
    upsert = statement.on_conflict_do_update(index_elements=["name"], set_=facts)
    return SourceId(connection.execute(upsert.returning(sources.c.source_id)).scalar_one())


def known_sources(engine: Engine) -> dict[str, SourceId]:
    """The short keys of all sources that were ever used, by their names."""
    statement = sa.select(sources.c.name, sources.c.source_id).order_by(sources.c.name)
    with connected(engine) as connection:
        return {row.name: SourceId(row.source_id) for row in connection.execute(statement)}


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
    engine: Engine, source_id: SourceId, thread_ids: Sequence[ThreadId]
) -> Found:
    """Add threads that a discovery or a file has named, unless somebody keeps them out.

    Ids may repeat. Some ten thousand at a time are quick.
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
    return Found(added=new, known=let_in - new, kept_out=named - let_in)


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


Choice = Sequence[sa.ColumnElement[bool]]
"""Which threads a sync has before it."""

TOMBSTONE_DAYS = 7
TOMBSTONE_SHARE = 28

_draw = sa.func.abs(sa.func.hashtextextended(threads.c.thread_id, 0))
"""A number that is always the same for a thread, and even over all threads."""


def due(source_id: SourceId, only: ThreadId | None = None) -> Choice:
    """The threads of a source, or one of them.

    A tombstone is asked for a week, then every 28th day: it may come back to life.
    """
    mine = threads.c.source_id == source_id
    if only is not None:
        return [mine, threads.c.thread_id == only]
    young = threads.c.gone_at > sa.func.now() - timedelta(days=TOMBSTONE_DAYS)
    today = sa.cast(sa.extract("epoch", sa.func.now()), sa.BigInteger) // 86_400
    its_day = _draw % TOMBSTONE_SHARE == today % TOMBSTONE_SHARE
    return [mine, sa.or_(threads.c.gone_at.is_(None), young, its_day)]


def not_walked_since(horizon: datetime) -> sa.ColumnElement[bool]:
    """Threads that were not read from their start since an instant."""
    return sa.or_(threads.c.walked_at.is_(None), threads.c.walked_at < horizon)


def walk_is_due(every: timedelta | None) -> sa.ColumnElement[bool]:
    """Whether a thread should be read from its start once more.

    A thread whose first pass was interrupted was never walked; it counts from when
    it was tracked.
    Each thread has its own day between half of the interval and the whole, so that
    threads that were first read together are spread over many syncs.
    """
    if every is None:
        return sa.false()
    share = 0.5 + (_draw % 1_000) / sa.literal(2_000.0)
    walked_at = sa.func.coalesce(threads.c.walked_at, threads.c.tracked_at)
    return walked_at < sa.func.now() - share * sa.cast(every, sa.Interval)


def has_run_since(moment: datetime) -> sa.ColumnElement[bool]:
    """Threads with a run created since an instant."""
    return threads.c.last_run_at >= moment


def is_alive() -> sa.ColumnElement[bool]:
    """Threads that are no tombstones."""
    return threads.c.gone_at.is_(None)


def among(keys: Sequence[tuple[SourceId, ThreadId]]) -> sa.ColumnElement[bool]:
    """These threads, however many they are."""
    source_ids = sa.cast([source_id for source_id, _ in keys], ARRAY(sa.SmallInteger))
    thread_ids = sa.cast([thread_id for _, thread_id in keys], ARRAY(sa.Text))
    wanted = sa.select(sa.func.unnest(source_ids), sa.func.unnest(thread_ids))
    return sa.tuple_(threads.c.source_id, threads.c.thread_id).in_(wanted)


def count_tracked(engine: Engine, choice: Choice) -> int:
    """How many threads a sync has before it."""
    statement = sa.select(sa.func.count()).select_from(threads).where(*choice)
    with connected(engine) as connection:
        return connection.scalar(statement) or 0


def tracked(
    engine: Engine, choice: Choice, *, from_start: sa.ColumnElement[bool]
) -> Iterator[TrackedThread]:
    """Read the chosen threads, a thousand at a time.

    Where `from_start` holds, the bookmark is left out, so that the whole thread is
    read again.
    """
    last = ThreadId("")
    while True:
        found = _tracked_after(engine, choice, from_start, last)
        yield from found
        if len(found) < AT_ONCE:
            return
        last = found[-1].thread_id


def sampled(engine: Engine, choice: Choice, most: int | None) -> list[TrackedThread]:
    """Some of the chosen threads at random, or all of them."""
    if most is None:
        return list(tracked(engine, choice, from_start=sa.false()))
    return _read(engine, _select(choice, sa.false()).order_by(sa.func.random()).limit(most))


def _tracked_after(
    engine: Engine, choice: Choice, from_start: sa.ColumnElement[bool], last: ThreadId
) -> list[TrackedThread]:
    chosen = _select([*choice, threads.c.thread_id > last], from_start)
    return _read(engine, chosen.order_by(threads.c.thread_id).limit(AT_ONCE))


def _select(choice: Choice, from_start: sa.ColumnElement[bool]) -> sa.Select[Any]:
    return sa.select(
        threads.c.source_id,
        threads.c.thread_id,
        threads.c.synced_through,
        microseconds(threads.c.synced_through_at).label("synced_through_at"),
        threads.c.overlap_from,
        threads.c.watched_run_ids,
        microseconds(threads.c.read_at).label("read_at"),
        threads.c.gone_at.is_not(None).label("is_gone"),
        from_start.label("from_start"),
    ).where(*choice)


def _read(engine: Engine, statement: sa.Select[Any]) -> list[TrackedThread]:
    with connected(engine) as connection:
        return list(map(_thread, connection.execute(statement)))


def _thread(row: Any) -> TrackedThread:
    bookmark = Bookmark(
        synced_through=row.synced_through,
        synced_through_at=row.synced_through_at,
        overlap_from=row.overlap_from,
        watched=tuple(row.watched_run_ids),
    )
    return TrackedThread(
        source_id=row.source_id,
        thread_id=row.thread_id,
        bookmark=Bookmark() if row.from_start else bookmark,
        read_at=row.read_at,
        is_gone=row.is_gone,
    )
