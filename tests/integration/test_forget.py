"""Forgetting a thread: what goes, what stays, and that it does not come back."""

from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Engine

from etl.domain.batch import PassFailure, SourceId
from etl.domain.digest import digest
from etl.domain.page import Payload
from etl.domain.run import RunId, ThreadId
from etl.load.holding import holding
from etl.load.naming import naming
from etl.load.overview import sources_overview
from etl.load.threads import record_source
from etl.load.tracking import track
from tests.integration.builders import (
    a_batch,
    a_payload,
    a_store,
    after,
    an_increment,
    execute,
    query,
    rows,
)
from tests.integration.commands import Runtide
from tests.integration.raw_threads import RawThreads

FORGOTTEN, OTHER = ThreadId("thread_forgotten"), ThreadId("thread_forgotten_too")
ADDRESS = "http://localhost:9/v1"


@pytest.fixture
def engine(swept_engine: Engine) -> Engine:
    return swept_engine


@pytest.fixture
def runtide(tmp_path: Path, engine: Engine, capsys: pytest.CaptureFixture[str]) -> Runtide:
    runtide = Runtide(tmp_path, engine, capsys)
    runtide.configure(ADDRESS)
    return runtide


def a_source(engine: Engine, name: str) -> SourceId:
    """A source that tracks both threads."""
    source_id = record_source(engine, name=name, kind="openai", base_url=ADDRESS)
    track(engine, source_id, [FORGOTTEN, OTHER])
    return source_id


@pytest.fixture
def demo(engine: Engine) -> SourceId:
    return a_source(engine, "demo")


def a_tool(name: str) -> dict[str, object]:
    return {"type": "function", "function": {"name": name}}


def damaged(text: str, run_id: str) -> Payload:
    return Payload(text.encode(), RunId(run_id))


TELLING = (
    """
    INSERT INTO run_sync.drift
        (source_id, path, kind, value, example_run_id, first_seen_at, last_seen_at)
    VALUES (:source_id, 'status', 'unknown_value', 'melted', 'run_own', now(), now()),
           (:source_id, 'status', 'unknown_value', 'x', 'run_other', now(), now())
    """,
    "UPDATE run_sync.syncs SET error = :own",
    "INSERT INTO run_sync.syncs (trigger, error) VALUES (:backfill, :other)",
)


def fill(engine: Engine, source_id: SourceId) -> None:
    """Two threads with much in common, and the forgotten one named all over."""
    own = {"instructions": "Own.", "tools": [a_tool("own")], "status": "melted"}
    forgotten = an_increment(
        source_id,
        a_payload("run_own", **own),
        a_payload("run_shared", instructions="Shared.", tools=[a_tool("shared")]),
        damaged("cut off {", "run_cut"),
        thread_id=FORGOTTEN,
    )
    other = an_increment(
        source_id,
        a_payload("run_other", instructions="Shared.", tools=[a_tool("shared")]),
        damaged(f'{{"note": "see\\n{FORGOTTEN}', "run_naming"),
        damaged(f'{{"note": "see {OTHER}', "run_silent"),
        thread_id=OTHER,
    )
    said = f"run run_own belongs to thread {FORGOTTEN}"
    failure = PassFailure(source_id=source_id, thread_id=OTHER, message=said)
    with a_store(engine) as store:
        store.commit(a_batch(forgotten, other, failures=[failure]))
    with engine.begin() as connection:
        told = {
            "source_id": source_id,
            "backfill": f"backfill of thread {FORGOTTEN}",
            "own": f"demo, thread {FORGOTTEN}: run_own is odd.",
            "other": f"demo, thread {OTHER}: is odd.",
        }
        for statement in TELLING:
            connection.execute(sa.text(statement), told)


def everything(engine: Engine) -> str:
    return "\n".join(
        f"{table} {row}" for table, all_ in rows(engine).items() for row in all_
    )


def test_a_forgotten_thread_is_in_no_table_and_the_others_are_whole(
    engine: Engine, runtide: Runtide, demo: SourceId
) -> None:
    fill(engine, demo)

    printed = runtide("forget", "--thread", FORGOTTEN, "--yes")

    assert (printed.code, printed.err) == (0, "")
    assert printed.out == (
        "Thread thread_forgotten is forgotten: 2 runs, 2 rejects, 1 instructions text and"
        " 1 tool list erased.\n"
    )
    left = everything(engine).replace(OTHER, "")
    for trace in (FORGOTTEN, "run_own", "run_shared", "Own.", "cut off", "run_naming"):
        assert trace not in left
    assert query(engine, "SELECT run_id, thread_id FROM run_history.runs") == [
        ("run_other", OTHER)
    ]
    assert query(engine, "SELECT body FROM run_history.instructions") == [("Shared.",)]
    assert query(engine, "SELECT function_name FROM run_history.tools") == [("shared",)]
    assert query(engine, "SELECT run_id FROM run_sync.rejects") == [("run_silent",)]
    assert query(engine, "SELECT thread_id, last_error FROM run_sync.threads") == [
        (OTHER, "It named a thread that was forgotten.")
    ]
    examples = "SELECT value, example_run_id FROM run_sync.drift ORDER BY value"
    assert query(engine, examples) == [("melted", None), ("x", "run_other")]
    assert query(engine, "SELECT trigger, error FROM run_sync.syncs ORDER BY 1") == [
        ("backfill of a thread that was forgotten", f"demo, thread {OTHER}: is odd."),
        ("forget", None),
        ("test", "It named a thread that was forgotten."),
    ]


ERASURES = (
    "SELECT source_id, thread_digest, runs, rejects FROM run_sync.erasures ORDER BY 1"
)


def test_a_digest_of_the_id_and_the_figures_are_what_stays(
    engine: Engine, runtide: Runtide, demo: SourceId
) -> None:
    fill(engine, demo)
    name = digest(FORGOTTEN.encode())

    runtide("forget", "--thread", FORGOTTEN, "--yes")
    assert query(engine, ERASURES) == [(demo, name, 2, 2)]

    again = runtide("forget", "--thread", FORGOTTEN, "--yes")
    assert again.out == (
        "Thread thread_forgotten was not here; it is noted, so that it stays out.\n"
    )
    assert query(engine, ERASURES) == [(demo, name, 2, 2)]


def test_without_a_source_it_is_erased_from_all_even_from_one_that_is_set_no_more(
    engine: Engine, runtide: Runtide, demo: SourceId
) -> None:
    old = a_source(engine, "old")
    fill(engine, demo)
    fill(engine, old)

    runtide("forget", "--thread", FORGOTTEN, "--yes", "--source", "old")
    assert [row[::2] for row in query(engine, ERASURES)] == [(old, 2)]
    assert query(engine, "SELECT body FROM run_history.instructions ORDER BY 1") == [
        ("Own.",),
        ("Shared.",),
    ]

    runtide("forget", "--thread", FORGOTTEN, "--yes")
    assert [row[::2] for row in query(engine, ERASURES)] == [(demo, 2), (old, 2)]
    assert query(engine, "SELECT DISTINCT thread_id FROM run_history.runs") == [(OTHER,)]
    assert query(engine, "SELECT body FROM run_history.instructions") == [("Shared.",)]


def test_a_source_that_nobody_knows_is_named(runtide: Runtide, tmp_path: Path) -> None:
    printed = runtide("forget", "--thread", FORGOTTEN, "--yes", "--source", "new")

    assert (printed.code, printed.out) == (2, "")
    assert printed.err == (
        f"runtide: There is no source 'new', in {tmp_path / 'config.toml'} or in the"
        " tables; there is demo.\n"
    )


def test_a_tombstone_is_forgotten_like_any_other(
    engine: Engine, runtide: Runtide, demo: SourceId
) -> None:
    execute(engine, "UPDATE run_sync.threads SET gone_at = now(), missing_since = now()")

    printed = runtide("forget", "--thread", FORGOTTEN, "--yes")

    assert printed.out == (
        "Thread thread_forgotten is forgotten: 0 runs, 0 rejects, 0 instructions texts and"
        " 0 tool lists erased.\n"
    )
    tracked = query(engine, "SELECT source_id, thread_id FROM run_sync.threads")
    assert tracked == [(demo, OTHER)]


READMITTED = "SELECT readmitted_at IS NOT NULL FROM run_sync.erasures"


def test_what_is_forgotten_is_not_tracked_again_unless_that_is_said(
    engine: Engine, runtide: Runtide
) -> None:
    runtide("forget", "--thread", FORGOTTEN, "--yes")

    kept_out = runtide("track", FORGOTTEN, OTHER)
    assert kept_out.out == (
        "1 new thread tracked. 1 forgotten thread stays out; --forgotten tracks it all the"
        " same.\n"
    )
    assert query(engine, "SELECT thread_id FROM run_sync.threads") == [(OTHER,)]

    let_in = runtide("track", "--forgotten", FORGOTTEN, OTHER)
    assert let_in.out == "1 new thread tracked, 1 tracked already.\n"
    assert query(engine, READMITTED) == [(True,)]
    assert runtide("track", FORGOTTEN).out == "0 new threads tracked, 1 tracked already.\n"

    runtide("forget", "--thread", FORGOTTEN, "--yes")
    assert query(engine, READMITTED) == [(False,)]
    assert "1 forgotten thread stays out" in runtide("track", FORGOTTEN, OTHER).out


def test_a_thread_that_is_forgotten_at_one_source_may_be_tracked_at_another(
    engine: Engine, runtide: Runtide, demo: SourceId
) -> None:
    other = record_source(engine, name="other", kind="openai", base_url=ADDRESS)

    runtide("forget", "--thread", FORGOTTEN, "--yes", "--source", "demo")

    assert track(engine, other, [FORGOTTEN]) == 1
    assert track(engine, demo, [FORGOTTEN]) == 0


def test_a_sync_that_had_begun_before_writes_nothing_of_it(
    engine: Engine, runtide: Runtide, demo: SourceId
) -> None:
    increment = an_increment(demo, a_payload("run_late"), thread_id=FORGOTTEN)
    with a_store(engine) as store:
        runtide("forget", "--thread", FORGOTTEN, "--yes")
        committed = store.commit(a_batch(increment))

    assert committed.overtaken == {(demo, FORGOTTEN)}
    assert query(engine, "SELECT run_id FROM run_history.runs") == []


def test_while_a_sync_holds_any_source_nothing_is_erased(
    engine: Engine, runtide: Runtide, demo: SourceId
) -> None:
    fill(engine, demo)
    other = a_source(engine, "other")
    with holding(engine, [other], trigger="sync"):
        before = everything(engine)
        thread = runtide("forget", "--thread", FORGOTTEN, "--source", "demo", "--yes")
        leftovers = runtide("forget", "--leftovers")

        assert everything(engine) == before
    for printed in (thread, leftovers):
        assert (printed.code, printed.out) == (75, "")
        assert printed.err.startswith("runtide: Source other is held by sync ")


def test_an_error_on_the_way_erases_nothing(
    engine: Engine, runtide: Runtide, demo: SourceId
) -> None:
    fill(engine, demo)
    execute(engine, "ALTER TABLE run_sync.erasures ADD CONSTRAINT no CHECK (false)")
    before = [*rows(engine, "run_history").items(), query(engine, "TABLE run_sync.rejects")]
    try:
        printed = runtide("forget", "--thread", FORGOTTEN, "--yes")
    finally:
        execute(engine, "ALTER TABLE run_sync.erasures DROP CONSTRAINT no")

    after_it = [
        *rows(engine, "run_history").items(),
        query(engine, "TABLE run_sync.rejects"),
    ]
    assert after_it == before
    assert printed.code == 1
    assert query(engine, "SELECT outcome FROM run_sync.syncs WHERE trigger = 'forget'") == [
        ("failed",)
    ]


def test_leftovers_are_what_no_run_of_any_source_refers_to(
    engine: Engine, runtide: Runtide, demo: SourceId
) -> None:
    source_ids = [demo, a_source(engine, "other")]
    for at, text in enumerate(["first", "second"]):
        tools = [a_tool(text), a_tool("more")]
        with a_store(engine) as store:
            for source_id in source_ids[at:]:
                payload = a_payload(instructions=text, tools=tools, metadata={"at": at})
                increment = an_increment(
                    source_id,
                    payload,
                    thread_id=OTHER,
                    read_before=after(at - 1) if at and source_id != demo else None,
                    read_at=after(at),
                )
                store.commit(a_batch(increment))
    # Now demo's run has the first text, the other's has moved on to the second.
    assert runtide("forget", "--leftovers").out == (
        "0 instructions texts and 0 tool lists erased, which no run referred to.\n"
    )
    execute(
        engine,
        "DELETE FROM run_history.runs WHERE instructions_id = (SELECT"
        " instructions_id FROM run_history.instructions WHERE body = 'first')",
    )

    assert runtide("forget", "--leftovers").out == (
        "1 instructions text and 1 tool list erased, which no run referred to.\n"
    )
    assert query(engine, "SELECT body FROM run_history.instructions") == [("second",)]
    names = "SELECT function_name FROM run_history.tools ORDER BY position"
    assert query(engine, names) == [("second",), ("more",)]


def test_forgetting_does_not_count_as_a_good_sync(
    engine: Engine, runtide: Runtide, demo: SourceId
) -> None:
    assert runtide("forget", "--thread", FORGOTTEN, "--yes").code == 0

    with engine.connect() as connection:
        [source] = sources_overview(connection)
    assert (source.threads, source.last_good_at) == (1, None)


NO_TERMINAL = (
    "runtide: What is forgotten does not come back, and there is no terminal to ask at; say"
    " --yes if you mean it. Nothing was erased.\n"
)
WHICH = (
    "runtide: Name what to erase: one thread with --thread, or what no run refers to with"
    " --leftovers.\n"
)
SHARED = "runtide: All sources share instructions and tool lists; leave --source out.\n"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--thread", FORGOTTEN), NO_TERMINAL),
        ((), WHICH),
        (("--thread", FORGOTTEN, "--leftovers"), WHICH),
        (("--leftovers", "--source", "demo"), SHARED),
    ],
)
def test_a_wrong_command_is_told_and_erases_nothing(
    engine: Engine,
    runtide: Runtide,
    demo: SourceId,
    arguments: tuple[str, ...],
    said: str,
) -> None:
    fill(engine, demo)
    before = everything(engine)

    assert runtide("forget", *arguments) == (2, "", said)
    assert everything(engine) == before


def names(engine: Engine, thread_id: str, text: str) -> bool:
    statement = sa.text("SELECT CAST(:text AS text) ~ :naming")
    with engine.connect() as connection:
        values = {"text": text, "naming": naming(ThreadId(thread_id))}
        return bool(connection.scalar(statement, values))


SPELLED = [
    "thread_1",
    "a.b",
    "thread(1)",
    "[x]",
    "a|b",
    "a*",
    "back\\slash",
    "$^",
    'q"',
    "ä",
    "漢-1",
]


@pytest.mark.parametrize("thread_id", SPELLED)
def test_a_text_names_a_thread_however_its_id_is_spelled(
    engine: Engine, thread_id: str
) -> None:
    escaped = thread_id.encode("unicode_escape").decode()
    json_text = query(engine, "SELECT to_json(CAST(:text AS text))::text", text=thread_id)[
        0
    ][0]

    assert names(engine, thread_id, f"demo, thread {thread_id}: it is odd.")
    assert names(engine, thread_id, f'{{"note":"see\\n{thread_id}\\n"}}')
    assert names(engine, thread_id, f'{{"thread_id": {json_text}}}')
    assert names(engine, thread_id, thread_id)
    assert not names(engine, thread_id, f"thread x{escaped}x is another one")


def test_a_longer_id_is_another_one(engine: Engine) -> None:
    assert not names(engine, "thread_1", "thread_10, thread_1_b, my-thread_1, xthread_1")
    assert not names(engine, "a.b", "a_b, acb")


def test_a_number_is_an_id_only_where_it_is_said_to_be_one(engine: Engine) -> None:
    assert names(engine, "17", '{"thread_id": 17}')
    assert names(engine, "17", '{"thread_id":"17"}')
    assert names(engine, "17", "demo, thread 17: it is odd.")
    assert not names(engine, "17", '{"total_tokens": 17, "thread_id": 170, "a": "17"}')


def test_forgetting_needs_no_server(
    engine: Engine, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    server, runtide = RawThreads(), Runtide(tmp_path, engine, capsys)
    server.fill(FORGOTTEN, runs=3)
    with server.listening() as base_url:
        runtide.configure(base_url)
        runtide("track", FORGOTTEN)
        assert runtide("sync", "--quiet").code == 0
        asked = len(server.requests)
        runtide("forget", "--thread", FORGOTTEN, "--yes")
        assert runtide("sync", "--quiet").code == 0

    assert len(server.requests) == asked
    assert query(engine, "SELECT count(*) FROM run_history.runs") == [(0,)]
