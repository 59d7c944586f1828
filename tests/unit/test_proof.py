"""Proof: what a trusted source must show before it is believed."""

from collections.abc import Collection

import pytest

from etl.domain.errors import SourceUnavailableError
from etl.domain.run import Instant, RunId
from etl.domain.shown import SHORTEST_CUT, WITNESSES, Shown
from etl.extract.client import Answer
from etl.extract.paging import Walk
from etl.extract.proof import Proof
from tests.unit.builders import CREATED_SECONDS, THREAD, Json, a_payload, an_answer

LONG = 40


def never(_: int) -> bool:
    return False


def a_walk(*run_ids: str, seconds: tuple[int, ...] = ()) -> Walk:
    """A walk over one page; each run is a second later than the one before."""
    runs: list[Json] = [
        a_payload(run_id, created_at=CREATED_SECONDS + second)
        for run_id, second in zip(run_ids, seconds or range(len(run_ids)), strict=True)
    ]
    walk = Walk(lambda _: Answer(an_answer(*runs), Instant(17)), THREAD, None, never)
    list(walk.pages())
    return walk


def ended(*, cut_at: int | None = None, confirmed_at: int | None = None) -> Walk:
    walk = a_walk()
    walk.cut_at, walk.confirmed_at = cut_at, confirmed_at
    return walk


class Pool:
    """What several processes were shown; counts how often it is looked into."""

    def __init__(self) -> None:
        self.looks = 0
        self._shown = Shown()

    def __call__(self, more: Shown) -> Shown:
        self.looks += more == Shown()
        self._shown += more
        return self._shown


class Server:
    """Answers what follows a cursor, and counts how often it is asked."""

    def __init__(self, *following: str) -> None:
        self.asked: list[RunId] = []
        self._following = {RunId(each) for each in following}

    def __call__(self, cursor: RunId) -> Collection[RunId]:
        self.asked.append(cursor)
        return self._following


def test_at_first_every_page_is_doubted_but_the_shortest() -> None:
    proof = Proof()

    assert proof.doubts(SHORTEST_CUT)
    assert not proof.doubts(SHORTEST_CUT - 1)


def test_a_length_that_was_often_the_last_is_believed() -> None:
    proof = Proof()
    for _ in range(WITNESSES):
        assert proof.doubts(SHORTEST_CUT)
        proof.note_end(ended(confirmed_at=LONG))

    assert not proof.doubts(LONG)
    assert proof.doubts(LONG + 1)


def test_a_length_that_was_not_the_last_is_never_believed_again() -> None:
    proof = Proof()
    proof.note_end(ended(cut_at=LONG))
    for _ in range(WITNESSES):
        proof.note_end(ended(confirmed_at=LONG))
    proof.note_end(ended(cut_at=LONG + 5))

    assert proof.doubts(LONG)
    assert not proof.doubts(LONG - 1)


def test_what_is_shown_for_every_thread_is_remembered_a_few_times() -> None:
    pool = Pool()
    proof = Proof(pool)
    for _ in range(1_000):
        assert proof.doubts(LONG)
        proof.note_end(ended(cut_at=LONG))
        proof.note_end(ended(confirmed_at=LONG))

    assert pool(Shown()) == Shown(last_pages=(LONG,) * WITNESSES, cut_at=LONG)


def test_what_others_were_shown_need_not_be_shown_again() -> None:
    pool, server = Pool(), Server("run_5", "run_3")
    theirs, mine = Proof(pool), Proof(pool)
    theirs.test_cursors(a_walk("run_1", "run_7", "run_5", "run_3"), server)
    for _ in range(WITNESSES):
        theirs.note_end(ended(confirmed_at=LONG))

    assert not mine.doubts(LONG)
    mine.test_cursors(a_walk("run_9", "run_8"), server)
    assert server.asked == ["run_7"]


def test_the_pool_is_looked_into_only_before_the_server_is_asked() -> None:
    pool = Pool()
    proof = Proof(pool)

    proof.doubts(SHORTEST_CUT - 1)
    proof.note_end(a_walk())
    proof.test_cursors(a_walk("run_1", "run_2"), Server())

    assert pool.looks == 0


def test_cursors_are_tested_on_a_run_with_a_lower_id_once() -> None:
    proof, server = Proof(), Server("run_5", "run_3")

    proof.test_cursors(a_walk("run_1", "run_7", "run_5", "run_3"), server)
    proof.test_cursors(a_walk("run_9", "run_8"), server)

    assert server.asked == ["run_7"]


def test_cursors_that_go_by_id_end_the_source() -> None:
    proof, server = Proof(), Server("run_9")

    with pytest.raises(SourceUnavailableError, match=r"leaves out run_5.*trusted = false"):
        proof.test_cursors(a_walk("run_7", "run_5", "run_9"), server)
    with pytest.raises(SourceUnavailableError):
        proof.test_cursors(a_walk("run_7", "run_5", "run_9"), server)


@pytest.mark.parametrize(
    ("run_ids", "seconds"),
    [
        ((), ()),
        (("run_1",), (0,)),
        (("run_1", "run_2"), (0, 1)),
        (("run_2", "run_1"), (0, 0)),
    ],
)
def test_what_ids_in_order_or_one_second_cannot_tell_is_not_asked(
    run_ids: tuple[str, ...], seconds: tuple[int, ...]
) -> None:
    server = Server()

    Proof().test_cursors(a_walk(*run_ids, seconds=seconds), server)

    assert server.asked == []
