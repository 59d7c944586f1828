"""Who holds a source, and what the ledger says of those who died."""

import threading
from datetime import timedelta

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Engine

from etl.domain.batch import SourceId
from etl.domain.errors import HeldError
from etl.load import holding as holding_module
from etl.load import plans
from etl.load.database import connected
from etl.load.holding import held_now, holding, holding_free, sharing, this_process
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


# One sync, many processes -----------------------------------------------------


def ended(engine: Engine) -> list[tuple[str, str | None]]:
    return [
        (trigger, outcome)
        for trigger, outcome in query(
            engine, "SELECT trigger, outcome FROM run_sync.syncs ORDER BY sync_id"
        )
    ]


def test_many_share_one_sync_and_whoever_leaves_last_ends_it(
    engine: Engine, two: list[SourceId]
) -> None:
    with sharing(engine, two, trigger="sync") as one:
        planned(engine, one.sync_id, two)
        with sharing(engine, two[::-1], trigger="sync") as other:
            assert (one.sync_id, one.started_at) == (other.sync_id, other.started_at)
            assert one.is_shared
            assert other.now > other.started_at
        assert ended(engine) == [("sync", None)]
    assert ended(engine) == [("sync", "succeeded")]


def planned(engine: Engine, sync_id: int, source_ids: list[SourceId]) -> None:
    with connected(engine) as connection, connection.begin():
        for each in source_ids:
            plans.write(connection, sync_id, each, known=9, due=9)


def test_a_shared_sync_and_one_alone_keep_each_other_out(
    engine: Engine, two: list[SourceId]
) -> None:
    with (
        sharing(engine, two, trigger="sync"),
        pytest.raises(HeldError, match=r"Source one is held by sync 1 \(process "),
        holding_free(engine, two, trigger="sync"),
    ):
        pass
    with (
        holding_free(engine, two[1:], trigger="sync"),
        pytest.raises(HeldError, match=r"^Source two is held by sync 2 \(process "),
        sharing(engine, two, trigger="sync"),
    ):
        pass


def test_who_works_on_other_sources_cannot_join(
    engine: Engine, two: list[SourceId]
) -> None:
    with (
        sharing(engine, two, trigger="sync"),
        pytest.raises(HeldError) as told,
        sharing(engine, two[:1], trigger="sync"),
    ):
        pass
    assert str(told.value) == (
        "Sync 1 is shared by processes that work on other sources too; join it with the"
        " same --source, or with none where it has none."
    )


def test_who_works_on_one_source_is_not_ended_by_who_joins_for_more(
    engine: Engine, two: list[SourceId]
) -> None:
    with sharing(engine, two[:1], trigger="sync"):
        execute(
            engine,
            "INSERT INTO run_sync.syncs (trigger, source_ids, holder, shared)"
            " VALUES ('sync', '{2}', 'process 1 on a', true)",
        )
        with (
            pytest.raises(HeldError, match="work on other sources"),
            sharing(engine, two, trigger="sync"),
        ):
            pass
        assert ended(engine)[0] == ("sync", None)


def test_a_shared_sync_that_takes_days_is_still_joined(
    engine: Engine, two: list[SourceId]
) -> None:
    with sharing(engine, two, trigger="sync") as one:
        execute(
            engine,
            "UPDATE run_sync.syncs SET started_at = now() - interval '25 hours'",
        )
        with sharing(engine, two, trigger="sync") as other:
            assert other.sync_id == one.sync_id
        assert ended(engine) == [("sync", None)]


def test_a_shared_sync_that_should_have_ended_is_not_joined(
    engine: Engine, two: list[SourceId]
) -> None:
    hour = timedelta(hours=1)
    with sharing(engine, two, trigger="sync", window=hour) as hangs:
        planned(engine, hangs.sync_id, two)
        with sharing(engine, two, trigger="sync", window=hour) as in_time:
            assert in_time.sync_id == hangs.sync_id
        execute(engine, "UPDATE run_sync.syncs SET started_at = now() - interval '61 min'")

        with (
            pytest.raises(HeldError, match="Sync 1 has nothing left to read and should"),
            sharing(engine, two, trigger="sync", window=hour),
        ):
            pass
        with sharing(engine, two, trigger="sync") as in_a_day:
            assert in_a_day.sync_id == hangs.sync_id
        assert ended(engine) == [("sync", None)]


@pytest.mark.parametrize(
    ("age", "window", "outcomes"),
    [
        ("23 hours", None, [("sync", "interrupted")]),
        ("25 hours", None, [("sync", "interrupted"), ("sync", "interrupted")]),
        ("5 hours", 6, [("sync", "interrupted")]),
        ("23 hours", 6, [("sync", "interrupted"), ("sync", "interrupted")]),
        ("25 hours", 36, [("sync", "interrupted"), ("sync", "interrupted")]),
    ],
)
def test_a_shared_sync_whose_processes_died_is_gone_on_with_for_a_day_in_its_window(
    engine: Engine,
    two: list[SourceId],
    age: str,
    window: int | None,
    outcomes: list[tuple[str, str]],
) -> None:
    within = None if window is None else timedelta(hours=window)
    execute(
        engine,
        "INSERT INTO run_sync.syncs (trigger, source_ids, holder, shared, started_at)"
        f" VALUES ('sync', '{{1,2}}', 'process 1 on a', true, now() - interval '{age}')",
    )

    with sharing(engine, two, trigger="sync", window=within) as hold:
        assert hold.sync_id == len(outcomes)

    assert ended(engine) == outcomes


def test_who_stands_still_while_it_writes_does_not_hold_up_the_others(
    engine: Engine, two: list[SourceId], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(holding_module, "MOST_IDLE", timedelta(milliseconds=200))
    count = "UPDATE run_sync.syncs SET pages = pages + 1"
    with sharing(engine, two, trigger="sync") as one:
        one.connection.execute(sa.text(count))
        with sharing(engine, two, trigger="sync") as other, other.connection.begin():
            other.connection.execute(sa.text("SET LOCAL lock_timeout = '20s'"))
            other.connection.execute(sa.text(count))

    assert query(engine, "SELECT pages FROM run_sync.syncs") == [(1,)]


def test_a_sync_alone_ends_the_shared_one_whose_processes_died(
    engine: Engine, two: list[SourceId]
) -> None:
    execute(
        engine,
        "INSERT INTO run_sync.syncs (trigger, source_ids, holder, shared)"
        " VALUES ('sync', '{1,2}', 'process 1 on a', true)",
        "INSERT INTO run_sync.leases (sync_id, source_id, thread_ids) VALUES (1, 1, '{a}')",
    )

    with holding_free(engine, two[:1], trigger="next"):
        assert ended(engine) == [("sync", "interrupted"), ("next", None)]

    assert query(engine, "SELECT count(*) FROM run_sync.leases") == [(0,)]


@pytest.mark.parametrize(
    ("figures", "outcome"),
    [
        ("threads = 9", "succeeded"),
        ("threads = 9, threads_failed = 1, error = 'demo, thread_a: no'", "partial"),
        ("threads = 9, threads_failed = 1", "partial"),
        ("threads = 9, threads_failed = 9", "failed"),
        ("threads = 0, error = 'demo: away'", "failed"),
    ],
)
def test_a_shared_sync_ends_as_its_row_tells(
    engine: Engine, two: list[SourceId], figures: str, outcome: str
) -> None:
    with sharing(engine, two, trigger="sync") as hold:
        planned(engine, hold.sync_id, two)
        execute(engine, f"UPDATE run_sync.syncs SET {figures}")
    assert ended(engine) == [("sync", outcome)]


def test_a_shared_sync_with_a_source_that_was_not_planned_was_interrupted(
    engine: Engine, two: list[SourceId]
) -> None:
    with sharing(engine, two, trigger="sync") as hold:
        planned(engine, hold.sync_id, two[:1])
    assert ended(engine) == [("sync", "interrupted")]


@pytest.mark.parametrize("lapses_at", ["NULL", "now() + interval '50 s'"])
def test_a_shared_sync_with_work_left_was_interrupted(
    engine: Engine, two: list[SourceId], lapses_at: str
) -> None:
    with sharing(engine, two, trigger="sync") as hold:
        planned(engine, hold.sync_id, two)
        execute(
            engine,
            "INSERT INTO run_sync.leases (sync_id, source_id, thread_ids, lapses_at)"
            f" VALUES (1, 1, '{{a,b}}', {lapses_at})",
        )
    assert ended(engine) == [("sync", "interrupted")]
    assert query(engine, "SELECT threads_left FROM run_sync.syncs") == [(2,)]
