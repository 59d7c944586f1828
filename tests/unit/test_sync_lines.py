"""What a sync tells its log: one line a pass, whatever becomes of it."""

import logging
import threading
from collections.abc import Iterator
from dataclasses import replace

import pytest

from etl.domain.errors import ConfigError, RefusedError, SourceUnavailableError
from etl.domain.outcome import Failure, Outcome, SyncReport
from etl.domain.run import ThreadId
from etl.sync.tally import OVERTAKEN
from etl.wiring.journal import journaled
from tests.unit.builders import SOURCE, a_page, a_payload, a_thread
from tests.unit.test_request_ids import fields
from tests.unit.test_sync import (
    MISSING,
    EndlessSource,
    Memory,
    Onlooker,
    ScriptedSource,
    a_source,
    one_run,
    synced,
)

Line = tuple[str, str, dict[str, object]]
"""Level, message and facts."""


@pytest.fixture(autouse=True)
def _told(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    with caplog.at_level(logging.DEBUG, "etl"):
        yield


def lines(caplog: pytest.LogCaptureFixture) -> list[Line]:
    """What was told, but for the seconds, in which no two syncs agree."""
    told = []
    for record in caplog.records:
        facts = fields(record)
        assert 0 <= float(str(facts.pop("seconds", 0))) < 60
        told.append((record.levelname, record.message, facts))
    return told


def a_pass(thread_id: str, **more: object) -> dict[str, object]:
    about = {"sync_id": 1, "source": "openai", "thread_id": thread_id}
    return about | {"pages": 0, "runs": 0, "rejects": 0} | more


def test_every_pass_and_every_batch_is_a_line(caplog: pytest.LogCaptureFixture) -> None:
    page = a_page(a_payload("run_1"), a_payload("run_2", status=None))

    synced(a_source({"thread_1": [page]}))

    assert sorted(lines(caplog), key=lambda line: line[1]) == [
        (
            "DEBUG",
            "batch committed",
            {
                "sync_id": 1,
                "pages": 1,
                "runs_created": 1,
                "runs_updated": 0,
                "runs_unchanged": 0,
                "rejects": 1,
            },
        ),
        ("INFO", "pass ended", a_pass("thread_1", pages=1, runs=1, rejects=1)),
    ]


def test_a_pass_that_fails_tells_why_and_what_it_had_read(
    caplog: pytest.LogCaptureFixture,
) -> None:
    error = RefusedError("no\nmore")
    error.request_id = "req_1"

    synced(a_source({"thread_1": [one_run(has_more=True), error]}))

    why = {"error": "no\N{REPLACEMENT CHARACTER}more", "request_id": "req_1"}
    expected = a_pass("thread_1", pages=1, runs=1) | why
    assert ("WARNING", "pass failed", expected) in lines(caplog)


def test_the_request_of_an_error_behind_the_error_is_named(
    caplog: pytest.LogCaptureFixture,
) -> None:
    cause, error = RefusedError("no"), RefusedError("no cursor")
    cause.request_id, error.__cause__ = "req_1", cause

    synced(a_source({"thread_1": [error]}))

    assert lines(caplog)[0][2]["request_id"] == "req_1"


def test_a_thread_that_is_missing_is_a_warning_and_one_that_was_gone_is_not(
    caplog: pytest.LogCaptureFixture,
) -> None:
    threads = [a_thread("thread_1"), replace(a_thread("thread_2"), is_gone=True)]
    scripts = {"thread_1": [MISSING], "thread_2": [MISSING]}

    synced(a_source(ScriptedSource(scripts), threads=threads))

    told = {facts.get("thread_id"): level for level, _, facts in lines(caplog)}
    assert (told["thread_1"], told["thread_2"]) == ("WARNING", "INFO")


def test_a_source_that_is_unavailable_is_one_line_however_many_workers_find_out(
    caplog: pytest.LogCaptureFixture,
) -> None:
    scripts = {f"thread_{n}": [SourceUnavailableError("no key")] for n in range(40)}

    synced(a_source(scripts, workers=8))

    why = {"error": "no key", "request_id": None}
    assert lines(caplog) == [
        ("WARNING", "source unavailable", {"sync_id": 1, "source": "openai"} | why)
    ]


def test_a_source_that_knows_no_thread_is_unavailable(
    caplog: pytest.LogCaptureFixture,
) -> None:
    report = synced(a_source({f"thread_{n}": [MISSING] for n in range(3)}))

    verdict = {"error": report.errors[0].message}
    assert lines(caplog)[-1] == (
        "WARNING",
        "source unavailable",
        {"sync_id": 1, "source": "openai"} | verdict,
    )


def test_a_pass_that_was_overtaken_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    store = Memory(overtaken=frozenset({(SOURCE, ThreadId("thread_1"))}))

    synced(a_source({"thread_1": [one_run(has_more=True), one_run("run_2")]}), store=store)

    about = {"sync_id": 1, "source": "openai", "thread_id": "thread_1"}
    told = [line for line in lines(caplog) if line[1] == "pass overtaken"]
    assert told == [("WARNING", "pass overtaken", about | {"error": OVERTAKEN})]


def test_a_pass_that_is_stopped_says_so(caplog: pytest.LogCaptureFixture) -> None:
    stop = threading.Event()
    watcher = Onlooker(then=lambda report: stop.set() if report.pages else None)

    synced(a_source(EndlessSource(), "thread_1"), watcher=watcher, stop=stop)

    told = [(level, message) for level, message, _ in lines(caplog)]
    assert ("INFO", "pass stopped") in told
    assert not any(message == "pass ended" for _, message in told)


# The sync itself ---------------------------------------------------------------------


def a_report(outcome: Outcome, *errors: Failure) -> SyncReport:
    return SyncReport(sync_id=7, outcome=outcome, threads=3, errors=list(errors))


@pytest.mark.parametrize(
    ("outcome", "level"),
    [
        (Outcome.SUCCEEDED, "INFO"),
        (Outcome.PARTIAL, "WARNING"),
        (Outcome.INTERRUPTED, "WARNING"),
        (Outcome.FAILED, "ERROR"),
    ],
)
def test_how_a_sync_ended_is_told_as_loud_as_it_is_bad(
    caplog: pytest.LogCaptureFixture, outcome: Outcome, level: str
) -> None:
    failures = [
        Failure(source="openai", thread="thread_1", message="no"),
        Failure(source="openai", thread=None, message="never"),
    ]
    with journaled(a_report(outcome, *failures), trigger="sync"):
        pass

    about = {"sync_id": 7, "trigger": "sync"}
    assert lines(caplog) == [
        ("INFO", "sync began", about),
        (
            level,
            "sync ended",
            about
            | {
                "outcome": outcome.value,
                "threads_due": None,
                "threads_left": 0,
                "threads": 3,
                "threads_refused": 0,
                "threads_failed": 0,
                "threads_found": 0,
                "pages": 0,
                "requests": 0,
                "retries": 0,
                "runs_read": 0,
                "runs_created": 0,
                "runs_updated": 0,
                "runs_unchanged": 0,
                "rejects": 0,
                "held": None,
                "errors": 2,
                "error": "openai, thread thread_1: no",
            },
        ),
    ]


def test_an_error_that_ends_a_sync_is_told_with_it(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with (
        pytest.raises(ConfigError),
        journaled(a_report(Outcome.FAILED), trigger="sync"),
    ):
        raise ConfigError("The file is wrong.")

    level, message, facts = lines(caplog)[-1]
    assert (level, message, facts["error"]) == ("ERROR", "sync ended", "The file is wrong.")


def test_of_a_defect_only_the_kind_is_told_for_it_may_quote_anything(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with (
        pytest.raises(KeyError),
        journaled(a_report(Outcome.FAILED), trigger="sync"),
    ):
        raise KeyError("what a user wrote")

    assert lines(caplog)[-1][2]["error"] == "KeyError"


def test_a_second_interrupt_ends_the_sync_as_interrupted(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with (
        pytest.raises(KeyboardInterrupt),
        journaled(a_report(Outcome.FAILED), trigger="sync"),
    ):
        raise KeyboardInterrupt

    level, _, facts = lines(caplog)[-1]
    assert (level, facts["outcome"]) == ("WARNING", "interrupted")
