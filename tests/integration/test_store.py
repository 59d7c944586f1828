"""The store against a real Postgres: one batch, one transaction, one truth."""

import random
import string
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Engine

from etl.domain.batch import Batch, Increment, PassFailure, SourceId
from etl.domain.bookmark import Bookmark
from etl.domain.drift import Drift, DriftKind
from etl.domain.errors import DatabaseError
from etl.domain.page import Payload
from etl.domain.run import SECOND, Instant, Run, RunId, ThreadId
from etl.load.database import connected
from etl.load.reading import read_runs
from etl.load.store import Store
from etl.load.threads import due, record_source, tracked
from etl.load.tracking import track, untrack
from tests.integration.builders import (
    NOW,
    NOW_SECONDS,
    THREAD,
    a_batch,
    a_payload,
    a_run,
    a_store,
    after,
    an_increment,
    committed,
    comparable_run,
    execute,
    query,
    row_versions,
    rows,
)

OTHER = ThreadId("thread_b")
BROKEN = Payload(b"{", None)
OPEN: dict[str, Any] = {"status": "in_progress", "usage": None}
DAY = 86_400


@pytest.fixture
def engine(swept_engine: Engine) -> Engine:
    return swept_engine


def stored(engine: Engine, source_id: SourceId) -> dict[str, Run]:
    """The runs of a source by their ids, as they are read back."""
    with connected(engine) as connection:
        return {run.run_id: run for run in read_runs(connection, source_id)}


def thread_row(engine: Engine, thread_id: str = THREAD) -> dict[str, Any]:
    statement = sa.text("SELECT * FROM run_sync.threads WHERE thread_id = :id")
    with engine.connect() as connection:
        return dict(connection.execute(statement, {"id": thread_id}).mappings().one())


def ledger(engine: Engine) -> dict[str, int]:
    """The counters of the only sync, those that counted anything."""
    statement = sa.text("SELECT * FROM run_sync.syncs")
    with engine.connect() as connection:
        row = connection.execute(statement).mappings().one()
    return {
        key: value
        for key, value in row.items()
        if isinstance(value, int) and value and key != "sync_id"
    }


# One transaction


def a_drift(path: str, run_id: str = "run_1") -> Drift:
    return Drift(path, DriftKind.UNKNOWN_FIELD, "string", RunId(run_id))


def a_full_batch(source_id: SourceId) -> Batch:
    """A batch that writes to every table."""
    function = {"name": "find", "parameters": {"type": "object"}}
    tools = [{"type": "function", "function": function}]
    failure = PassFailure(
        source_id=source_id, thread_id=OTHER, message="the server was silent"
    )
    return a_batch(
        replace(
            an_increment(source_id, a_payload(tools=tools), BROKEN),
            drift=(a_drift("moon_phase"),),
        ),
        failures=[failure],
        requests=3,
        retries=1,
    )


def test_rows_rejects_bookmark_and_counters_are_committed_together(
    engine: Engine, source_id: SourceId, store: Store
) -> None:
    track(engine, source_id, [OTHER])

    answer = store.commit(a_full_batch(source_id))

    assert answer == committed(created=1, rejects=1)
    assert stored(engine, source_id).keys() == {"run_1"}
    assert query(engine, "SELECT thread_id, run_id, payload FROM run_sync.rejects") == [
        (THREAD, None, "{")
    ]
    assert query(engine, "SELECT path, example_run_id FROM run_sync.drift") == [
        ("moon_phase", "run_1")
    ]
    row = thread_row(engine)
    assert (row["synced_through"], row["runs_seen"]) == ("run_1", 1)
    assert row["read_at"] == row["last_pass_at"] == row["walked_at"]
    other = thread_row(engine, OTHER)
    assert (other["consecutive_errors"], other["last_error"]) == (
        1,
        "the server was silent",
    )
    assert ledger(engine) == {
        "threads": 2,
        "threads_failed": 1,
        "pages": 1,
        "requests": 3,
        "retries": 1,
        "runs_read": 1,
        "runs_created": 1,
        "rejects": 1,
    }


def test_a_tombstone_that_fails_is_counted_as_asked_and_not_as_failed(
    engine: Engine, source_id: SourceId, store: Store
) -> None:
    failure = PassFailure(
        source_id=source_id, thread_id=THREAD, message="silent", was_gone=True
    )
    store.commit(a_batch(failures=[failure]))

    assert ledger(engine) == {"threads": 1}


@contextmanager
def refusing(engine: Engine, table: str) -> Iterator[None]:
    """While this lasts, every write to a table fails."""
    execute(
        engine,
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS"
        " $$BEGIN RAISE 'no more writes to %', TG_TABLE_NAME; END$$",
        f"CREATE TRIGGER refuse BEFORE INSERT OR UPDATE ON {table}"
        " FOR EACH ROW EXECUTE FUNCTION refuse()",
    )
    try:
        yield
    finally:
        execute(engine, "DROP FUNCTION refuse CASCADE")


@pytest.mark.parametrize(
    "table",
    [
        "run_history.instructions",
        "run_history.tools",
        "run_history.runs",
        "run_sync.rejects",
        "run_sync.drift",
        "run_sync.threads",
        "run_sync.syncs",
    ],
)
def test_a_failure_in_any_statement_leaves_nothing_and_can_be_made_good(
    engine: Engine, source_id: SourceId, store: Store, table: str
) -> None:
    track(engine, source_id, [OTHER])
    batch = a_full_batch(source_id)
    before = {name: found for name, found in rows(engine).items() if found}

    with refusing(engine, table), pytest.raises(DatabaseError, match="no more writes to"):
        store.commit(batch)

    after_failure = {name: found for name, found in rows(engine).items() if found}
    assert after_failure == before
    assert store.commit(batch) == committed(created=1, rejects=1)
    assert comparable_run(stored(engine, source_id)["run_1"]) == comparable_run(
        batch.increments[0].runs[0]
    )


def test_a_failed_thread_keeps_its_bookmark_and_counts_its_errors(
    engine: Engine, source_id: SourceId, store: Store
) -> None:
    failure = PassFailure(source_id=source_id, thread_id=THREAD, message="no answer")
    store.commit(a_batch(an_increment(source_id, a_payload())))

    for _ in range(2):
        store.commit(a_batch(failures=[failure]))

    row = thread_row(engine)
    assert (row["synced_through"], row["consecutive_errors"]) == ("run_1", 2)
    assert row["last_error"] == "no answer"


@pytest.mark.parametrize(
    ("completes", "errors", "said"), [(True, 0, None), (False, 1, "no answer")]
)
def test_only_a_pass_that_reaches_the_end_forgets_the_failures_before(
    engine: Engine,
    source_id: SourceId,
    store: Store,
    *,
    completes: bool,
    errors: int,
    said: str | None,
) -> None:
    failure = PassFailure(source_id=source_id, thread_id=THREAD, message="no answer")
    store.commit(a_batch(failures=[failure]))

    store.commit(a_batch(an_increment(source_id, a_payload(), completes=completes)))

    row = thread_row(engine)
    assert (row["consecutive_errors"], row["last_error"]) == (errors, said)
    assert (row["last_pass_at"] is not None) == completes


def test_a_batch_of_nothing_but_traffic_is_counted(
    engine: Engine, source_id: SourceId, store: Store
) -> None:
    answer = store.commit(a_batch(requests=2, retries=1))

    assert answer == committed(pages=0)
    assert ledger(engine) == {"requests": 2, "retries": 1}


# Created, updated, unchanged


def second_reading(source_id: SourceId, *payloads: dict[str, Any] | Payload) -> Increment:
    return an_increment(source_id, *payloads, read_before=NOW, read_at=after(1))


def test_created_updated_and_unchanged_runs_are_counted_apart(
    engine: Engine, source_id: SourceId, store: Store
) -> None:
    first = [a_payload("run_1"), a_payload("run_2", **OPEN), a_payload("run_3", **OPEN)]
    second = [
        a_payload("run_1"),
        a_payload("run_2"),
        a_payload("run_3"),
        a_payload("run_4"),
    ]

    answers = [
        store.commit(a_batch(an_increment(source_id, *first))),
        store.commit(a_batch(second_reading(source_id, *second))),
    ]

    assert answers == [committed(created=3), committed(created=1, updated=2, unchanged=1)]
    assert thread_row(engine)["runs_seen"] == 4
    assert ledger(engine) == {
        "threads": 2,
        "pages": 2,
        "runs_read": 7,
        "runs_created": 4,
        "runs_updated": 2,
        "runs_unchanged": 1,
    }


def test_an_unchanged_run_is_not_written_again(
    engine: Engine, source_id: SourceId, store: Store
) -> None:
    store.commit(a_batch(an_increment(source_id, a_payload("run_1"), a_payload("run_2"))))
    before = row_versions(engine, "run_history"), rows(engine, "run_history")
    same = second_reading(source_id, a_payload("run_1"), a_payload("run_2"))

    with a_store(engine) as another:  # which has to write the dictionaries anew
        answer = another.commit(a_batch(same))

    assert answer == committed(unchanged=2)
    assert (row_versions(engine, "run_history"), rows(engine, "run_history")) == before


def test_a_changed_run_keeps_its_first_sight_and_takes_the_rest(
    engine: Engine, source_id: SourceId, store: Store
) -> None:
    bookkeeping = (
        "SELECT first_seen_at, changed_at, sync_id, change_xid::text FROM run_history.runs"
    )
    store.commit(a_batch(an_increment(source_id, a_payload(**OPEN))))
    first = query(engine, bookkeeping)[0]

    with a_store(engine) as another:
        another.commit(a_batch(second_reading(source_id, a_payload())))

    second = query(engine, bookkeeping)[0]
    assert stored(engine, source_id)["run_1"].total_tokens == 7
    assert second[0] == first[0] == first[1]
    assert (second[1] - first[1]).total_seconds() == 1
    assert second[2] == first[2] + 1
    assert int(second[3]) > int(first[3])


def test_a_value_that_becomes_null_is_a_change(
    engine: Engine, source_id: SourceId, store: Store
) -> None:
    action = {"type": "submit_tool_outputs"}
    waiting = a_payload(status="requires_action", required_action=action)
    store.commit(a_batch(an_increment(source_id, waiting)))

    answer = store.commit(
        a_batch(second_reading(source_id, a_payload(status="queued", required_action=None)))
    )

    assert answer == committed(updated=1)
    run = stored(engine, source_id)["run_1"]
    assert (run.required_action_type, run.required_action) == (None, None)


# The guard, and passes that cross


def test_the_same_batch_twice_equals_once(
    engine: Engine, source_id: SourceId, store: Store
) -> None:
    batch = a_batch(an_increment(source_id, a_payload(), BROKEN), requests=1)
    store.commit(batch)
    before = rows(engine, "run_history"), query(engine, "SELECT * FROM run_sync.rejects")
    bookmark = thread_row(engine)

    answer = store.commit(batch)

    assert answer == committed(pages=0, overtaken={(source_id, THREAD)})
    assert thread_row(engine) == bookmark
    assert (
        rows(engine, "run_history"),
        query(engine, "SELECT * FROM run_sync.rejects"),
    ) == before


def test_an_overtaken_increment_writes_nothing_and_the_others_all(
    engine: Engine, source_id: SourceId, store: Store
) -> None:
    track(engine, source_id, [OTHER])
    store.commit(a_batch(an_increment(source_id, a_payload("run_1"))))
    late = an_increment(source_id, a_payload("run_2"), BROKEN, read_at=after(9))
    fine = an_increment(source_id, a_payload("run_3"), thread_id=OTHER)
    before = thread_row(engine)

    answer = store.commit(a_batch(late, fine))

    assert answer == committed(created=1, overtaken={(source_id, THREAD)})
    assert stored(engine, source_id).keys() == {"run_1", "run_3"}
    assert query(engine, "SELECT * FROM run_sync.rejects") == []
    assert thread_row(engine) == before


def test_an_untracked_thread_is_not_written(
    engine: Engine, source_id: SourceId, store: Store
) -> None:
    untrack(engine, source_id, [THREAD])

    answer = store.commit(a_batch(an_increment(source_id, a_payload(), BROKEN)))

    assert answer == committed(pages=0, overtaken={(source_id, THREAD)})
    assert not any(rows(engine, "run_history").values())
    assert query(engine, "SELECT * FROM run_sync.rejects") == []


def test_an_older_reading_never_overwrites_a_newer_one(
    engine: Engine, source_id: SourceId, store: Store
) -> None:
    store.commit(a_batch(an_increment(source_id, a_payload(), read_at=after(10))))
    untrack(engine, source_id, [THREAD])
    track(engine, source_id, [THREAD])
    before = row_versions(engine, "run_history")
    older = an_increment(source_id, a_payload(**OPEN), read_at=after(5))

    answer = store.commit(a_batch(older))

    assert answer == committed(unchanged=1)
    assert stored(engine, source_id)["run_1"].status == "completed"
    assert row_versions(engine, "run_history") == before


def test_two_stores_that_read_the_same_thread_commit_once(
    engine: Engine, source_id: SourceId
) -> None:
    first = an_increment(source_id, a_payload("run_1"), read_at=after(1))
    second = an_increment(source_id, a_payload("run_1"), read_at=after(2))
    with a_store(engine) as one, a_store(engine) as two:
        answers = [one.commit(a_batch(first)), two.commit(a_batch(second))]

    assert answers == [
        committed(created=1),
        committed(pages=0, overtaken={(source_id, THREAD)}),
    ]
    assert thread_row(engine)["runs_seen"] == 1


# Bookmarks, missing threads, drift


def test_a_bookmark_comes_back_as_it_was_stored(
    engine: Engine, source_id: SourceId, store: Store
) -> None:
    odd = ("run_1", 'run "2"', "run,{3}", "NULL", "", "läuft")
    bookmark = Bookmark(
        synced_through=RunId("run_9"),
        synced_through_at=after(0.000001),
        overlap_from=RunId("run_8"),
        watched=tuple(map(RunId, odd)),
    )

    store.commit(a_batch(replace(an_increment(source_id), bookmark=bookmark)))

    (thread,) = tracked(engine, due(source_id), from_start=sa.false())
    assert thread.bookmark == bookmark


def test_only_a_whole_walk_is_noted_as_one(
    engine: Engine, source_id: SourceId, store: Store
) -> None:
    store.commit(a_batch(an_increment(source_id)))
    walked_at = thread_row(engine)["walked_at"]

    store.commit(a_batch(replace(second_reading(source_id), walked=False)))

    row = thread_row(engine)
    assert walked_at == row["walked_at"] < row["read_at"]


def test_a_thread_is_gone_when_it_is_missed_again_after_an_hour_and_not_before(
    engine: Engine, source_id: SourceId, store: Store
) -> None:
    missing = PassFailure(source_id=source_id, thread_id=THREAD, message="unknown here")
    found = []
    for minutes in (0, 59, 61):
        execute(
            engine,
            "UPDATE run_sync.threads SET missing_since"
            f" = clock_timestamp() - interval '{minutes} minutes'"
            " WHERE missing_since IS NOT NULL",
        )
        store.commit(a_batch(missing=[missing]))
        row = thread_row(engine)
        found.append((row["gone_at"] is not None, row["consecutive_errors"]))

    assert found == [(False, 1), (False, 2), (True, 3)]
    assert thread_row(engine)["last_error"] == "unknown here"


def test_a_thread_that_answers_again_is_neither_missing_nor_gone(
    engine: Engine, source_id: SourceId, store: Store
) -> None:
    execute(engine, "UPDATE run_sync.threads SET missing_since = now(), gone_at = now()")

    store.commit(a_batch(an_increment(source_id, a_payload())))

    row = thread_row(engine)
    assert (row["missing_since"], row["gone_at"]) == (None, None)


def test_drift_is_counted_with_its_first_example(
    engine: Engine, source_id: SourceId, store: Store
) -> None:
    twice = (a_drift("moon"), a_drift("moon", "run_2"), a_drift("tide"))
    store.commit(a_batch(replace(an_increment(source_id), drift=twice)))
    again = (a_drift("moon", "run_3"),)
    store.commit(a_batch(replace(second_reading(source_id), drift=again)))

    assert query(
        engine,
        "SELECT path, kind, value, example_run_id, times_seen,"
        " extract(epoch FROM last_seen_at - first_seen_at)::int"
        " FROM run_sync.drift ORDER BY path",
    ) == [
        ("moon", "unknown_field", "string", "run_1", 3, 1),
        ("tide", "unknown_field", "string", "run_1", 1, 0),
    ]


# Several pages


def test_several_pages_of_a_thread_in_a_batch_move_it_once(
    engine: Engine, source_id: SourceId, store: Store
) -> None:
    pages = [
        an_increment(
            source_id,
            a_payload(f"run_{number}", created_at=NOW_SECONDS - 100 + number),
            read_before=after(number - 1) if number else None,
            read_at=after(number),
            completes=number == 2,
        )
        for number in range(3)
    ]

    answer = store.commit(a_batch(*pages))

    assert answer == committed(created=3, pages=3)
    row = thread_row(engine)
    assert (row["synced_through"], row["runs_seen"]) == ("run_2", 3)
    (thread,) = tracked(engine, due(source_id), from_start=sa.false())
    assert thread.read_at == after(2)
    assert thread.bookmark == pages[2].bookmark
    assert row["last_run_at"].timestamp() == NOW_SECONDS - 98
    assert ledger(engine)["threads"] == 1


def test_of_one_run_read_twice_in_a_batch_the_later_reading_counts(
    engine: Engine, source_id: SourceId, store: Store
) -> None:
    first = an_increment(source_id, a_payload(**OPEN), completes=False)
    second = second_reading(source_id, a_payload())

    answer = store.commit(a_batch(first, second))

    assert answer == committed(created=1, unchanged=1, pages=2)
    assert stored(engine, source_id)["run_1"].status == "completed"
    assert thread_row(engine)["runs_seen"] == 1


def test_of_one_run_twice_on_a_page_the_later_payload_counts(
    engine: Engine, source_id: SourceId, store: Store
) -> None:
    answer = store.commit(
        a_batch(an_increment(source_id, a_payload(**OPEN), a_payload(), BROKEN, BROKEN))
    )

    assert answer == committed(created=1, unchanged=1, rejects=1)
    assert stored(engine, source_id)["run_1"].status == "completed"


def test_runs_of_one_id_in_two_sources_are_two_runs(
    engine: Engine, source_id: SourceId, store: Store
) -> None:
    twin = record_source(engine, name="twin", kind="openai", base_url="http://twin")
    track(engine, twin, [THREAD])

    answer = store.commit(
        a_batch(an_increment(source_id, a_payload()), an_increment(twin, a_payload(**OPEN)))
    )

    assert answer == committed(created=2, pages=2)
    assert stored(engine, source_id)["run_1"].status == "completed"
    assert stored(engine, twin)["run_1"].status == "in_progress"


def test_a_reject_that_comes_again_is_counted_not_doubled(
    engine: Engine, source_id: SourceId, store: Store
) -> None:
    for number in range(3):
        store.commit(
            a_batch(
                an_increment(
                    source_id,
                    BROKEN,
                    read_before=after(number - 1) if number else None,
                    read_at=after(number),
                )
            )
        )

    ((times, between),) = query(
        engine,
        "SELECT times_seen, last_seen_at - first_seen_at FROM run_sync.rejects",
    )
    assert (times, between.total_seconds()) == (3, 2)


# Partitions


def partitions(engine: Engine) -> dict[str, list[str]]:
    """The runs of each partition."""
    found: dict[str, list[str]] = {}
    for name, run_id in query(
        engine,
        "SELECT c.relname, r.run_id FROM pg_inherits"
        " JOIN pg_class c ON c.oid = inhrelid AND c.relkind = 'r'"
        " LEFT JOIN run_history.runs r ON r.tableoid = c.oid"
        " WHERE inhparent = 'run_history.runs'::regclass ORDER BY r.created_at, r.run_id",
    ):
        found.setdefault(name.removeprefix("runs_"), []).extend([run_id] if run_id else [])
    return found


def seconds(moment: str) -> int:
    """Unix seconds of an ISO moment."""
    return int(datetime.fromisoformat(moment).timestamp())


def test_every_month_has_its_partition_and_nonsense_the_default(
    engine: Engine, source_id: SourceId, store: Store
) -> None:
    created_at = {
        "before_2022": "2021-12-31T23:59:59+00:00",
        "first": "2022-01-01T00:00:00+00:00",
        "end_of_october": "2026-10-31T23:59:59+00:00",
        "november": "2026-11-01T00:00:00+00:00",
        "within_a_day": "2026-11-21T09:00:00+00:00",
        "too_far_ahead": "2026-12-20T00:00:00+00:00",
        "in_nine_centuries": "2926-01-01T00:00:00+00:00",
    }
    payloads = [
        a_payload(run_id, created_at=seconds(moment))
        for run_id, moment in created_at.items()
    ]

    store.commit(a_batch(an_increment(source_id, *payloads)))

    assert partitions(engine) == {
        "default": ["before_2022", "too_far_ahead", "in_nine_centuries"],
        "2022_01": ["first"],
        "2026_10": ["end_of_october"],
        "2026_11": ["november", "within_a_day"],
    }


def test_a_month_that_comes_true_takes_its_runs_from_the_default(
    engine: Engine, source_id: SourceId
) -> None:
    early = a_payload("early", created_at=seconds("2026-12-20T00:00:00+00:00"))
    later = a_payload("later", created_at=seconds("2027-01-20T00:00:00+00:00"))
    next_one = a_payload("next", created_at=seconds("2026-12-21T00:00:00+00:00"))
    with a_store(engine) as store:
        store.commit(a_batch(an_increment(source_id, early, later)))
    assert partitions(engine) == {"default": ["early", "later"]}
    before = stored(engine, source_id)

    with a_store(engine, now=after(40 * DAY)) as store:
        answer = store.commit(a_batch(second_reading(source_id, early, next_one)))

    assert answer == committed(created=1, unchanged=1)
    assert partitions(engine) == {"default": ["later"], "2026_12": ["early", "next"]}
    assert before.items() <= stored(engine, source_id).items()


def test_a_partition_has_the_tables_key_index_and_comment(
    engine: Engine, source_id: SourceId, store: Store
) -> None:
    store.commit(a_batch(an_increment(source_id, a_payload())))

    indexes = query(
        engine,
        "SELECT count(*) FROM pg_index"
        " WHERE indrelid = 'run_history.runs_2026_11'::regclass",
    )
    comment = query(
        engine, "SELECT obj_description('run_history.runs_2026_11'::regclass, 'pg_class')"
    )
    assert indexes == [(2,)]
    assert comment == [("Runs created in 2026-11 (UTC).",)]


def test_a_long_reader_of_the_default_partition_does_not_stop_the_load(
    engine: Engine, source_id: SourceId
) -> None:
    with engine.connect() as reader, a_store(engine) as store:
        reader.execute(sa.text("SELECT * FROM run_history.runs_default"))
        answer = store.commit(a_batch(an_increment(source_id, a_payload("run_1"))))
        found = partitions(engine)

    assert answer == committed(created=1)
    assert found == {"default": ["run_1"]}
    with a_store(engine) as store:
        store.commit(a_batch(second_reading(source_id, a_payload("run_2"))))
    assert partitions(engine) == {"default": [], "2026_11": ["run_1", "run_2"]}


def test_a_long_reader_of_one_month_does_not_hold_up_another(
    engine: Engine, source_id: SourceId, store: Store
) -> None:
    october = a_payload("run_1", created_at=seconds("2026-10-05T00:00:00+00:00"))
    store.commit(a_batch(an_increment(source_id, october)))

    with engine.connect() as reader:
        reader.execute(
            sa.text(
                "SELECT * FROM run_history.runs WHERE created_at"
                " BETWEEN '2026-10-02 00:00+00' AND '2026-10-30 00:00+00'"
            )
        )
        store.commit(a_batch(second_reading(source_id, a_payload("run_2"))))

    assert partitions(engine) == {
        "default": [],
        "2026_10": ["run_1"],
        "2026_11": ["run_2"],
    }


# Dictionaries


def count(engine: Engine, table: str) -> int:
    ((number,),) = query(engine, f"SELECT count(*) FROM run_history.{table}")
    assert isinstance(number, int)
    return number


def test_equal_instructions_and_tool_lists_are_stored_once(
    engine: Engine, source_id: SourceId
) -> None:
    payloads = [a_payload(f"run_{number}") for number in range(5)]
    with a_store(engine) as store:
        store.commit(a_batch(an_increment(source_id, *payloads)))
    with a_store(engine) as store:
        store.commit(a_batch(second_reading(source_id, *payloads, a_payload("run_5"))))

    assert (count(engine, "instructions"), count(engine, "tools")) == (1, 1)
    assert count(engine, "runs") == 6


def test_tools_come_back_with_their_parameters_and_in_their_order(
    engine: Engine, source_id: SourceId, store: Store
) -> None:
    function = {
        "name": "find_order",
        "description": "Look up one order.",
        "strict": True,
        "parameters": {"type": "object", "properties": {"id": {"type": "string"}}},
    }
    tools = [
        {"type": "file_search", "file_search": {"max_num_results": 5}},
        {"type": "function", "function": function},
        {"type": "function", "function": {"name": "bare"}},
        None,
        "word",
    ]
    run = a_run(tools=tools)

    store.commit(a_batch(an_increment(source_id, runs=(run,))))

    assert comparable_run(stored(engine, source_id)["run_1"]) == comparable_run(run)
    assert query(
        engine,
        "SELECT tool_type, function_name, description, strict, parameters"
        " FROM run_history.run_tools WHERE tool_type = 'function' ORDER BY position",
    ) == [
        ("function", "find_order", "Look up one order.", True, function["parameters"]),
        ("function", "bare", None, None, None),
    ]


def test_no_tools_and_an_empty_list_of_tools_are_not_the_same(
    engine: Engine, source_id: SourceId, store: Store
) -> None:
    runs = a_run("none", tools=None), a_run("empty", tools=[])

    store.commit(a_batch(an_increment(source_id, runs=runs)))

    found = stored(engine, source_id)
    assert [comparable_run(found[each.run_id]) for each in runs] == [
        comparable_run(each) for each in runs
    ]


# What Postgres refuses


def a_long_id() -> str:
    """One that does not fit into an index, however it is compressed."""
    dice = random.Random(1)  # noqa: S311
    return "run_" + "".join(dice.choices(string.ascii_letters, k=1_000_000))


def deep(levels: int) -> str:
    return "[" * levels + "]" * levels


SURROGATES = (
    "'utf-8' codec can't encode character '\\ud800' in position 0: surrogates not allowed"
)
REFUSED = {
    "an id longer than an index entry": (
        a_run(a_long_id()),
        "index row requires 1000032 bytes, maximum size is 8191",
    ),
    "a number of 200,000 digits": (
        a_run("refused")._replace(metadata=f'{{"a": {"9" * 200_000}}}'),
        "value overflows numeric format",
    ),
    "a number with a large exponent": (
        a_run("refused")._replace(extra='{"a": 1e200000}'),
        "value overflows numeric format",
    ),
    "a value nested a million levels deep": (
        a_run("refused")._replace(extra=f'{{"a": {deep(1_000_000)}}}'),
        "stack depth limit exceeded",
    ),
    "a text with a NUL character": (
        a_run("refused")._replace(model="gpt\0"),
        "PostgreSQL text fields cannot contain NUL (0x00) bytes",
    ),
    "a text with a lone surrogate": (
        a_run("refused")._replace(model="\ud800"),
        SURROGATES,
    ),
    "an array with a NUL character": (
        a_run("refused")._replace(code_interpreter_file_ids=("file\0",)),
        "PostgreSQL text fields cannot contain NUL (0x00) bytes",
    ),
    "a bigint that is none": (
        a_run("refused")._replace(total_tokens=2**63),
        'value "9223372036854775808" is out of range for type bigint',
    ),
}


def with_tool_parameters(text: str) -> Run:
    tools = [{"type": "function", "function": {"name": "f", "parameters": {"a": 1}}}]
    run = a_run("refused", tools=tools)
    assert run.tool_set
    tool = run.tool_set.tools[0]._replace(parameters=text)
    return run._replace(tool_set=run.tool_set._replace(tools=(tool,)))


REFUSED["a tool's number with a large exponent"] = (
    with_tool_parameters('{"a": 1e200000}'),
    "value overflows numeric format",
)
REFUSED["a tool's parameters nested too deep"] = (
    with_tool_parameters(f'{{"a": {deep(1_000_000)}}}'),
    "stack depth limit exceeded",
)


@pytest.mark.parametrize(("run", "reason"), REFUSED.values(), ids=REFUSED.keys())
def test_a_value_that_postgres_refuses_is_quarantined_and_the_rest_committed(
    engine: Engine, source_id: SourceId, store: Store, run: Run, reason: str
) -> None:
    track(engine, source_id, [OTHER])
    received = Payload(b'{"the payload": "as it came"}', run.run_id)
    page = an_increment(source_id, a_payload("run_1"), BROKEN, runs=(run,))
    page = replace(page, payloads=(*page.payloads, received))
    last_page = replace(
        second_reading(source_id, a_payload("run_2")), bookmark=page.bookmark
    )
    elsewhere = an_increment(source_id, a_payload("run_3"), thread_id=OTHER)

    answer = store.commit(a_batch(page, last_page, elsewhere, requests=3))

    assert answer == committed(created=3, rejects=2, pages=3)
    assert stored(engine, source_id).keys() == {"run_1", "run_2", "run_3"}
    quarantined = query(
        engine,
        "SELECT run_id, payload, reason FROM run_sync.rejects WHERE payload <> '{'",
    )
    ((run_id, payload, told),) = quarantined
    assert told == f"the database refused the run: {reason}"
    assert payload == '{"the payload": "as it came"}'
    assert run_id == run.run_id
    assert thread_row(engine)["synced_through"] == page.bookmark.synced_through
    assert ledger(engine) == {
        "threads": 3,
        "pages": 3,
        "requests": 3,
        "runs_read": 3,
        "runs_created": 3,
        "rejects": 2,
    }


def test_after_a_refusal_the_store_goes_on(
    engine: Engine, source_id: SourceId, store: Store
) -> None:
    refused, _ = REFUSED["a number with a large exponent"]
    store.commit(a_batch(an_increment(source_id, runs=(refused,))))

    answer = store.commit(a_batch(second_reading(source_id, a_payload())))

    assert answer == committed(created=1)
    assert stored(engine, source_id).keys() == {"run_1"}


# What goes in comes out


def test_instants_are_exact_to_the_microsecond_to_the_end_of_the_calendar(
    engine: Engine, source_id: SourceId, store: Store
) -> None:
    last = Instant(253_402_300_800 * SECOND - 1)
    runs = [
        a_run(f"run_{number}")._replace(started_at=Instant(instant), expires_at=last)
        for number, instant in enumerate([1, SECOND - 1, NOW + 1, 2**53 + 1, last])
    ]

    store.commit(a_batch(an_increment(source_id, runs=tuple(runs))))

    found = stored(engine, source_id)
    assert [comparable_run(found[each.run_id]) for each in runs] == [
        comparable_run(each) for each in runs
    ]


def test_runs_are_read_by_thread_and_creation(
    engine: Engine, source_id: SourceId, store: Store
) -> None:
    track(engine, source_id, [OTHER])
    newer = a_payload("run_1", created_at=NOW_SECONDS)
    older = a_payload("run_2", created_at=NOW_SECONDS - 1)
    elsewhere = a_payload("run_0", created_at=NOW_SECONDS)
    store.commit(
        a_batch(
            an_increment(source_id, elsewhere, thread_id=OTHER),
            an_increment(source_id, newer, older),
        )
    )

    with connected(engine) as connection:
        every = [run.run_id for run in read_runs(connection, source_id)]
        one = [run.run_id for run in read_runs(connection, source_id, thread_id=OTHER)]

    assert every == ["run_2", "run_1", "run_0"]
    assert one == ["run_0"]


def test_more_runs_than_are_held_in_memory_are_all_read(
    engine: Engine, source_id: SourceId, store: Store
) -> None:
    runs = [
        a_run(f"run_{number:04}", instructions=f"Be brief {number // 9} times.")
        for number in range(2_100)
    ]

    store.commit(a_batch(an_increment(source_id, runs=tuple(runs))))

    assert list(map(comparable_run, stored(engine, source_id).values())) == list(
        map(comparable_run, runs)
    )
