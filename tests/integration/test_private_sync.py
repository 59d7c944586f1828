"""Privacy over real HTTP: what was planted is in no table, whatever way it came."""

import hmac
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.engine import Engine

from tests.integration.builders import query, row_versions, rows
from tests.integration.commands import Runtide
from tests.integration.raw_threads import RawThreads, a_run_of

Json = Any
SECRET = "planted-by-the-test"
THREAD, DAMAGED, STUCK = "thread_1", "thread_damaged", "thread_1_run_3"
SETTINGS = (
    "instructions",
    "tools",
    "tool_call_arguments",
    "error_messages",
    "unknown_fields",
    "metadata",
)
FUNCTION = {"name": "find", "description": SECRET, "parameters": {"a": {"const": SECRET}}}
MCP = {"type": "mcp", "server_url": f"https://{SECRET}", "headers": {"a": SECRET}}
CALL = {"id": "call_1", "type": "function", "arguments": SECRET}
CALLS = [CALL | {"function": {"name": "find", "arguments": {"who": SECRET}}}]
PLANTED: dict[str, Json] = {
    "instructions": f"Say {SECRET}.",
    "tools": [{"type": "function", "function": FUNCTION}, MCP],
    "tool_resources": {"mcp": [MCP]},
    "metadata": {"email": SECRET, "more": {"deep": [SECRET]}},
    "last_error": {"code": "server_error", "message": SECRET, "details": [SECRET]},
    "customer": {"name": SECRET},
    "usage": {"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7, "who": SECRET},
    "required_action": {
        "type": "submit_tool_outputs",
        "submit_tool_outputs": {"tool_calls": CALLS},
    },
}
ODD: dict[str, Json] = {
    "instructions": {"text": SECRET},
    "tools": {"mcp": MCP},
    "metadata": [SECRET],
    "last_error": SECRET,
    "required_action": [SECRET],
    "usage": SECRET,
}


DEEP = b'{"customer":"%s","new":%s}' % (SECRET.encode(), b"[" * 9_999 + b"]" * 9_999)


def settings(treatment: str) -> str:
    lines = "".join(f'{name} = "{treatment}"\n' for name in SETTINGS)
    return f'[sources.privacy]\nhash_key_env = "DEMO_HASH_KEY"\n{lines}'


def fill(server: RawThreads) -> None:
    """One thread of runs, one of what cannot become any; all hold the secret."""
    for number, fields in enumerate([PLANTED, ODD, PLANTED]):
        run = a_run_of(THREAD, number, **fields)
        server.put(THREAD, run["id"], run)
    for stuck in (
        a_run_of(THREAD, 3, **PLANTED, status="in_progress"),
        a_run_of(THREAD, 4),
    ):
        server.put(THREAD, stuck["id"], stuck)
    damaged = {
        "whole": json.dumps(a_run_of(DAMAGED, 0, **PLANTED)).encode(),
        "no status": json.dumps(a_run_of(DAMAGED, 1, **PLANTED, status=None)).encode(),
        "cut": json.dumps(a_run_of(DAMAGED, 2, **PLANTED)).encode()[:-20],
        "a text": json.dumps(SECRET).encode(),
        "a word": SECRET.encode(),
        "deep": b'{"customer":"%s","new":%s}'
        % (SECRET.encode(), b"[" * 9_999 + b"]" * 9_999),
        "NaN": json.dumps(a_run_of(DAMAGED, 3, **PLANTED, top_p=float("nan"))).encode(),
    }
    for name, text in damaged.items():
        server.put(DAMAGED, name, text)


@pytest.fixture
def engine(swept_engine: Engine) -> Engine:
    return swept_engine


@pytest.fixture
def server() -> RawThreads:
    server = RawThreads()
    fill(server)
    return server


@pytest.fixture
def base_url(server: RawThreads) -> Iterator[str]:
    with server.listening() as base_url:
        yield base_url


@pytest.fixture
def runtide(
    tmp_path: Path,
    engine: Engine,
    base_url: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> Runtide:
    """Of both threads, without privacy."""
    monkeypatch.setenv("DEMO_HASH_KEY", "a long random text")
    runtide = Runtide(tmp_path, engine, capsys)
    runtide.configure(base_url)
    runtide("track", THREAD, DAMAGED)
    return runtide


def tables_with_it(engine: Engine) -> set[str]:
    """The tables in which any row holds what was planted, in whatever column."""
    return {
        "runs" if table.startswith("run_history.runs") else table
        for table, texts in rows(engine).items()
        if any(SECRET in text for text in texts)
    }


REJECTS = "SELECT run_id, reason, payload FROM run_sync.rejects ORDER BY reject_id"
EVERYWHERE = {"runs", "run_history.instructions", "run_history.tools", "run_sync.rejects"}


@pytest.mark.parametrize("treatment", ["hash", "omit"])
def test_what_was_planted_is_in_no_table(
    engine: Engine, base_url: str, runtide: Runtide, treatment: str
) -> None:
    runtide.configure(base_url, source=settings(treatment))

    assert runtide("sync", "--quiet").code == 0

    assert len(query(engine, "SELECT run_id FROM run_history.runs")) == 6
    assert len(query(engine, REJECTS)) == 3
    assert tables_with_it(engine) == set()
    assert runtide("verify").out == "2 threads compared; 0 differences in 0 threads.\n"
    before = row_versions(engine, "run_history")
    assert runtide("sync", "--quiet").code == 0
    assert row_versions(engine, "run_history") == before
    assert tables_with_it(engine) == set()


def test_what_a_look_alike_sends_is_cleaned_too(
    engine: Engine, server: RawThreads, base_url: str, runtide: Runtide
) -> None:
    server.threads = {THREAD: {}, DAMAGED: {}}
    server.put(THREAD, "run", a_run_of(THREAD, 0, **PLANTED))
    server.put(DAMAGED, "bad", a_run_of(DAMAGED, 0, **PLANTED, status=None))
    runtide.configure(base_url, source="trusted = false\n" + settings("omit"))

    assert runtide("sync", "--quiet").code == 0

    assert len(query(engine, "SELECT run_id FROM run_history.runs")) == 1
    assert len(query(engine, REJECTS)) == 1
    assert tables_with_it(engine) == set()


def test_without_privacy_it_is_everywhere(engine: Engine, runtide: Runtide) -> None:
    assert runtide("sync", "--quiet").code == 0

    assert tables_with_it(engine) == EVERYWHERE


WITHHOLDINGS = {
    b'{"customer":"%s"' % SECRET.encode(): "bytes that are no valid JSON",
    SECRET.encode(): "bytes that are no valid JSON",
    json.dumps(SECRET).encode(): "bytes of JSON that are no object",
    DEEP: "bytes of JSON, nested too deep",
}


@pytest.mark.parametrize("text", WITHHOLDINGS)
def test_what_cannot_be_cleaned_is_told_by_its_size_and_digest(
    engine: Engine, server: RawThreads, base_url: str, runtide: Runtide, text: bytes
) -> None:
    server.threads = {THREAD: {}, DAMAGED: {"bad": text}}
    runtide.configure(base_url, source=settings("omit"))

    assert runtide("sync", "--quiet").code == 0

    [(_, _, told)] = query(engine, REJECTS)
    name = hmac.new(b"a long random text", text, "sha256").hexdigest()
    sentence = f"{len(text)} {WITHHOLDINGS[text]}, hmac-sha256:{name}"
    assert told.strip('"') == f"withheld by the privacy settings: {sentence}"


def test_a_run_that_the_database_refuses_is_kept_as_it_was_cleaned(
    engine: Engine, server: RawThreads, base_url: str, runtide: Runtide
) -> None:
    too_long = "".join(map(str, range(50_000)))
    server.threads = {THREAD: {}, DAMAGED: {}}
    server.put(DAMAGED, "refused", a_run_of(DAMAGED, 4, **PLANTED, id=too_long))
    runtide.configure(base_url, source=settings("omit"))

    assert runtide("sync", "--quiet").code == 0

    [(run_id, reason, told)] = query(engine, REJECTS)
    assert (run_id, json.loads(told)["id"]) == (too_long, too_long)
    assert reason.startswith("the database refused the run: ")
    assert tables_with_it(engine) == set()


def test_a_run_that_is_asked_for_by_its_id_is_cleaned_too(
    engine: Engine, server: RawThreads, base_url: str, runtide: Runtide
) -> None:
    runtide.configure(base_url, source=settings("omit"))
    runtide("sync", "--quiet")
    server.change(THREAD, STUCK, status="completed", metadata={"more": SECRET})

    assert runtide("sync", "--quiet").code == 0

    asked = [request.run_id for request in server.requests if request.run_id]
    assert asked == [STUCK]
    state = "SELECT status, metadata FROM run_history.runs WHERE run_id = :run_id"
    assert query(engine, state, run_id=STUCK) == [("completed", {})]
    assert tables_with_it(engine) == set()


def test_equal_values_have_equal_hashes_in_all_rows(
    engine: Engine, base_url: str, runtide: Runtide
) -> None:
    runtide.configure(base_url, source=settings("hash"))
    runtide("sync", "--quiet")

    groups = """
        SELECT i.body, count(*) FROM run_history.runs r
        JOIN run_history.instructions i USING (instructions_id)
        WHERE r.thread_id = 'thread_1' GROUP BY 1 ORDER BY 2 DESC
    """
    [first, *_] = query(engine, groups)
    assert first[0].startswith("hmac-sha256:")
    assert first[1] == 3


def test_what_was_there_before_goes_with_backfill_replay_and_a_sweep(
    engine: Engine, server: RawThreads, base_url: str, runtide: Runtide
) -> None:
    assert runtide("sync", "--quiet").code == 0
    server.put(DAMAGED, "no status", a_run_of(DAMAGED, 1, **PLANTED))
    assert runtide("backfill", "--quiet").code == 0  # one reject has left, and stands there
    waiting = len(query(engine, REJECTS)) - 1
    assert tables_with_it(engine) == EVERYWHERE
    runtide.configure(base_url, source=settings("hash"))

    assert runtide("backfill", "--quiet").code == 0
    assert tables_with_it(engine) == EVERYWHERE - {"runs"}
    replayed = runtide("replay")
    assert tables_with_it(engine) == EVERYWHERE - {"runs", "run_sync.rejects"}
    swept = runtide("forget", "--leftovers")
    assert tables_with_it(engine) == set()

    # The one that is no JSON was withheld at once: it names headers.
    assert replayed.out == (
        f"{waiting} rejects cleaned by the privacy settings.\n"
        f"{waiting} rejects looked at; 0 now in the tables (0 created, 0 updated),"
        f" {waiting} still in quarantine.\n"
    )
    assert swept.out == (
        "2 instructions texts and 1 tool list erased, which no run referred to.\n"
    )
    assert runtide("verify").code == 0
    again = runtide("replay")
    assert "cleaned" not in again.out


def test_texts_that_become_the_same_become_one_row(
    engine: Engine, server: RawThreads, base_url: str, runtide: Runtide
) -> None:
    server.threads = {THREAD: {}, DAMAGED: {}}
    for number in range(3):
        bad = a_run_of(THREAD, 0, status=None, instructions=f"{SECRET} {number}")
        server.put(THREAD, "bad", bad)
        runtide("backfill", "--quiet")
    first_and_last = "SELECT min(first_seen_at), max(last_seen_at) FROM run_sync.rejects"
    [seen] = query(engine, first_and_last)
    assert len(query(engine, REJECTS)) == 3
    runtide.configure(base_url, source=settings("omit"))

    runtide("replay")

    counted = "SELECT count(*), sum(times_seen), count(replayed_at) FROM run_sync.rejects"
    assert query(engine, counted) == [(1, 3, 0)]
    assert query(engine, first_and_last) == [seen]


@pytest.mark.parametrize("command", ["sync", "backfill", "verify", "replay"])
def test_without_the_key_nothing_is_begun(
    engine: Engine,
    runtide: Runtide,
    base_url: str,
    monkeypatch: pytest.MonkeyPatch,
    command: str,
) -> None:
    runtide.configure(base_url, source=settings("hash"))
    monkeypatch.delenv("DEMO_HASH_KEY")

    printed = runtide(command)

    assert printed == (
        2,
        "",
        (
            "runtide: The environment variable DEMO_HASH_KEY, which holds the key of the"
            " hashes of source 'demo', is not set; set it to a long random text that stays"
            " the same.\n"
        ),
    )
    assert query(engine, "SELECT * FROM run_sync.syncs") == []
