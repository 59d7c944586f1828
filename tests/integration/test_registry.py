"""The registry of tracked threads against a real Postgres."""

from datetime import timedelta

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Engine

from etl.domain.batch import SourceId, TrackedThread
from etl.domain.bookmark import Bookmark
from etl.domain.run import ThreadId
from etl.load.store import Store
from etl.load.threads import (
    count_tracked,
    due,
    record_source,
    sampled,
    tracked,
    walk_is_due,
)
from etl.load.tracking import track, untrack
from tests.integration.builders import (
    NOW,
    NOW_SECONDS,
    THREAD,
    a_batch,
    a_payload,
    an_increment,
    execute,
    query,
)


@pytest.fixture
def engine(swept_engine: Engine) -> Engine:
    return swept_engine


@pytest.fixture
def empty_source(engine: Engine) -> SourceId:
    """A source without any thread."""
    return record_source(engine, name="empty", kind="openai", base_url="http://empty")


def ids(*names: str) -> list[ThreadId]:
    return [ThreadId(name) for name in names]


def all_tracked(
    engine: Engine, source_id: SourceId, only: ThreadId | None = None
) -> list[TrackedThread]:
    return list(tracked(engine, due(source_id, only), from_start=sa.false()))


def tracked_ids(
    engine: Engine, source_id: SourceId, only: ThreadId | None = None
) -> list[ThreadId]:
    return [thread.thread_id for thread in all_tracked(engine, source_id, only)]


def test_a_new_thread_has_never_been_read(engine: Engine, empty_source: SourceId) -> None:
    assert track(engine, empty_source, ids("thread_1")) == 1

    assert all_tracked(engine, empty_source) == [
        TrackedThread(
            source_id=empty_source,
            thread_id=ThreadId("thread_1"),
            bookmark=Bookmark(),
            read_at=None,
        )
    ]


def test_a_thread_comes_back_with_its_bookmark_to_the_microsecond(
    engine: Engine, source_id: SourceId, store: Store
) -> None:
    store.commit(
        a_batch(an_increment(source_id, a_payload(created_at=NOW_SECONDS - 0.000001)))
    )

    (thread,) = all_tracked(engine, source_id)

    assert thread.read_at == NOW
    assert thread.bookmark.synced_through == "run_1"
    assert thread.bookmark.synced_through_at == NOW - 1


def test_threads_are_tracked_once_however_often_they_are_named(
    engine: Engine, empty_source: SourceId
) -> None:
    first = track(engine, empty_source, ids("thread_1", "thread_2", "thread_1"))
    second = track(engine, empty_source, ids("thread_2", "thread_3", "thread_3"))

    assert (first, second) == (2, 1)
    assert tracked_ids(engine, empty_source) == ["thread_1", "thread_2", "thread_3"]


def test_tracking_again_keeps_the_bookmark(
    engine: Engine, source_id: SourceId, store: Store
) -> None:
    store.commit(a_batch(an_increment(source_id, a_payload())))
    before = query(engine, "SELECT * FROM run_sync.threads")

    assert track(engine, source_id, [THREAD]) == 0

    assert query(engine, "SELECT * FROM run_sync.threads") == before


def test_nothing_to_track_is_nothing_tracked(
    engine: Engine, empty_source: SourceId
) -> None:
    assert track(engine, empty_source, []) == 0
    assert untrack(engine, empty_source, []) == 0


def test_more_threads_than_one_statement_reads_come_in_order_and_once(
    engine: Engine, empty_source: SourceId, source_id: SourceId
) -> None:
    names = ids(*(f"thread_{number * 7919 % 2500:05}" for number in range(2500)))
    assert track(engine, empty_source, names) == 2500

    assert tracked_ids(engine, empty_source) == sorted(names)
    assert count_tracked(engine, due(empty_source)) == 2500
    assert tracked_ids(engine, source_id) == [THREAD]


@pytest.mark.parametrize("number", [999, 1000, 1001])
def test_a_full_last_part_is_not_the_end_and_not_an_endless_loop(
    engine: Engine, empty_source: SourceId, number: int
) -> None:
    track(engine, empty_source, ids(*(f"thread_{each}" for each in range(number))))

    assert len(tracked_ids(engine, empty_source)) == number


def test_ids_of_any_letters_are_all_read(engine: Engine, empty_source: SourceId) -> None:
    odd = ids(
        "a", "A", "ä", "Ä", "_a", "thread/1", "thread 1", "線", "\N{GRINNING FACE}", "'"
    )
    plain = ids(*(f"thread_{each}" for each in range(1200)))
    track(engine, empty_source, [*odd, *plain])

    found = tracked_ids(engine, empty_source)

    assert sorted(found) == sorted([*odd, *plain])


def test_one_thread_can_be_asked_for(engine: Engine, empty_source: SourceId) -> None:
    track(engine, empty_source, ids("thread_1", "thread_2"))
    one, none = ids("thread_2", "thread_9")

    assert tracked_ids(engine, empty_source, one) == [one]
    assert count_tracked(engine, due(empty_source, one)) == 1
    assert tracked_ids(engine, empty_source, none) == []
    assert count_tracked(engine, due(empty_source, none)) == 0


def test_some_threads_can_be_picked_at_random(
    engine: Engine, empty_source: SourceId
) -> None:
    names = ids(*(f"thread_{each}" for each in range(9)))
    track(engine, empty_source, names)

    some = [each.thread_id for each in sampled(engine, due(empty_source), 4)]
    every = [each.thread_id for each in sampled(engine, due(empty_source), None)]

    assert len(set(some)) == 4
    assert set(some) < set(names)
    assert every == names


def test_a_tombstone_is_asked_for_a_week_and_then_now_and_then(
    engine: Engine, empty_source: SourceId
) -> None:
    track(engine, empty_source, ids(*(f"thread_{each}" for each in range(2800))))

    def due_when_gone_for(days: int) -> list[TrackedThread]:
        gone_at = f"now() - interval '{days} days'"
        execute(engine, f"UPDATE run_sync.threads SET gone_at = {gone_at}")
        return all_tracked(engine, empty_source)

    young, old = due_when_gone_for(6), due_when_gone_for(8)

    assert len(young) == 2800
    assert all(thread.is_gone for thread in young)
    assert 50 < len(old) < 150


def test_a_tombstone_is_read_whenever_it_is_asked_for_by_name(
    engine: Engine, source_id: SourceId
) -> None:
    execute(engine, "UPDATE run_sync.threads SET gone_at = '2020-01-01'")

    (thread,) = all_tracked(engine, source_id, THREAD)

    assert thread.is_gone


def test_a_whole_walk_leaves_the_bookmark_out(
    engine: Engine, source_id: SourceId, store: Store
) -> None:
    store.commit(a_batch(an_increment(source_id, a_payload())))

    (thread,) = tracked(engine, due(source_id), from_start=sa.true())

    assert thread.bookmark == Bookmark()
    assert thread.read_at == NOW


@pytest.mark.parametrize(
    ("days", "fewest", "most"), [(49, 0, 0), (75, 1, 199), (101, 200, 200)]
)
def test_whole_walks_are_spread_over_the_second_half_of_their_interval(
    engine: Engine, empty_source: SourceId, days: int, fewest: int, most: int
) -> None:
    track(engine, empty_source, ids(*(f"thread_{each}" for each in range(200))))
    walked_at = f"now() - interval '{days} days'"
    execute(
        engine,
        f"UPDATE run_sync.threads SET synced_through = 'run_1', walked_at = {walked_at}",
    )

    every = walk_is_due(timedelta(days=100))
    read = tracked(engine, due(empty_source), from_start=every)
    from_start = [each for each in read if each.bookmark == Bookmark()]

    assert fewest <= len(from_start) <= most


def test_untracking_keeps_the_runs_and_the_threads_of_other_sources(
    engine: Engine, source_id: SourceId, empty_source: SourceId, store: Store
) -> None:
    track(engine, empty_source, [THREAD])
    store.commit(a_batch(an_increment(source_id, a_payload())))

    assert untrack(engine, source_id, [THREAD, *ids("thread_9")]) == 1

    assert tracked_ids(engine, source_id) == []
    assert tracked_ids(engine, empty_source) == [THREAD]
    assert query(engine, "SELECT run_id FROM run_history.runs") == [("run_1",)]


def test_a_source_keeps_its_key_and_takes_its_new_address(engine: Engine) -> None:
    first = record_source(engine, name="a", kind="openai", base_url="http://old")
    again = record_source(engine, name="a", kind="openai", base_url="http://old")
    moved = record_source(engine, name="a", kind="openai", base_url="http://new")
    other = record_source(engine, name="b", kind="openai", base_url="http://new")

    assert first == again == moved != other
    assert query(
        engine, "SELECT source_id, name, kind, base_url FROM run_sync.sources ORDER BY name"
    ) == [(first, "a", "openai", "http://new"), (other, "b", "openai", "http://new")]


def test_an_unchanged_source_is_neither_written_nor_numbered_again(engine: Engine) -> None:
    first = record_source(engine, name="a", kind="openai", base_url="http://a")
    for _ in range(3):
        record_source(engine, name="a", kind="openai", base_url="http://a")

    assert record_source(engine, name="b", kind="openai", base_url="http://b") == first + 1
