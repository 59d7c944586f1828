"""Several sources in one sync: each by itself, and one that fails holds no other."""

import re
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest
from sqlalchemy.engine import Engine

from etl.demo.listener import Reply
from tests.e2e.conftest import Command
from tests.integration.builders import a_payload, query
from tests.integration.serving import RunsServer, listening

KEYS = {"first": "sk-first-0123456789", "second": "sk-second-0123456789"}
CONFIG = """
[[sources]]
name = "{name}"
base_url = "{base_url}"
api_key_env = "{variable}"
requests_per_minute = {budget}
trusted = {trusted}
"""
DISCOVERY = """
[sources.discovery]
sql = "SELECT thread_id FROM chats"
url_env = "CHATS_URL"
timeout = "{timeout}"
"""
Respond = Callable[[str, str, str | None], Reply]


class Recorded:
    """A server that notes which key each request carried."""

    def __init__(self, respond: Respond) -> None:
        self._respond = respond
        self.keys: list[str | None] = []

    def __call__(self, line: str, target: str, authorization: str | None) -> Reply:
        self.keys.append(authorization)
        return self._respond(line, target, authorization)


def a_server(*thread_ids: str) -> Recorded:
    runs = [a_payload(f"run_{each}", thread_id=each) for each in thread_ids]
    return Recorded(RunsServer(runs)._reply)


@pytest.fixture
def command(tmp_path: Path, database_url: str) -> Command:
    variables = {f"KEY_{name.upper()}": key for name, key in KEYS.items()}
    return Command(tmp_path, {"RUNTIDE_DATABASE_URL": database_url, **variables})


@pytest.fixture
def parts() -> Iterator[ExitStack]:
    with ExitStack() as parts:
        yield parts


def configure(
    command: Command, first: str, second: str, *, discovery: str = "", budget: int = 600_000
) -> None:
    text = CONFIG.format(
        name="first",
        base_url=first,
        variable="KEY_FIRST",
        budget=budget,
        trusted="false",
    )
    text += discovery + CONFIG.format(
        name="second",
        base_url=second,
        variable="KEY_SECOND",
        budget=600_000,
        trusted="true",
    )
    (command.directory / "config.toml").write_text(text)


def read_of(engine: Engine, name: str) -> list[str]:
    rows = query(
        engine,
        "SELECT thread_id FROM run_history.runs JOIN run_sync.sources USING (source_id)"
        " WHERE name = :name ORDER BY thread_id",
        name=name,
    )
    return [thread_id for (thread_id,) in rows]


def bearer(name: str) -> set[str]:
    return {f"Bearer {KEYS[name]}"}


def test_each_source_is_asked_with_its_own_key_and_read_with_its_own_trust(
    command: Command, engine: Engine, parts: ExitStack
) -> None:
    first, second = a_server("thread_a"), a_server("thread_a", "thread_b")
    configure(
        command,
        parts.enter_context(listening(first)),
        parts.enter_context(listening(second)),
    )
    command("track", "--source", "first", "thread_a")
    command("track", "--source", "second", "thread_a", "thread_b")

    answer = command("sync", "--quiet")

    assert (answer.code, answer.err) == (0, "")
    assert (read_of(engine, "first"), read_of(engine, "second")) == (
        ["thread_a"],
        ["thread_a", "thread_b"],
    )
    assert set(first.keys) == bearer("first")
    assert set(second.keys) == bearer("second")
    assert len(first.keys) == 2  # not believed: the last page is asked once more
    assert len(second.keys) == 2


def test_a_source_that_refuses_its_key_leaves_the_other_complete(
    command: Command, engine: Engine, parts: ExitStack
) -> None:
    refusing = Recorded(lambda *_: Reply(401, {"error": {"message": "Who are you?"}}))
    first = parts.enter_context(listening(refusing))
    second = parts.enter_context(listening(a_server("thread_a", "thread_b")))
    configure(command, first, second)
    command("track", "--source", "first", "thread_a", "thread_b")
    command("track", "--source", "second", "thread_a", "thread_b")

    answer = command("sync", "--quiet")

    assert (answer.code, re.sub(r" \(request id \w+\)", "", answer.err)) == (
        3,
        (
            "runtide: first: the server refuses the API key: HTTP 401 Who are you?; check"
            " the variable that api_key_env names\n"
        ),
    )
    assert (read_of(engine, "first"), read_of(engine, "second")) == (
        [],
        ["thread_a", "thread_b"],
    )
    assert query(engine, "SELECT outcome FROM run_sync.syncs") == [("partial",)]


def test_a_source_that_waits_for_its_server_does_not_delay_the_other(
    command: Command, engine: Engine, parts: ExitStack
) -> None:
    """The first server answers no request before the second source is read."""
    others = a_server("thread_b")
    is_read = threading.Event()

    def noting(line: str, target: str, authorization: str | None) -> Reply:
        is_read.set()
        return others(line, target, authorization)

    first = a_server("thread_a")

    def waiting(line: str, target: str, authorization: str | None) -> Reply:
        assert is_read.wait(60)
        return first(line, target, authorization)

    configure(
        command,
        parts.enter_context(listening(waiting)),
        parts.enter_context(listening(noting)),
        budget=600,
    )
    command("track", "--source", "first", "thread_a")
    command("track", "--source", "second", "thread_b")

    answer = command("sync", "--quiet")

    assert (answer.code, answer.err) == (0, "")
    assert read_of(engine, "first") == ["thread_a"]
    assert read_of(engine, "second") == ["thread_b"]


def test_new_threads_are_named_and_a_discovery_that_fails_makes_the_sync_partial(
    command: Command, engine: Engine, parts: ExitStack
) -> None:
    first = parts.enter_context(listening(a_server("thread_a")))
    second = parts.enter_context(listening(a_server("thread_b")))
    configure(command, first, second, discovery=DISCOVERY.format(timeout="60s"))
    command("track", "--source", "second", "thread_b")
    path = command.directory / "chats.db"
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("CREATE TABLE chats AS SELECT 'thread_a' AS thread_id")
    url = f"sqlite:///{path}"

    found = command("sync", CHATS_URL=url)
    missing = command("sync", "--quiet")

    assert (found.code, found.err) == (0, "")
    assert found.out.endswith("1 new thread found.\n")
    assert read_of(engine, "first") == ["thread_a"]
    assert (missing.code, missing.err) == (
        3,
        (
            "runtide: first: new threads were not discovered: the environment variable"
            " CHATS_URL, which holds the URL of the database that knows the threads of"
            " source 'first', is not set; set it\n"
        ),
    )
    assert query(
        engine, "SELECT outcome, threads FROM run_sync.syncs ORDER BY sync_id"
    ) == [
        ("succeeded", 2),
        ("partial", 2),
    ]
