"""Who holds a source, and what the ledger says of those who died."""

import threading
from datetime import timedelta

import pytest
from sqlalchemy.engine import Engine

from etl.domain.batch import SourceId
from etl.domain.errors import HeldError
from etl.load.database import connected
from etl.load.holding import held_now, holding, holding_free, this_process
from etl.load.ledger import forget_old
from etl.load.threads import record_source
from tests.integration.builders import execute, query


@pytest.fixture
def two(engine: Engine) -> list[SourceId]:
    return [
        record_source(engine, name=name, kind="openai", base_url="http://localhost/v1")
        for name in ("one", "two")
    ]


def test_what_is_held_is_free_again_in_the_end(engine: Engine, two: list[SourceId]) -> None:
    for _ in range(2):
        with (
            holding_free(engine, two, trigger="test") as hold,
            connected(engine) as connection,
        ):
            assert (list(hold.source_ids), hold.busy) == (two, {})
            assert held_now(connection) == set(two)
    with connected(engine) as connection:
        assert held_now(connection) == set()


def test_an_error_inside_lets_go_too(engine: Engine, two: list[SourceId]) -> None:
    with pytest.raises(ZeroDivisionError), holding(engine, two, trigger="test"):
        raise ZeroDivisionError
    with holding(engine, two, trigger="test") as hold:
        assert list(hold.source_ids) == two


def test_a_lost_connection_lets_go_too(engine: Engine, two: list[SourceId]) -> None:
    with holding(engine, two, trigger="test") as hold:
        pid = hold.connection.connection.driver_connection.info.backend_pid  # type: ignore[union-attr]
        query(engine, "SELECT pg_terminate_backend(:pid, 10000)", pid=pid)
    with holding(engine, two, trigger="test") as hold:
        assert list(hold.source_ids) == two


def test_the_free_ones_are_held_beside_those_of_another(
    engine: Engine, two: list[SourceId]
) -> None:
    one, other = two
    with (
        holding(engine, [one], trigger="first") as first,
        holding_free(engine, two, trigger="second") as second,
    ):
        assert list(second.source_ids) == [other]
        [(busy, told)] = second.busy.items()
        assert busy == one
        assert f"Source one is held by sync {first.sync_id} ({this_process()})" in told


def test_all_or_none_where_all_are_needed(engine: Engine, two: list[SourceId]) -> None:
    one, _ = two
    with holding(engine, [one], trigger="first"):
        with pytest.raises(HeldError), holding(engine, two, trigger="second"):
            pass
        with connected(engine) as connection:
            assert held_now(connection) == {one}
    assert query(engine, "SELECT trigger FROM run_sync.syncs") == [("first",)]


def test_two_that_ask_at_the_same_instant_do_not_share(
    engine: Engine, two: list[SourceId]
) -> None:
    both_ask, both_were_told = threading.Barrier(2), threading.Barrier(2)
    held: list[list[SourceId]] = []

    def ask(wanted: list[SourceId]) -> None:
        both_ask.wait(60)
        try:
            with holding_free(engine, wanted, trigger="test") as hold:
                held.append(list(hold.source_ids))
                both_were_told.wait(60)
        except HeldError:
            both_were_told.wait(60)

    for _ in range(40):
        askers = [
            threading.Thread(target=ask, args=[wanted]) for wanted in (two, two[::-1])
        ]
        for asker in askers:
            asker.start()
        for asker in askers:
            asker.join(60)

    assert [sorted(each) for each in held] == [two] * 40


def test_whoever_holds_a_source_ends_the_rows_of_the_dead(
    engine: Engine, two: list[SourceId]
) -> None:
    one, other = two
    execute(
        engine,
        "INSERT INTO run_sync.syncs (trigger, source_ids, holder, finished_at, error)"
        " VALUES ('of both', '{1,2}', 'process 1 on a', NULL, NULL),"
        " ('of the other', '{2}', 'process 2 on a', NULL, NULL),"
        " ('of an older program', NULL, NULL, NULL, NULL),"
        " ('with an error', '{1}', 'process 3 on a', NULL, 'It broke.'),"
        " ('ended', '{1}', 'process 4 on a', now(), NULL)",
    )
    assert (one, other) == (1, 2)

    with holding(engine, [one], trigger="next"):
        rows = query(
            engine, "SELECT trigger, outcome, error FROM run_sync.syncs ORDER BY sync_id"
        )

    died = "its process ended without a word ({}); what it committed stands"
    assert rows == [
        ("of both", "interrupted", died.format("process 1 on a")),
        ("of the other", None, None),
        ("of an older program", "interrupted", died.format("unknown")),
        ("with an error", "interrupted", "It broke."),
        ("ended", None, None),
        ("next", None, None),
    ]


def test_old_rows_go_and_those_of_a_week_stay(engine: Engine) -> None:
    execute(
        engine,
        "INSERT INTO run_sync.syncs (trigger, finished_at) SELECT"
        " days || ' days', now() - make_interval(days => days, mins => 1)"
        " FROM unnest(ARRAY[1, 6, 7, 8, 30]) AS days",
    )
    execute(engine, "INSERT INTO run_sync.syncs (trigger) VALUES ('never ended')")

    assert forget_old(engine, keep=timedelta(days=8)) == 2
    assert forget_old(engine, keep=timedelta(hours=1)) == 1
    left = [trigger for (trigger,) in query(engine, "SELECT trigger FROM run_sync.syncs")]
    assert left == ["1 days", "6 days", "never ended"]
