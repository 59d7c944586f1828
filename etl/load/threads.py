"""The registry of tracked threads, and of the sources they belong to."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY, insert
from sqlalchemy.engine import Connection, Engine

from etl.domain.batch import SourceId, TrackedThread
from etl.domain.bookmark import Bookmark
from etl.domain.run import ThreadId
from etl.load.database import connected
from etl.load.deployments import record_deployments
from etl.load.statements import microseconds
from etl.load.tables import plans, sources, threads

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


Choice = Sequence[sa.ColumnElement[bool]]
"""Which threads a sync has before it."""

TOMBSTONE_DAYS = 7
TOMBSTONE_SHARE = 28

NOW = sa.func.now()


def draw_of(thread_id: sa.ColumnElement[str]) -> sa.ColumnElement[int]:
    """A number that is always the same for a thread, and even over all threads."""
    return sa.func.abs(sa.func.hashtextextended(thread_id, 0))


draw = draw_of(threads.c.thread_id)


def due(
    source_id: SourceId,
    only: ThreadId | None = None,
    *,
    now: sa.ColumnElement[datetime] = NOW,
) -> Choice:
    """The threads of a source, or one of them.

    A tombstone is asked for a week, then every 28th day: it may come back to life.
    """
    mine = threads.c.source_id == source_id
    if only is not None:
        return [mine, threads.c.thread_id == only]
    young = threads.c.gone_at > now - timedelta(days=TOMBSTONE_DAYS)
    today = sa.cast(sa.func.floor(sa.extract("epoch", now)), sa.BigInteger) // 86_400
    its_day = draw % TOMBSTONE_SHARE == today % TOMBSTONE_SHARE
    return [mine, sa.or_(threads.c.gone_at.is_(None), young, its_day)]


def not_walked_since(horizon: datetime) -> sa.ColumnElement[bool]:
    """Threads that were not read from their start since an instant."""
    return sa.or_(threads.c.walked_at.is_(None), threads.c.walked_at < horizon)


def walk_is_due(
    every: timedelta | None, *, now: sa.ColumnElement[datetime] = NOW
) -> sa.ColumnElement[bool]:
    """Whether a thread should be read from its start once more.

    A thread whose first pass was interrupted was never walked; it counts from when
    it was tracked.
    Each thread has its own day between half of the interval and the whole, so that
    threads that were first read together are spread over many syncs.
    """
    if every is None:
        return sa.false()
    share = 0.5 + (draw % 1_000) / sa.literal(2_000.0)
    walked_at = sa.func.coalesce(threads.c.walked_at, threads.c.tracked_at)
    return walked_at < now - share * sa.cast(every, sa.Interval)


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
    """How many threads are chosen."""
    with connected(engine) as connection:
        return count_chosen(connection, choice)


def count_chosen(connection: Connection, choice: Choice) -> int:
    """How many threads are chosen, on a connection of the caller's."""
    statement = sa.select(sa.func.count()).select_from(threads).where(*choice)
    return connection.scalar(statement) or 0


def chosen(choice: Choice) -> sa.Select[Any]:
    """The ids of the chosen threads, in their order."""
    return sa.select(threads.c.thread_id).where(*choice).order_by(threads.c.thread_id)


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


def named(source_id: SourceId, thread_ids: Collection[ThreadId]) -> Choice:
    """These threads of a source, however many they are."""
    wanted = sa.cast(list(thread_ids), ARRAY(sa.Text))
    return [threads.c.source_id == source_id, threads.c.thread_id == sa.any_(wanted)]


def not_asked_in(sync_id: int, source_id: SourceId) -> sa.ColumnElement[bool]:
    """Threads that no process of a sync has asked since it was planned."""
    planned = sa.select(plans.c.planned_at).where(
        plans.c.sync_id == sync_id, plans.c.source_id == source_id
    )
    return (threads.c.asked_at >= planned.scalar_subquery()).is_not(sa.true())


def read(
    engine: Engine, choice: Choice, *, from_start: sa.ColumnElement[bool]
) -> list[TrackedThread]:
    """Read the chosen threads at once; `tracked` tells of `from_start`."""
    return _read(engine, _select(choice, from_start))


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
