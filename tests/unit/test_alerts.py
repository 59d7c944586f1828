"""Who is told of what: commands and webhooks, with patience, and without secrets."""

import json
import logging
import socket
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread as Worker
from typing import Any

import pytest

from etl.config import AlertConfig, Config, Event, Settings
from etl.domain.errors import ConfigError
from etl.operations.alerts import ATTEMPTS, Alerts, alerts_of
from etl.operations.incidents import Notice

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
NOTICE = Notice(event="failed", sentence="Sync 7 failed.", at=NOON, since=NOON)
MESSAGE = {
    "text": f"runtide on {socket.gethostname()}: Sync 7 failed.",
    "event": "failed",
    "sentence": "Sync 7 failed.",
    "at": "2026-11-22T12:00:00+00:00",
    "since": "2026-11-22T12:00:00+00:00",
}


@pytest.fixture
def slept() -> list[float]:
    """The waits between attempts; nobody really waits."""
    return []


def an_alert(settings: Config, slept: list[float], **environment: str) -> Alerts:
    return alerts_of(
        Settings(path=Path("config.toml"), config=settings, environment=environment),
        sleep=slept.append,
    )


def to_command(*command: str, on: tuple[Event, ...] = ("failed",)) -> Config:
    return Config(alerts=(AlertConfig(on=on, command=command),))


TO_WEBHOOK = Config(alerts=(AlertConfig(url_env="HOOK"),))


@contextmanager
def a_webhook(*statuses: int) -> Iterator[tuple[str, list[Any]]]:
    """A server that answers with these statuses; lends its URL and what it was sent."""
    left, received = list(statuses), []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            length = int(self.headers["Content-Length"])
            received.append(json.loads(self.rfile.read(length)))
            self.send_response(left.pop(0))
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    worker = Worker(target=server.serve_forever, daemon=True)
    worker.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/T0/secret", received
    finally:
        server.shutdown()
        server.server_close()
        worker.join()


def test_a_command_gets_the_message_and_its_sentence(
    tmp_path: Path, slept: list[float]
) -> None:
    written = tmp_path / "written"
    program = (
        "import os, sys, pathlib;"
        f"pathlib.Path({str(written)!r}).write_text("
        "os.environ['RUNTIDE_EVENT'] + os.environ['RUNTIDE_SENTENCE'] + sys.stdin.read())"
    )

    an_alert(to_command(sys.executable, "-c", program), slept).send(NOTICE)

    assert written.read_text() == "failedSync 7 failed." + json.dumps(MESSAGE)
    assert slept == []


def test_only_the_events_that_are_wanted_are_told(
    tmp_path: Path, slept: list[float]
) -> None:
    touched = tmp_path / "touched"

    alerts = an_alert(to_command("touch", str(touched), on=("overdue",)), slept)
    alerts.send(NOTICE)

    assert not touched.exists()


def test_a_webhook_is_posted_the_message(slept: list[float]) -> None:
    with a_webhook(204) as (url, received):
        an_alert(TO_WEBHOOK, slept, HOOK=url).send(NOTICE)

    assert received == [MESSAGE]


def test_a_webhook_that_fails_is_tried_again(slept: list[float]) -> None:
    with a_webhook(500, 503, 200) as (url, received):
        an_alert(TO_WEBHOOK, slept, HOOK=url).send(NOTICE)

    assert received == [MESSAGE] * 3
    assert slept == [1, 2]


def test_patience_ends_and_the_log_says_so_without_the_secret_address(
    slept: list[float], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="etl")
    with a_webhook(*[500] * ATTEMPTS) as (url, _):
        an_alert(TO_WEBHOOK, slept, HOOK=url).send(NOTICE)

    assert facts_of(caplog) == {
        "message": "alert not delivered",
        "recipient": "webhook of HOOK",
        "event": "failed",
        "error": "HTTP 500",
    }
    assert len(slept) == ATTEMPTS - 1
    assert "secret" not in caplog.text


def test_what_a_command_prints_disturbs_nobody(
    slept: list[float], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="etl")
    noisy = to_command("sh", "-c", r"printf 'gr\374\337e'; printf '\377' >&2")

    an_alert(noisy, slept).send(NOTICE)

    assert [record.message for record in caplog.records] == ["alert delivered"]


@pytest.mark.parametrize(
    ("command", "error"),
    [
        (("false",), "it ended with exit code 1"),
        (("/no/such/program",), "it cannot be run: No such file or directory"),
    ],
)
def test_a_command_that_fails_is_told_in_the_log(
    command: tuple[str, ...],
    error: str,
    slept: list[float],
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, logger="etl")
    an_alert(to_command(*command), slept).send(NOTICE)

    facts = facts_of(caplog)
    assert (facts["recipient"], facts["error"]) == (command[0], error)


def test_one_recipient_that_fails_does_not_keep_it_from_the_others(
    slept: list[float],
) -> None:
    with a_webhook(200) as (url, received):
        both = Config(alerts=(AlertConfig(command=("false",)), *TO_WEBHOOK.alerts))
        an_alert(both, slept, HOOK=url).send(NOTICE)

    assert received == [MESSAGE]


@pytest.mark.parametrize("value", ["", "hooks.example.com/T0"])
def test_a_webhook_without_its_address_is_refused_before_a_sync(value: str) -> None:
    with pytest.raises(ConfigError) as caught:
        an_alert(TO_WEBHOOK, [], HOOK=value)

    assert str(caught.value) == (
        "The environment variable HOOK, which holds the URL that alerts are posted to,"
        " is not set to one that begins with https:// or http://; set it."
    )


def facts_of(caplog: pytest.LogCaptureFixture) -> Mapping[str, Any]:
    """The fields of the only line of the log."""
    [record] = caplog.records
    names = ("message", "recipient", "event", "error")
    return {name: record.__dict__[name] for name in names}
