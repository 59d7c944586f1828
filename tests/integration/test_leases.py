"""Threads are leased in parts; who was overtaken is refused by its token."""

import threading
from collections.abc import Iterator
from dataclasses import replace

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Engine

from etl.domain.batch import Increment, PassFailure, SourceId, TrackedThread
from etl.domain.run import ThreadId
from etl.load import leases, plans, threads
from etl.load.database import connected
from etl.load.leasing import Leases
from etl.load.store import Store
from etl.load.tracking import track
from tests.integration.builders import (
    NOW,
    a_batch,
    a_payload,
    a_sync,
    after,
    an_increment,
    committed,
    execute,
    query,
)

IDS = [ThreadId(f"thread_{number:02}") for number in range(10)]


class Process:
    """One process of a sync: its leases, and the store it commits with."""

    def __init__(
        self, engine: Engine, sync_id: int, *, until: float = 1e9, shared: bool = True
    ) -> None:
        self.now = 0.0
        self.leases = Leases(
            engine,
            sync_id=sync_id,
            holder="a test",
            lasting=60,
            shared=shared,
            until=until,
            clock=lambda: self.now,
        )
        self.connection = engine.connect()
        self.store = Store(self.connection, sync_id=sync_id, now=NOW, leases=self.leases)

    def end(self, thread: TrackedThread, run_id: str) -> None:
        """A pass that goes well and finds one run."""
        self.leases.passed(thread)
        self.store.commit(a_batch(page_of(thread, run_id)))

    def threads(self, source_id: SourceId) -> Iterator[TrackedThread | None]:
        return self.leases.threads(source_id, from_start=sa.false())


@pytest.fixture
def source(swept_engine: Engine) -> SourceId:
    with connected(swept_engine) as connection, connection.begin():
        source_id = connection.scalar(
            sa.text(
                "INSERT INTO run_sync.sources (name, kind) VALUES ('demo', 'openai')"
                " RETURNING source_id"
            )
        )
    track(swept_engine, SourceId(source_id), IDS)
    return SourceId(source_id)


@pytest.fixture
def sync_id(swept_engine: Engine, source: SourceId) -> int:
    """A sync of all threads, four to a lease."""
    with connected(swept_engine) as connection:
        sync_id = a_sync(connection)
        with connection.begin():
            plans.write(connection, sync_id, source, known=10, due=10)
            chosen = threads.chosen(threads.due(source))
            leases.write(connection, sync_id, source, chosen, together=4)
    return sync_id


@pytest.fixture
def one(swept_engine: Engine, sync_id: int) -> Iterator[Process]:
    process = Process(swept_engine, sync_id)
    yield process
    process.connection.close()


@pytest.fixture
def other(swept_engine: Engine, sync_id: int) -> Iterator[Process]:
    process = Process(swept_engine, sync_id)
    yield process
    process.connection.close()


def some(of: Iterator[TrackedThread | None], number: int) -> list[TrackedThread]:
    found = [next(of) for _ in range(number)]
    return [each for each in found if each is not None]


def page_of(thread: TrackedThread, run_id: str, *, completes: bool = True) -> Increment:
    page = an_increment(
        thread.source_id,
        a_payload(run_id),
        thread_id=thread.thread_id,
        read_before=thread.read_at,
        read_at=after(1),
        completes=completes,
    )
    return replace(page, lease=thread.lease)


def lapse(engine: Engine) -> None:
    execute(engine, "UPDATE run_sync.leases SET lapses_at = now() - interval '1 second'")


def held(engine: Engine) -> list[tuple[list[str], int]]:
    return [
        (ids, token)
        for ids, token in query(
            engine, "SELECT thread_ids, token FROM run_sync.leases ORDER BY lease_id"
        )
    ]


def test_threads_are_written_in_their_order_so_many_to_a_lease(
    swept_engine: Engine, sync_id: int
) -> None:
    assert held(swept_engine) == [(IDS[:4], 0), (IDS[4:8], 0), (IDS[8:], 0)]


def test_threads_of_a_lease_are_given_out_and_back_in_their_order(
    swept_engine: Engine, source: SourceId
) -> None:
    with connected(swept_engine) as connection:
        sync_id = a_sync(connection)
        with connection.begin():
            urgent = threads.chosen(threads.due(source)).order_by(None)
            backwards = urgent.order_by(sa.text("thread_id DESC"))
            leases.write(connection, sync_id, source, backwards, together=10)
    process = Process(swept_engine, sync_id)

    given = some(process.threads(source), 10)
    process.leases.close(process.connection)
    process.connection.close()

    assert [each.thread_id for each in given] == IDS[::-1]
    assert held(swept_engine) == [(IDS[::-1], 1)]


@pytest.mark.parametrize(
    ("due", "shared", "size"),
    [
        (0, True, 1),
        (49, True, 1),
        (1_000, True, 20),
        (900_000, True, 1_000),
        (3, False, 1_000),
    ],
)
def test_a_shared_sync_is_cut_into_parts_even_where_it_is_small(
    due: int, size: int, *, shared: bool
) -> None:
    assert leases.together(due, shared=shared) == size


def test_two_processes_are_never_given_the_same_thread(
    source: SourceId, one: Process, other: Process
) -> None:
    mine, theirs = one.threads(source), other.threads(source)

    given = [each for _ in range(6) for each in (next(mine), next(theirs))]

    assert sorted(each.thread_id for each in given if each is not None) == IDS


def test_who_finds_nothing_free_waits_for_what_others_may_give_back(
    swept_engine: Engine, source: SourceId, one: Process, other: Process
) -> None:
    some(one.threads(source), 10)
    theirs = other.threads(source)

    assert [next(theirs), next(theirs)] == [None, None]
    with connected(swept_engine) as connection:
        one.leases.close(connection)
    other.now += 1
    assert [each.thread_id for each in some(theirs, 10)] == IDS


def test_a_process_alone_ends_where_nothing_is_free(
    swept_engine: Engine, source: SourceId, sync_id: int
) -> None:
    alone = Leases(swept_engine, sync_id=sync_id, holder="a test", lasting=60, shared=False)

    assert len(list(alone.threads(source, from_start=sa.false()))) == 10


def test_a_lease_goes_when_all_its_threads_are_committed(
    swept_engine: Engine, source: SourceId, one: Process
) -> None:
    given = some(one.threads(source), 5)
    for each in given:
        one.leases.passed(each)
    pages = [page_of(each, f"run_{n}") for n, each in enumerate(given)]

    one.store.commit(a_batch(*pages[:3]))
    one.store.tend()
    assert [ids for ids, _ in held(swept_engine)] == [IDS[:4], IDS[4:8], IDS[8:]]

    one.store.commit(a_batch(pages[3]))
    assert one.store.tend() == 0
    assert [ids for ids, _ in held(swept_engine)] == [IDS[4:8], IDS[8:]]


def test_a_pass_that_fails_after_its_last_page_was_committed_fails_under_its_lease(
    swept_engine: Engine, source: SourceId, one: Process
) -> None:
    *given, _ = some(one.threads(source), 5)
    one.store.commit(a_batch(*[page_of(each, f"run_{each.thread_id}") for each in given]))
    for each in given[1:]:
        one.leases.passed(each)
    one.store.tend()
    assert [ids for ids, _ in held(swept_engine)] == [IDS[:4], IDS[4:8], IDS[8:]]

    first = given[0]
    failure = PassFailure(
        source_id=source, thread_id=first.thread_id, message="no", lease=first.lease
    )
    assert one.store.commit(a_batch(failures=[failure])) == committed(pages=0)
    one.store.tend()

    assert [ids for ids, _ in held(swept_engine)] == [IDS[4:8], IDS[8:]]
    errors = "SELECT consecutive_errors FROM run_sync.threads ORDER BY thread_id LIMIT 2"
    assert query(swept_engine, errors) == [(1,), (0,)]


def test_a_failed_and_an_unknown_thread_are_done_with_too(
    swept_engine: Engine, source: SourceId, one: Process
) -> None:
    *given, _ = some(one.threads(source), 5)
    failures = [
        PassFailure(
            source_id=source, thread_id=each.thread_id, message="no", lease=each.lease
        )
        for each in given
    ]

    one.store.commit(a_batch(failures=failures[:2]))
    one.store.commit(a_batch(unknown=failures[2:]))
    one.store.tend()

    assert [ids for ids, _ in held(swept_engine)] == [IDS[4:8], IDS[8:]]
    counted = query(swept_engine, "SELECT answered, missing FROM run_sync.plans")
    assert counted == [(0, 2)]


def test_who_was_overtaken_is_refused_by_its_token_and_writes_nothing(
    swept_engine: Engine, source: SourceId, one: Process, other: Process
) -> None:
    [first, second, third, _] = some(one.threads(source), 4)
    lapse(swept_engine)
    [taken] = some(other.threads(source), 1)
    assert (taken.thread_id, taken.lease) != (first.thread_id, first.lease)
    assert taken.thread_id == first.thread_id

    failed = PassFailure(
        source_id=source, thread_id=third.thread_id, message="no", lease=third.lease
    )
    answer = one.store.commit(
        a_batch(page_of(first, "run_a"), page_of(second, "run_b"), failures=[failed])
    )

    refused = {(source, each.thread_id) for each in (first, second, third)}
    assert answer == committed(pages=0, refused=refused)
    assert query(swept_engine, "SELECT count(*) FROM run_history.runs") == [(0,)]
    errors = "SELECT max(consecutive_errors), max(read_at) FROM run_sync.threads"
    assert query(swept_engine, errors) == [(0, None)]
    assert other.store.commit(a_batch(page_of(taken, "run_a"))) == committed(created=1)


def test_what_is_ours_is_committed_beside_what_is_refused(
    swept_engine: Engine, source: SourceId, one: Process, other: Process
) -> None:
    given = some(one.threads(source), 5)
    execute(
        swept_engine,
        "UPDATE run_sync.leases SET lapses_at = now() - interval '1 second'"
        " WHERE 'thread_00' = ANY(thread_ids)",
    )
    some(other.threads(source), 1)

    answer = one.store.commit(
        a_batch(page_of(given[0], "run_a"), page_of(given[4], "run_b"))
    )

    assert answer == committed(created=1, refused={(source, IDS[0])})
    assert query(swept_engine, "SELECT run_id FROM run_history.runs") == [("run_b",)]


def test_nobody_takes_a_lease_that_is_being_committed_under(
    swept_engine: Engine, source: SourceId, one: Process, other: Process
) -> None:
    some(one.threads(source), 1)
    lapse(swept_engine)
    with connected(swept_engine) as connection, connection.begin():
        [lease] = leases.still_held(connection, list(one.leases._held))
        [taken] = some(other.threads(source), 1)

        assert taken.thread_id == IDS[4]
    assert lease.token == 1


def test_a_lease_is_renewed_as_long_as_it_is_tended(
    swept_engine: Engine, source: SourceId, one: Process
) -> None:
    [thread] = some(one.threads(source), 1)
    for _ in range(10):
        one.now += 30
        assert one.store.tend() == 0
        assert one.leases.is_sure(thread.lease)
    later = "SELECT lapses_at > now() + interval '50 seconds' FROM run_sync.leases"
    assert query(swept_engine, f"{later} ORDER BY lease_id LIMIT 1") == [(True,)]


def test_who_was_away_too_long_gives_out_no_more_of_a_lease(
    source: SourceId, one: Process, other: Process, swept_engine: Engine
) -> None:
    mine = one.threads(source)
    [first] = some(mine, 1)
    one.now += 61
    lapse(swept_engine)
    some(other.threads(source), 4)

    assert not one.leases.is_sure(first.lease)
    [following] = some(mine, 1)
    assert following.thread_id == IDS[4]
    assert one.store.tend() == 1


def test_a_lease_that_may_have_lapsed_but_did_not_is_given_back_and_taken_anew(
    source: SourceId, one: Process
) -> None:
    mine = one.threads(source)
    [first] = some(mine, 1)
    one.now += 61
    [following] = some(mine, 1)
    assert following.thread_id == IDS[4]

    assert one.store.tend() == 1
    rest = some(mine, 9)
    assert {IDS[0], IDS[1]} <= {each.thread_id for each in rest}
    again = next(each for each in rest if each.thread_id == IDS[0])
    assert again.lease is not None
    assert first.lease is not None
    assert again.lease.token == first.lease.token + 1


def test_a_process_alone_takes_its_last_lease_anew_where_it_may_have_lapsed(
    swept_engine: Engine, source: SourceId, sync_id: int
) -> None:
    alone = Process(swept_engine, sync_id, shared=False)
    mine = alone.threads(source)
    some(mine, 9)
    alone.now += 61

    assert next(mine) is None
    assert alone.store.tend() == 1
    alone.now += 1
    assert [each.thread_id for each in some(mine, 2)] == IDS[8:]
    alone.connection.close()


def test_what_was_committed_before_a_process_died_is_not_asked_again(
    swept_engine: Engine, source: SourceId, one: Process, other: Process
) -> None:
    [first, second, _] = some(one.threads(source), 3)
    one.store.commit(a_batch(page_of(first, "run_a")))
    one.store.commit(a_batch(page_of(second, "run_b", completes=False)))
    lapse(swept_engine)

    rest = [each.thread_id for each in some(other.threads(source), 9)]

    assert rest == [*IDS[1:4], *IDS[4:]]


def test_what_is_given_back_is_only_what_has_not_ended(
    swept_engine: Engine, source: SourceId, one: Process
) -> None:
    [first, *_] = some(one.threads(source), 2)
    one.end(first, "run_a")
    one.leases.close(one.connection)

    assert [ids for ids, _ in held(swept_engine)] == [IDS[1:4], IDS[4:8], IDS[8:]]


def test_what_is_left_of_a_source_that_is_away_is_for_others(
    source: SourceId, one: Process, other: Process
) -> None:
    mine, theirs = one.threads(source), other.threads(source)
    [first, _] = some(mine, 2)
    one.end(first, "run_a")
    some(theirs, 6)

    assert next(theirs) is None, "the one has them still"
    one.leases.leave(source)

    assert one.store.tend() == 0, "nothing is lost"
    assert [each.thread_id for each in some(other.threads(source), 3)] == IDS[1:4]
    assert one.store.tend() == 0, "they are not taken care of any more"


def test_where_time_is_up_nothing_is_given_out_and_the_rest_is_left(
    swept_engine: Engine, source: SourceId, sync_id: int
) -> None:
    process = Process(swept_engine, sync_id, until=100.0)
    mine = process.threads(source)
    [first, _] = some(mine, 2)
    process.end(first, "run_a")
    process.now = 100.0

    assert list(mine) == []
    process.leases.close(process.connection)
    process.connection.close()
    assert held(swept_engine) == []
    assert query(swept_engine, "SELECT threads_left FROM run_sync.syncs") == [(9,)]


def test_what_was_asked_before_a_process_died_is_not_counted_as_left(
    swept_engine: Engine, source: SourceId, one: Process, sync_id: int
) -> None:
    for thread, run_id in zip(some(one.threads(source), 3), "abc", strict=True):
        one.end(thread, f"run_{run_id}")

    with connected(swept_engine) as connection, connection.begin():
        leases.leave(connection, sync_id, is_over=True)
    assert query(swept_engine, "SELECT threads_left FROM run_sync.syncs") == [(7,)]


def test_who_leaves_the_rest_waits_for_nobody_who_commits_under_a_lapsed_lease(
    swept_engine: Engine, source: SourceId, one: Process, sync_id: int
) -> None:
    process = Process(swept_engine, sync_id, until=0.0)
    process.connection.detach()  # as it waits for less long than others
    given = some(one.threads(source), 5)
    claimed = {each.lease for each in given if each.lease is not None}
    lapse(swept_engine)

    with one.connection.begin():
        assert leases.still_held(one.connection, claimed) == claimed
        process.connection.execute(sa.text("SET lock_timeout = '5s'"))
        process.connection.commit()
        process.leases.close(process.connection)
    process.connection.close()
    assert [ids for ids, _ in held(swept_engine)] == [IDS[:4], IDS[4:8]]


def test_one_process_plans_and_the_others_wait_until_it_has(
    swept_engine: Engine, source: SourceId
) -> None:
    with connected(swept_engine) as connection:
        sync_id = a_sync(connection)
    waits, told = threading.Event(), []

    def come_second() -> None:
        turn = plans.turn(swept_engine, sync_id, source, wait=lambda _: waits.set())
        with turn as is_mine:
            told.append(is_mine)

    with plans.turn(swept_engine, sync_id, source) as is_mine:
        second = threading.Thread(target=come_second)
        second.start()
        assert waits.wait(60)
        with connected(swept_engine) as connection, connection.begin():
            plans.write(connection, sync_id, source, known=1, due=1)
    second.join(60)

    assert (is_mine, told) == (True, [False])


def test_whoever_has_a_turn_and_plans_nothing_leaves_it_to_the_next(
    swept_engine: Engine, source: SourceId
) -> None:
    with connected(swept_engine) as connection:
        sync_id = a_sync(connection)
    for _ in range(2):
        with plans.turn(swept_engine, sync_id, source) as is_mine:
            assert is_mine


def test_a_turn_takes_nothing_out_of_the_pool_that_all_sources_share(
    swept_engine: Engine, source: SourceId
) -> None:
    with connected(swept_engine) as connection:
        sync_id = a_sync(connection)
    pool = swept_engine.pool
    assert isinstance(pool, sa.pool.QueuePool)
    before = pool.checkedout()
    with plans.turn(swept_engine, sync_id, source):
        assert pool.checkedout() == before


def test_a_lost_turn_costs_nobody_the_sync_and_the_first_plan_stands(
    swept_engine: Engine, source: SourceId
) -> None:
    with connected(swept_engine) as connection:
        sync_id = a_sync(connection)
    written = []
    with plans.turn(swept_engine, sync_id, source) as one:
        cut = "SELECT pg_terminate_backend(pid, 10000) FROM pg_locks"
        query(swept_engine, f"{cut} WHERE classid = {plans.SPACE}")
        with plans.turn(swept_engine, sync_id, source) as other:
            for due in (1, 2):
                with connected(swept_engine) as connection, connection.begin():
                    written.append(
                        plans.write(connection, sync_id, source, known=due, due=due)
                    )

    assert (one, other, written) == (True, True, [True, False])
    assert query(swept_engine, "SELECT threads_due FROM run_sync.plans") == [(1,)]
