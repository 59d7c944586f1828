"""`--log-format` and `--log-level`: what a log says of a sync, and what it never says."""

import json
from collections.abc import Iterator

import pytest

from tests.e2e.conftest import Command
from tests.e2e.log_lines import in_json, in_text, normalised
from tests.e2e.test_sync_command import on_a_terminal
from tests.integration.raw_serving import Answer, Request, an_answer
from tests.integration.raw_threads import RawThreads

FIGURES_OF_ONE = (
    "threads_due=1 threads_left=0 threads=1 threads_refused=0 threads_failed=0"
    " threads_found=0 pages=1 requests=1 retries=0 runs_read=2 runs_created=2"
    " runs_updated=0 runs_unchanged=0 rejects=0"
)


@pytest.fixture
def server() -> RawThreads:
    """A server of one thread with two runs."""
    server = RawThreads()
    server.fill("thread_a", 2)
    return server


@pytest.fixture
def command(runtide: Command, server: RawThreads) -> Iterator[Command]:
    """The command, configured for the server, with its thread tracked."""
    with server.listening() as base_url:
        runtide.configure(base_url)
        assert runtide("track", "thread_a").code == 0
        yield runtide


def test_a_sync_is_three_lines_of_text(command: Command) -> None:
    answer = command("--log-format", "text", "sync", "--quiet")

    assert (answer.code, answer.out) == (0, "")
    assert normalised(answer.err) == [
        in_text("INFO", "sync began", "sync_id=1 trigger=sync"),
        in_text(
            "INFO",
            "pass ended",
            "sync_id=1 source=demo thread_id=thread_a pages=1 runs=2 rejects=0 seconds=S",
        ),
        in_text(
            "INFO",
            "sync ended",
            f"sync_id=1 trigger=sync outcome=succeeded {FIGURES_OF_ONE} seconds=S errors=0",
        ),
    ]


def test_a_sync_is_three_lines_of_json_and_a_batch_one_where_debug_asks(
    command: Command,
) -> None:
    answer = command("sync", "--quiet", "--log-format=json", "--log-level", "debug")

    figures = FIGURES_OF_ONE.replace("=", '": ').replace(" ", ', "').replace(':, "', ": ")
    assert normalised(answer.err) == [
        in_json(
            "info",
            "etl.wiring.journal",
            "sync began",
            '"sync_id": 1, "trigger": "sync"',
        ),
        in_json(
            "info",
            "etl.sync.pass_line",
            "pass ended",
            '"sync_id": 1, "source": "demo", "thread_id": "thread_a", "pages": 1,'
            ' "runs": 2, "rejects": 0, "seconds": S',
        ),
        in_json(
            "debug",
            "etl.sync.sync",
            "batch committed",
            '"sync_id": 1, "pages": 1, "runs_created": 2, "runs_updated": 0,'
            ' "runs_unchanged": 0, "rejects": 0, "seconds": S',
        ),
        in_json(
            "info",
            "etl.wiring.journal",
            "sync ended",
            '"sync_id": 1, "trigger": "sync", "outcome": "succeeded",'
            f' "{figures}, "seconds": S, "errors": 0',
        ),
    ]


def test_a_command_keeps_no_log_unless_it_is_asked_for(command: Command) -> None:
    assert command("sync", "--quiet").err == ""
    assert command("sync", "--quiet", RUNTIDE_LOG_FORMAT="").err == ""
    assert command("sync", "--log-format", "off", "--log-level", "debug").err == ""


def test_the_environment_asks_and_the_option_has_the_last_word(command: Command) -> None:
    quiet = {"RUNTIDE_LOG_FORMAT": "json", "RUNTIDE_LOG_LEVEL": "error"}

    assert len(command("sync", "--quiet", RUNTIDE_LOG_FORMAT="json").err.splitlines()) == 3
    assert command("sync", "--quiet", **quiet).err == ""
    assert command("sync", "--quiet", "--log-level", "info", **quiet).err.startswith("{")
    assert command("sync", "--quiet", "--log-format", "off", **quiet).err == ""


def test_a_backfill_names_itself(command: Command) -> None:
    answer = command("backfill", "--thread", "thread_a", "--quiet", "--log-level", "info")

    told = [json.loads(line) for line in answer.err.splitlines()]
    assert [line.get("trigger") for line in told] == [
        "backfill of thread thread_a",
        None,
        "backfill of thread thread_a",
    ]


def test_a_format_that_is_none_is_told_in_one_sentence(command: Command) -> None:
    answer = command("sync", "--log-format", "xml")

    assert (answer.code, answer.out) == (2, "")
    assert answer.err == (
        "runtide: The log format (--log-format, RUNTIDE_LOG_FORMAT) is 'xml'; write text,"
        " json, auto or off.\n"
    )


def test_at_a_terminal_logs_are_text_and_the_progress_bar_stays_away(
    command: Command,
) -> None:
    written = on_a_terminal(command, "sync", "--log-format", "auto")

    lines = normalised(written.replace("\r\n", "\n"))
    assert "requests left this minute" not in written
    assert "\x1b[2K" not in written
    assert [line[:29].rstrip() for line in lines if line.startswith("TIME")] == [
        "TIME  INFO     sync began",
        "TIME  INFO     pass ended",
        "TIME  INFO     sync ended",
    ]


def test_a_failed_attempt_a_failed_pass_and_a_partial_sync_are_warnings(
    command: Command, server: RawThreads
) -> None:
    command("track", "thread_b")
    fails = iter([True])

    def interrupt(request: Request) -> Answer | None:
        if request.thread_id == "thread_b":
            body = {"error": {"message": "No such\nthing."}}
            return an_answer(body, status=400, x_request_id="req_b")
        if next(fails, False):
            return an_answer(b"Busy.", status=503, retry_after_ms="1", x_request_id="req_1")
        return None

    server.interrupt = interrupt
    answer = command("sync", "--quiet", "--log-format", "text", "--log-level", "warning")

    refused = "the server refuses the request: HTTP 400 No such thing. (request id req_b)"
    assert answer.code == 3
    assert sorted(normalised(answer.err)) == sorted(
        [
            in_text(
                "WARNING",
                "attempt failed",
                "source=demo path=threads/thread_a/runs attempt=1 wait_seconds=S"
                ' error="the server failed: HTTP 503 Busy. (request id req_1)"'
                " request_id=req_1",
            ),
            in_text(
                "WARNING",
                "pass failed",
                "sync_id=1 source=demo thread_id=thread_b pages=0 runs=0 rejects=0"
                f' seconds=S error="{refused}" request_id=req_b',
            ),
            in_text(
                "WARNING",
                "sync ended",
                "sync_id=1 trigger=sync outcome=partial threads_due=2 threads_left=0"
                " threads=2 threads_refused=0 threads_failed=1 threads_found=0 pages=1"
                " requests=3 retries=1 runs_read=2 runs_created=2 runs_updated=0"
                " runs_unchanged=0 rejects=0 seconds=S"
                " errors=1"
                f' error="demo, thread thread_b: {refused}"',
            ),
            f"runtide: demo, thread thread_b: {refused}",
        ]
    )


def test_an_unavailable_source_is_one_warning_and_the_failed_sync_an_error(
    command: Command, server: RawThreads
) -> None:
    command("track", "thread_b", "thread_c")
    server.interrupt = lambda _: an_answer(b"Who?", status=401, x_request_id="req_1")

    answer = command("sync", "--quiet", "--log-format", "text", "--log-level", "warning")

    refused = (
        "the server refuses the API key: HTTP 401 Who? (request id req_1); check the"
        " variable that api_key_env names"
    )
    assert answer.code == 1
    first, second, third = normalised(answer.err)
    assert first == in_text(
        "WARNING",
        "source unavailable",
        f'sync_id=1 source=demo error="{refused}" request_id=req_1',
    )
    assert second.startswith("TIME  ERROR    sync ended          sync_id=1 trigger=sync")
    assert second.endswith(f'errors=1 error="demo: {refused}"')
    assert third == f"runtide: demo: {refused}"


def test_threads_that_are_all_unknown_make_the_source_unavailable(
    command: Command, server: RawThreads
) -> None:
    command("untrack", "thread_a")
    command("track", "thread_b", "thread_c")

    answer = command("sync", "--quiet", "--log-level", "info")

    told = [json.loads(line) for line in answer.err.splitlines() if line.startswith("{")]
    assert [(line["level"], line["message"]) for line in told] == [
        ("info", "sync began"),
        ("warning", "pass failed"),
        ("warning", "pass failed"),
        ("warning", "source unavailable"),
        ("error", "sync ended"),
    ]
    assert told[1]["request_id"] == "req_of_test"
