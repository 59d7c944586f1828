"""The tables against what the server says now: what differs is named, and mended."""

import json
import threading
from collections.abc import Iterator
from contextlib import nullcontext
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.engine import Engine

from etl import wiring
from etl.domain.batch import SourceId, TrackedThread
from etl.domain.bookmark import Bookmark
from etl.domain.errors import StoppedError
from etl.domain.run import ThreadId
from etl.sync import check_threads
from etl.sync.verifying import Difference
from tests.integration.builders import NOW_SECONDS, comparable, execute, query
from tests.integration.commands import Runtide
from tests.integration.raw_serving import Answer, Request, an_answer
from tests.integration.raw_threads import RawThreads, a_run_of
from tests.integration.syncing import Syncer, Unwatched

Json = Any
THREADS = ["thread_1", "thread_2", "thread_3"]
FIRST, SECOND, THIRD = (f"thread_1_run_{number}" for number in range(3))
UNKNOWN_THREAD = (
    "the server does not know this thread: HTTP 404 No thread found with id 'thread_2'."
    " (request id req_of_test)"
)
EQUAL = "3 threads compared; 0 differences in 0 threads.\n"


@pytest.fixture
def engine(swept_engine: Engine) -> Engine:
    return swept_engine


@pytest.fixture
def server() -> RawThreads:
    """Three threads of three runs each."""
    server = RawThreads()
    for thread in THREADS:
        server.fill(thread, 3)
    return server


@pytest.fixture
def base_url(server: RawThreads) -> Iterator[str]:
    with server.listening() as base_url:
        yield base_url


@pytest.fixture
def syncer(engine: Engine, base_url: str) -> Syncer:
    syncer = Syncer(engine, base_url)
    syncer.track(THREADS)
    syncer.sync()
    return syncer


@pytest.fixture
def runtide(
    tmp_path: Path,
    engine: Engine,
    base_url: str,
    capsys: pytest.CaptureFixture[str],
    syncer: Syncer,
) -> Runtide:
    """With tables that are as the server has it."""
    assert len(syncer.runs()) == 9
    runtide = Runtide(tmp_path, engine, capsys)
    runtide.configure(base_url)
    return runtide


def change_run(engine: Engine, run_id: str, to: str) -> None:
    statement = f"UPDATE run_history.runs SET {to} WHERE run_id = '{run_id}'"
    execute(engine, statement)


def delete_run(engine: Engine, run_id: str) -> None:
    execute(engine, f"DELETE FROM run_history.runs WHERE run_id = '{run_id}'")


def add_run(engine: Engine, run_id: str, created_at: str = "created_at") -> None:
    """A row that no server has told of."""
    columns = query(
        engine,
        "SELECT string_agg(column_name, ', ') FROM information_schema.columns"
        " WHERE table_schema = 'run_history' AND table_name = 'runs'"
        " AND column_name NOT IN ('run_id', 'created_at')",
    )[0][0]
    execute(
        engine,
        f"INSERT INTO run_history.runs (run_id, created_at, {columns})"
        f" SELECT '{run_id}', {created_at}, {columns} FROM run_history.runs"
        f" WHERE run_id = '{SECOND}'",
    )


def test_tables_that_are_as_the_server_has_it_have_no_difference(runtide: Runtide) -> None:
    assert runtide("verify") == (0, EQUAL, "")


ALTERED: dict[str, tuple[str, str]] = {
    "a status": ("status = 'failed'", "status"),
    "a status that looks open": ("status = 'queued'", "status"),
    "usage": ("prompt_tokens = 6, reasoning_tokens = 1", "usage"),
    "metadata": ("""metadata = '{"ticket": "T-2"}'""", "metadata"),
    "no metadata": ("metadata = NULL", "metadata"),
    "a flag for a number": ("""extra = '{"new": 1}'""", "new"),
    "no instructions": ("instructions_id = NULL", "instructions"),
    "no tools": ("tool_set_id = NULL", "tools"),
    "several": ("model = 'gpt-3', status = 'failed'", "model, status"),
}


@pytest.mark.parametrize(("to", "fields"), ALTERED.values(), ids=ALTERED.keys())
def test_an_altered_row_is_named_with_its_fields(
    engine: Engine, runtide: Runtide, to: str, fields: str
) -> None:
    change_run(engine, SECOND, to)

    assert runtide("verify") == (
        3,
        (
            f"demo, thread thread_1, run {SECOND}: values differ: {fields}\n"
            "3 threads compared; 1 difference in 1 thread.\n"
        ),
        "",
    )


@pytest.mark.parametrize("run_id", [FIRST, SECOND, THIRD])
def test_a_deleted_row_is_named(engine: Engine, runtide: Runtide, run_id: str) -> None:
    delete_run(engine, run_id)

    assert runtide("verify") == (
        3,
        (
            f"demo, thread thread_1, run {run_id}: the server has it, the tables do not\n"
            "3 threads compared; 1 difference in 1 thread.\n"
        ),
        "",
    )


def test_a_row_that_the_server_does_not_have_is_named(
    engine: Engine, runtide: Runtide
) -> None:
    add_run(engine, "run_of_nobody")

    assert runtide("verify") == (
        3,
        (
            "demo, thread thread_1, run run_of_nobody:"
            " the tables have it, the server does not\n"
            "3 threads compared; 1 difference in 1 thread.\n"
        ),
        "",
    )


def test_an_id_that_a_terminal_would_obey_is_shown_without_effect(
    engine: Engine, runtide: Runtide
) -> None:
    add_run(engine, "run\x1b[2J")

    assert "run run\N{REPLACEMENT CHARACTER}[2J: " in runtide("verify").out


def test_a_run_that_stands_in_two_rows_is_named(engine: Engine, runtide: Runtide) -> None:
    add_run(engine, SECOND, "created_at - interval '1 day'")

    printed = runtide("verify")

    assert printed.code == 3
    assert printed.out.startswith(
        f"demo, thread thread_1, run {SECOND}: the tables have it more than once\n"
    )


def test_metadata_changed_at_the_server_is_named(
    server: RawThreads, runtide: Runtide
) -> None:
    server.change("thread_1", FIRST, metadata={"ticket": "T-2"})

    printed = runtide("verify")

    assert (printed.code, printed.out.splitlines()[0]) == (
        3,
        f"demo, thread thread_1, run {FIRST}: values differ: metadata",
    )


def test_what_the_next_sync_would_bring_is_no_difference(
    server: RawThreads, syncer: Syncer, runtide: Runtide
) -> None:
    """New runs, open ones that went on, and what follows an open one."""
    running = a_run_of("thread_1", 3, status="in_progress", usage=None)
    running |= {"expires_at": 4_000_000_000}
    ended = a_run_of("thread_1", 4)
    for run in (running, ended):
        server.put("thread_1", run["id"], run)
    syncer.sync()
    server.change("thread_1", running["id"], status="completed", expires_at=None)
    server.change("thread_1", ended["id"], metadata={"ticket": "T-2"})
    new = a_run_of("thread_1", 5)
    server.put("thread_1", new["id"], new)
    same_second = a_run_of("thread_2", 2, id="run_of_the_same_second")
    server.put("thread_2", same_second["id"], same_second)
    server.fill("thread_4", 2)
    syncer.track(["thread_4"])

    assert runtide("verify") == (
        0,
        "4 threads compared; 0 differences in 0 threads.\n",
        "",
    )


def test_a_watched_run_that_has_ended_is_no_difference(
    server: RawThreads, syncer: Syncer, runtide: Runtide
) -> None:
    """It is stale, so the bookmark has moved over it; the next sync asks for it."""
    stuck = {"status": "in_progress", "expires_at": NOW_SECONDS - 80_000_000}
    for number, fields in enumerate((stuck, {}, {})):
        run = a_run_of("thread_4", number) | fields
        server.put("thread_4", run["id"], run)
    syncer.track(["thread_4"])
    syncer.sync()
    server.change("thread_4", "thread_4_run_0", status="completed")

    assert runtide("verify").code == 0


ODD_VALUES: dict[str, dict[str, Json]] = {
    "doubles that Postgres writes out": {"metadata": {"a": [1e23, 1e300, 5e-324, -0.0]}},
    "an integer beyond every double": {"metadata": {"a": 2**64 + 1}},
    "milliseconds": {"started_at": 1_795_168_800_123},
    "nulls and empty objects": {"metadata": {"a": None}, "usage": {"details": {}}},
    "nested as deep as can be stored": {"deep": "[" * 900 + "]" * 900},
}


def test_an_odd_value_is_no_difference(
    server: RawThreads, syncer: Syncer, runtide: Runtide
) -> None:
    for name, fields in ODD_VALUES.items():
        text = json.dumps(a_run_of("thread_1", 3, id=name, **fields))
        deep = fields.get("deep")
        server.put("thread_1", name, text.replace(f'"{deep}"', str(deep)).encode())
    assert syncer.sync().runs_created == len(ODD_VALUES)

    assert runtide("verify") == (0, EQUAL, "")


@pytest.mark.parametrize("pair", [(True, 1), (2**64, 2**64 + 1), ("1", 1)])
def test_values_that_python_or_a_double_takes_for_equal_differ(
    engine: Engine,
    server: RawThreads,
    syncer: Syncer,
    runtide: Runtide,
    pair: tuple[Json, Json],
) -> None:
    told, stored = pair
    server.put("thread_1", "odd", a_run_of("thread_1", 3, id="odd", metadata={"a": told}))
    syncer.sync()
    change_run(engine, "odd", f"metadata = '{json.dumps({'a': stored})}'")

    assert "run odd: values differ: metadata\n" in runtide("verify").out


def test_a_payload_in_quarantine_is_no_difference(
    server: RawThreads, syncer: Syncer, runtide: Runtide
) -> None:
    """Neither one that never was a run, nor one that was, nor one at the bookmark."""
    for run_id in (SECOND, THIRD, "bad"):
        server.put("thread_1", run_id, a_run_of("thread_1", 2, id=run_id, status=None))
    syncer.sync()

    assert runtide("verify") == (0, EQUAL, "")


def test_a_row_missing_before_a_reject_at_the_bookmark_is_named(
    engine: Engine, server: RawThreads, syncer: Syncer, runtide: Runtide
) -> None:
    server.put("thread_1", "bad", a_run_of("thread_1", 3, id="bad", status=None))
    syncer.sync()
    delete_run(engine, SECOND)

    printed = runtide("verify")

    assert (printed.code, printed.out.count(SECOND)) == (3, 1)


def test_a_tombstone_is_not_compared(
    engine: Engine, server: RawThreads, runtide: Runtide
) -> None:
    del server.threads["thread_2"]
    execute(
        engine,
        "UPDATE run_sync.threads SET missing_since = now(), gone_at = now()"
        " WHERE thread_id = 'thread_2'",
    )

    assert runtide("verify") == (
        0,
        "2 threads compared; 0 differences in 0 threads.\n",
        "",
    )


def test_verify_writes_nothing(engine: Engine, runtide: Runtide) -> None:
    change_run(engine, SECOND, "status = 'failed'")
    ledger = query(engine, "SELECT * FROM run_sync.syncs")

    runtide("verify")

    assert query(engine, "SELECT * FROM run_sync.syncs") == ledger
    assert query(
        engine,
        "SELECT status FROM run_history.runs WHERE run_id = :id",
        id=SECOND,
    ) == [("failed",)]


def test_a_sample_compares_so_many_threads(server: RawThreads, runtide: Runtide) -> None:
    before = len(server.requests)

    printed = runtide("verify", "--sample", "2")

    assert printed == (0, "2 threads compared; 0 differences in 0 threads.\n", "")
    assert len(set(server.asked()[before:])) == 2
    assert runtide("verify", "--sample", "0").code == 2


def test_one_source_is_compared_alone(
    engine: Engine, runtide: Runtide, base_url: str
) -> None:
    runtide.configure(
        base_url, source=f'[[sources]]\nname = "b"\nbase_url = "{base_url}"\n'
    )

    assert runtide("verify", "--source", "b").out.startswith("0 threads compared")
    assert runtide("verify", "--source", "c").code == 2


# What cannot be read


def test_a_thread_that_cannot_be_read_is_told_apart_from_a_difference(
    engine: Engine, server: RawThreads, runtide: Runtide
) -> None:
    change_run(engine, SECOND, "status = 'failed'")
    del server.threads["thread_2"]

    assert runtide("verify") == (
        1,
        (
            f"demo, thread thread_1, run {SECOND}: values differ: status\n"
            "2 threads compared, 1 could not be read; 1 difference in 1 thread.\n"
        ),
        (f"runtide: demo, thread thread_2: {UNKNOWN_THREAD}\n"),
    )


def test_a_source_that_is_unavailable_is_told_once(
    server: RawThreads, runtide: Runtide
) -> None:
    error = {"error": {"code": "insufficient_quota", "message": "Pay first."}}

    def refuse(_: Request) -> Answer:
        return an_answer(error, status=429)

    server.interrupt = refuse

    printed = runtide("verify")

    assert printed.code == 1
    assert printed.out == (
        "0 threads compared, 1 could not be read; 0 differences in 0 threads.\n"
    )
    assert printed.err.count("\n") == 1
    assert printed.err.startswith("runtide: demo: ")
    assert "Pay first." in printed.err


# Repair


def test_a_repair_mends_what_was_altered_or_deleted_and_says_what_it_keeps(
    engine: Engine, server: RawThreads, syncer: Syncer, runtide: Runtide
) -> None:
    change_run(engine, FIRST, "status = 'failed'")
    delete_run(engine, SECOND)
    execute(
        engine,
        "UPDATE run_history.runs SET run_id = 'run_of_nobody'"
        " WHERE run_id = 'thread_2_run_1'",
    )
    before = len(server.requests)

    printed = runtide("verify", "--repair")

    found, _, rest = printed.out.partition("\n\n")
    assert (printed.code, printed.err) == (3, "")
    assert sorted(found.splitlines()) == [
        "3 threads compared; 4 differences in 2 threads.",
        f"demo, thread thread_1, run {FIRST}: values differ: status",
        f"demo, thread thread_1, run {SECOND}: the server has it, the tables do not",
        (
            "demo, thread thread_2, run run_of_nobody:"
            " the tables have it, the server does not"
        ),
        ("demo, thread thread_2, run thread_2_run_1: the server has it, the tables do not"),
    ]
    assert rest.splitlines()[-3:] == [
        (
            "demo, thread thread_2, run run_of_nobody:"
            " the tables have it, the server does not"
        ),
        "3 differences mended, 1 left.",
        "Rows are never deleted: a run that the server does not have is kept.",
    ]
    payloads = syncer.payloads()
    del payloads["run_of_nobody"]
    assert payloads == comparable(server.payloads())
    assert server.asked()[before:].count("thread_3") == 1
    assert query(
        engine,
        "SELECT outcome, threads, runs_created, runs_updated FROM run_sync.syncs"
        " WHERE trigger = 'verify --repair'",
    ) == [("succeeded", 2, 2, 1)]


def test_after_a_repair_nothing_differs(engine: Engine, runtide: Runtide) -> None:
    change_run(engine, FIRST, "status = 'queued'")
    mended = runtide("verify", "--repair")

    assert mended.out.endswith("\n1 difference mended, 0 left.\n")
    assert runtide("verify", "--repair") == (0, EQUAL, "")


def test_a_repair_of_more_threads_than_a_statement_has_parameters(
    syncer: Syncer,
) -> None:
    keys = [(syncer.source_id, ThreadId(f"thread_{number}")) for number in range(40_000)]

    report = wiring.repair(
        syncer.settings,
        source=None,
        keys=keys,
        watch=lambda: nullcontext(Unwatched()),
        stop=threading.Event(),
    )

    assert report.threads == len(THREADS)


# For programs


def test_json_is_one_object_with_all_that_was_found(
    engine: Engine, server: RawThreads, runtide: Runtide
) -> None:
    change_run(engine, SECOND, "status = 'failed', model = NULL")
    del server.threads["thread_2"]

    printed = runtide("verify", "--json")

    assert (printed.code, printed.err) == (1, "")
    assert json.loads(printed.out) == {
        "compared": 2,
        "differences": [
            {
                "source": "demo",
                "thread": "thread_1",
                "run": SECOND,
                "kind": "different",
                "fields": ["model", "status"],
            }
        ],
        "errors": [
            {
                "source": "demo",
                "thread": "thread_2",
                "message": UNKNOWN_THREAD,
            }
        ],
        "repair": None,
    }


def test_json_tells_of_a_repair_too(engine: Engine, runtide: Runtide) -> None:
    delete_run(engine, SECOND)

    printed = runtide("verify", "--repair", "--json")

    told = json.loads(printed.out)
    assert printed.code == 3
    assert [each["kind"] for each in told["differences"]] == ["missing"]
    assert told["repair"]["sync"]["outcome"] == "succeeded"
    assert told["repair"]["sync"]["runs_created"] == 1
    assert told["repair"]["left"] == {"compared": 1, "differences": [], "errors": []}


# Many threads


def a_tracked_thread(number: int) -> TrackedThread:
    return TrackedThread(
        source_id=SourceId(1),
        thread_id=ThreadId(f"thread_{number}"),
        bookmark=Bookmark(),
        read_at=None,
    )


def test_results_stream_and_threads_are_taken_no_faster_than_they_are_checked() -> None:
    taken: list[int] = []

    def endless() -> Iterator[TrackedThread]:
        number = 0
        while True:
            taken.append(number)
            yield a_tracked_thread(number)
            number += 1

    checked = check_threads(endless(), nothing_wrong, workers=4, stop=threading.Event())
    first = list(islice(checked, 100))
    checked.close()  # type: ignore[attr-defined]  # a generator

    assert len({each.thread.thread_id for each in first}) == 100
    assert len(taken) <= 100 + 2 * 4 + 1


def nothing_wrong(_: TrackedThread) -> list[Difference]:
    return []


def test_a_check_that_is_stopped_ends_although_a_server_hangs() -> None:
    stop, hangs = threading.Event(), threading.Event()

    def hang(_: TrackedThread) -> list[Difference]:
        stop.set()
        hangs.wait(60)
        return []

    threads = map(a_tracked_thread, range(10))
    with pytest.raises(StoppedError):
        list(check_threads(threads, hang, workers=2, stop=stop))
    hangs.set()


def test_a_defect_in_a_check_shows() -> None:
    def fall_over(_: TrackedThread) -> list[Difference]:
        raise ZeroDivisionError

    threads = map(a_tracked_thread, range(10))
    with pytest.raises(ZeroDivisionError):
        list(check_threads(threads, fall_over, workers=2, stop=threading.Event()))
