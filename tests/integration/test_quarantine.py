"""Payloads that cannot become runs, over real HTTP: kept, named, and let out again."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.engine import Engine

from etl.domain.outcome import Outcome
from etl.domain.page import Payload
from etl.domain.run import Reject, RejectReason, Run, ThreadId
from etl.load.tracking import untrack
from etl.sync import reading
from etl.transform import flatten
from tests.integration.builders import comparable, execute, query
from tests.integration.commands import Printed, Runtide
from tests.integration.raw_threads import RawThreads, a_run_of
from tests.integration.syncing import Syncer

Json = Any
THREAD = "thread_1"
DEEP = 10_000
LARGE = 50_000_000


@pytest.fixture
def engine(swept_engine: Engine) -> Engine:
    return swept_engine


@pytest.fixture
def server() -> RawThreads:
    return RawThreads()


@pytest.fixture
def base_url(server: RawThreads) -> Iterator[str]:
    with server.listening() as base_url:
        yield base_url


@pytest.fixture
def syncer(engine: Engine, base_url: str) -> Syncer:
    """Of one thread, not read yet."""
    syncer = Syncer(engine, base_url)
    syncer.track([THREAD])
    return syncer


@pytest.fixture
def runtide(
    tmp_path: Path, engine: Engine, base_url: str, capsys: pytest.CaptureFixture[str]
) -> Runtide:
    runtide = Runtide(tmp_path, engine, capsys)
    runtide.configure(base_url)
    return runtide


def text_with(number: int, **fields: Json) -> bytes:
    return json.dumps(a_run_of(THREAD, number, **fields)).encode()


def text_of(number: int, members: bytes) -> bytes:
    """A run's text with members that Python would not write."""
    return text_with(number)[:-1] + b"," + members + b"}"


NOT_JSON = "the payload is not valid JSON"
NOT_AN_OBJECT = "the payload is not a JSON object"
TEXT = "the payload holds text that Postgres cannot store"
NUMBER = "the payload holds a number that cannot be stored"
REJECTED: dict[str, tuple[bytes, str]] = {
    "a word": (b"oops", NOT_JSON),
    "a page of HTML": (b'<html lang="en"><p>502</p></html>', NOT_JSON),
    "cut off inside a text": (text_with(1)[:-30], NOT_JSON),
    "cut off at its last bracket": (text_with(1)[:-1], NOT_JSON),
    "cut off after a few letters": (text_with(1)[:9], NOT_JSON),
    "a bracket too many": (text_with(1) + b"}", NOT_JSON),
    "a control character": (text_with(1, model="gpt").replace(b"gpt", b"g\0t"), NOT_JSON),
    "no UTF-8": (text_with(1, model="gpt").replace(b"gpt", b"g\xfft"), NOT_JSON),
    "a text": (b'"run_1"', NOT_AN_OBJECT),
    "null": (b"null", NOT_AN_OBJECT),
    "a list": (b"[1, 2]", NOT_AN_OBJECT),
    "nested too deep": (
        text_of(1, b'"deep":' + b"[" * DEEP + b"]" * DEEP),
        "the payload is nested too deep",
    ),
    "NUL in a text": (text_with(1, instructions="a\0b"), TEXT),
    "NUL in a key": (text_with(1, metadata={"\0": 1}), TEXT),
    "a lone surrogate": (text_with(1, metadata={"a": "\ud800"}), TEXT),
    "NaN": (text_with(1, top_p=float("nan")), NUMBER),
    "a number beyond a double": (text_of(1, b'"new":1e999'), NUMBER),
    "a number of 5,000 digits": (text_of(1, b'"new":' + b"9" * 5_000), NUMBER),
    "no id": (text_with(1, id=None), "the payload has no usable id"),
    "an id that is an object": (text_with(1, id={}), "the payload has no usable id"),
    "no status": (text_with(1, status=None), "status is missing or is no text"),
    "no creation": (
        text_with(1, created_at=None),
        "created_at is missing or is no instant",
    ),
    "a creation beyond all time": (
        text_with(1, created_at=10**30),
        "created_at is missing or is no instant",
    ),
    "an id too long for an index": (
        text_with(1, id="".join(map(str, range(200_000)))),
        "the database refused the run",
    ),
}


def test_a_payload_that_cannot_be_a_run_is_kept_and_its_neighbours_are_rows(
    engine: Engine, server: RawThreads, syncer: Syncer
) -> None:
    for thread, (text, _) in REJECTED.items():
        first, last = (a_run_of(THREAD, n, id=f"{n} of {thread}") for n in (0, 2))
        server.put(thread, first["id"], first | {"thread_id": thread})
        server.put(thread, "bad", text.replace(b'"thread_1"', json.dumps(thread).encode()))
        server.put(thread, last["id"], last | {"thread_id": thread})
    untrack(engine, syncer.source_id, [ThreadId(THREAD)])
    syncer.track(list(REJECTED))

    report = syncer.sync()

    assert (report.outcome, report.errors) == (Outcome.SUCCEEDED, [])
    assert report.rejects == len(REJECTED)
    assert set(syncer.runs()) == {f"{n} of {thread}" for n in (0, 2) for thread in REJECTED}
    rejects = query(
        engine, "SELECT thread_id, payload, reason, times_seen FROM run_sync.rejects"
    )
    for thread, payload, reason, times_seen in rejects:
        assert payload == Payload(server.threads[thread]["bad"], None).readable()
        assert reason.startswith(REJECTED[thread][1])
        assert times_seen == 1
    bookmarks = query(engine, "SELECT thread_id, synced_through FROM run_sync.threads")
    assert dict(bookmarks) == {thread: f"2 of {thread}" for thread in REJECTED}


ODD: dict[str, bytes] = {
    "a number beyond bigint": text_with(1, max_prompt_tokens=2**63, new=10**400),
    "a duplicate key": text_of(1, b'"status":"failed","status":"expired"'),
    "texts where objects belong": text_with(
        1, usage="much", tools="none", truncation_strategy="auto", last_error="no"
    ),
    "numbers where texts belong": text_with(1, model=4, assistant_id=17, instructions=1),
    "objects where texts belong": text_with(1, model={}, instructions=[], tools={}),
    "nested 300 deep": text_of(1, b'"deep":' + b"[" * 300 + b"]" * 300),
    "every plane of Unicode": text_with(1, instructions="\u0001é\u2028\ufffe\U0001f600"),
}


def test_an_odd_payload_is_a_row_that_gives_it_back(
    server: RawThreads, syncer: Syncer
) -> None:
    for name, text in ODD.items():
        server.put(THREAD, name, text.replace(b"thread_1_run_1", name.encode()))

    report = syncer.sync()

    assert (report.outcome, report.rejects) == (Outcome.SUCCEEDED, 0)
    assert syncer.payloads() == comparable(server.payloads())


@pytest.mark.parametrize("is_whole", [True, False], ids=["whole", "cut off"])
def test_a_payload_of_50_megabytes_is_a_row_or_a_reject(
    engine: Engine,
    server: RawThreads,
    syncer: Syncer,
    is_whole: bool,  # noqa: FBT001  # parametrized
) -> None:
    text = text_with(1, metadata={"large": "x" * LARGE})
    server.fill(THREAD, 1)
    server.put(THREAD, "large", text if is_whole else text[:-2])
    server.put(THREAD, f"{THREAD}_run_2", a_run_of(THREAD, 2))

    report = syncer.sync()

    assert (report.outcome, report.runs_created) == (Outcome.SUCCEEDED, 2 + is_whole)
    assert report.rejects == 1 - is_whole
    sizes = (
        "SELECT length(metadata ->> 'large') FROM run_history.runs WHERE metadata ? 'large'"
    )
    kept = "SELECT length(payload) FROM run_sync.rejects"
    assert query(engine, sizes) == ([(LARGE,)] if is_whole else [])
    assert query(engine, kept) == ([] if is_whole else [(len(text) - 2,)])


def test_many_bad_payloads_on_a_page_are_told_apart(
    engine: Engine, server: RawThreads, syncer: Syncer
) -> None:
    good = [f"good beside {name}" for name in REJECTED]
    for run_id, (name, (text, _)) in zip(good, REJECTED.items(), strict=True):
        server.put(THREAD, run_id, a_run_of(THREAD, 1, id=run_id))
        server.put(THREAD, name, text)

    report = syncer.sync()

    assert report.outcome is Outcome.SUCCEEDED
    assert set(syncer.runs()) == set(good)
    told = dict(query(engine, "SELECT payload, reason FROM run_sync.rejects"))
    for text, reason in REJECTED.values():
        assert told[Payload(text, None).readable()].startswith(reason)
    assert len(told) == len(REJECTED)


def test_a_reject_that_comes_again_is_counted_and_nothing_is_doubled(
    engine: Engine, server: RawThreads, syncer: Syncer
) -> None:
    server.fill(THREAD, 1)
    server.put(THREAD, "bad", text_with(1, status=None))
    server.put(THREAD, "open", a_run_of(THREAD, 2, status="queued"))
    syncer.sync()

    again = syncer.sync()

    assert (again.outcome, again.runs_created) == (Outcome.SUCCEEDED, 0)
    assert len(syncer.runs()) == 2
    assert query(
        engine, "SELECT times_seen, last_seen_at > first_seen_at FROM run_sync.rejects"
    ) == [(2, True)]


# Replay


def learns(monkeypatch: pytest.MonkeyPatch, *unknown: str) -> None:
    """Let the program not understand runs of these ids, until `undo` upgrades it."""

    def flatten_less(payload: Payload, *, thread_id: ThreadId) -> Run | Reject:
        if payload.run_id in unknown:
            reason = RejectReason.NO_STATUS
            return Reject(thread_id, payload.run_id, payload.readable(), reason)
        return flatten(payload, thread_id=thread_id)

    monkeypatch.setattr(reading, "flatten", flatten_less)


def replayed(runtide: Runtide) -> Printed:
    return runtide("replay")


def test_after_an_upgrade_a_replay_lets_out_what_is_understood_now(
    engine: Engine,
    server: RawThreads,
    syncer: Syncer,
    runtide: Runtide,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    first, second = server.fill(THREAD, 2, novelty=[1])
    server.put(THREAD, "bad", text_with(3, status=None))
    with monkeypatch.context() as before_the_upgrade:
        learns(before_the_upgrade, second)
        syncer.sync()
    assert set(syncer.runs()) == {first}

    printed = replayed(runtide)

    assert printed == (
        0,
        (
            "2 rejects looked at; 1 now in the tables (1 created, 0 updated), 1 still in"
            " quarantine.\n"
        ),
        "",
    )
    assert syncer.payloads()[second] == comparable(server.payloads()[second])
    assert query(
        engine,
        "SELECT run_id, replayed_at > last_seen_at FROM run_sync.rejects ORDER BY run_id",
    ) == [(second, True), (f"{THREAD}_run_3", None)]
    assert query(engine, "SELECT runs_seen FROM run_sync.threads") == [(2,)]
    assert query(
        engine, "SELECT path, times_seen FROM run_sync.drift WHERE path = 'novelty'"
    ) == [("novelty", 2)]
    assert query(
        engine,
        "SELECT outcome, runs_created, runs_updated FROM run_sync.syncs"
        " WHERE trigger = 'replay' AND finished_at IS NOT NULL",
    ) == [("succeeded", 1, 0)]


def test_a_second_replay_changes_nothing(
    engine: Engine,
    server: RawThreads,
    syncer: Syncer,
    runtide: Runtide,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (run_id,) = server.fill(THREAD, 1)
    with monkeypatch.context() as before_the_upgrade:
        learns(before_the_upgrade, run_id)
        syncer.sync()
    replayed(runtide)
    history = "SELECT r::text FROM run_history.runs r"
    rows, rejects = query(engine, history), query(engine, "SELECT * FROM run_sync.rejects")

    again = replayed(runtide)

    assert again.out == (
        "0 rejects looked at; 0 now in the tables (0 created, 0 updated),"
        " 0 still in quarantine.\n"
    )
    assert query(engine, history) == rows
    assert query(engine, "SELECT * FROM run_sync.rejects") == rejects


def test_an_older_reject_never_overwrites_what_was_read_later(
    server: RawThreads,
    syncer: Syncer,
    runtide: Runtide,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (run_id,) = server.fill(THREAD, 1, metadata={"is": "old"})
    with monkeypatch.context() as before_the_upgrade:
        learns(before_the_upgrade, run_id)
        syncer.sync()
    server.change(THREAD, run_id, metadata={"is": "new"})
    assert runtide("backfill", "--quiet").code == 0

    replayed(runtide)

    assert syncer.payloads()[run_id]["metadata"] == {"is": "new"}


def test_not_even_where_the_later_reading_changed_nothing(
    server: RawThreads,
    syncer: Syncer,
    runtide: Runtide,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Read, then not understood for a while, then read as it was at first."""
    (run_id,) = server.fill(THREAD, 1, metadata={"is": "right"})
    syncer.sync()
    server.change(THREAD, run_id, metadata={"is": "wrong"})
    with monkeypatch.context() as before_the_upgrade:
        learns(before_the_upgrade, run_id)
        runtide("backfill", "--quiet")
    server.change(THREAD, run_id, metadata={"is": "right"})
    runtide("backfill", "--quiet")

    printed = replayed(runtide)

    assert printed.out.startswith("0 rejects looked at")
    assert syncer.payloads()[run_id]["metadata"] == {"is": "right"}


def test_a_payload_that_is_rejected_once_more_waits_once_more(
    engine: Engine,
    server: RawThreads,
    syncer: Syncer,
    runtide: Runtide,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (run_id,) = server.fill(THREAD, 1)
    with monkeypatch.context() as before_the_upgrade:
        learns(before_the_upgrade, run_id)
        syncer.sync()
        replayed(runtide)
        runtide("backfill", "--quiet")

    assert query(
        engine, "SELECT times_seen, replayed_at IS NULL FROM run_sync.rejects"
    ) == [(2, True)]


def test_a_replay_of_one_source_leaves_the_others_alone(
    engine: Engine, server: RawThreads, syncer: Syncer, runtide: Runtide, base_url: str
) -> None:
    other = Syncer(engine, base_url, name="other")
    other.track([THREAD])
    server.put(THREAD, "bad", text_with(1, status=None))
    syncer.sync()
    other.sync()

    printed = runtide("replay", "--source", "demo")

    assert printed.out.startswith("1 reject looked at; 0 now in")
    assert runtide("replay", "--source", "nobody").code == 2


def test_what_the_database_refuses_stays_in_quarantine_with_its_text(
    engine: Engine, server: RawThreads, syncer: Syncer, runtide: Runtide
) -> None:
    text, _ = REJECTED["an id too long for an index"]
    server.put(THREAD, "bad", text)
    syncer.sync()
    execute(engine, "UPDATE run_sync.rejects SET reason = 'something older'")

    printed = replayed(runtide)

    assert printed.out == (
        "1 reject looked at; 0 now in the tables (0 created, 0 updated),"
        " 1 still in quarantine.\n"
    )
    assert query(engine, "SELECT payload, replayed_at FROM run_sync.rejects") == [
        (text.decode(), None)
    ]
    told = json.loads(runtide("status", "--json").out)
    assert [each["rejects"] for each in told["rejects"]] == [1]
    assert [(each["trigger"], each["rejects"]) for each in told["syncs"]] == [
        ("replay", 0),
        ("sync", 1),
    ]
    assert told["runs"]["rejects"] == 1
