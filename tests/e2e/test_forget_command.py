"""`runtide forget` at a terminal: it asks before anything goes."""

import os
import pty
import subprocess
import sys

import pytest
from sqlalchemy.engine import Engine

from etl.demo.server import DemoServer
from etl.load.database import opened
from tests.e2e.conftest import Command
from tests.integration.builders import query


def at_a_terminal(command: Command, *arguments: str, typed: str) -> tuple[int, str]:
    """Run the command with a terminal to type at; answer its code and what it printed."""
    ours, theirs = pty.openpty()
    try:
        os.write(ours, typed.encode())
        done = subprocess.run(
            [sys.executable, "-m", "etl", *arguments],
            cwd=command.directory,
            env=command.full_environment(),
            stdin=theirs,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
    finally:
        os.close(ours)
        os.close(theirs)
    assert done.stderr == ""
    return done.returncode, done.stdout


@pytest.fixture
def synced(ready: Command) -> Command:
    assert ready("sync", "--quiet").code in {0, 3}
    return ready


def runs_of(engine: Engine, thread_id: str) -> int:
    statement = "SELECT count(*) FROM run_history.runs WHERE thread_id = :thread_id"
    [(number,)] = query(engine, statement, thread_id=thread_id)
    return int(number)


def test_it_tells_what_would_go_and_erases_it_after_a_yes(
    synced: Command, api: DemoServer, database_url: str
) -> None:
    thread_id, *others = api.thread_ids
    with opened(database_url) as engine:
        number = runs_of(engine, thread_id)
        rest = {each: runs_of(engine, each) for each in others}
        asked = (
            f"Erase thread {thread_id} from all sources, with {number} runs and 0 rejects?"
            " This cannot be undone. [y/N]: "
        )

        code, out = at_a_terminal(synced, "forget", "--thread", thread_id, typed="n\n")
        assert (code, out) == (1, f"{asked}Nothing was erased.\n")
        assert runs_of(engine, thread_id) == number > 1

        code, out = at_a_terminal(synced, "forget", "--thread", thread_id, typed="y\n")
        assert code == 0
        assert out.startswith(
            f"{asked}Thread {thread_id} is forgotten: {number} runs, 0 rejects, "
        )
        assert runs_of(engine, thread_id) == 0
        assert {each: runs_of(engine, each) for each in others} == rest


def test_the_nightly_sync_goes_on_without_it(synced: Command, api: DemoServer) -> None:
    thread_id, *others = api.thread_ids
    synced("forget", "--thread", thread_id, "--yes")

    again = synced("track", *api.thread_ids)
    assert again.out == (
        f"0 new threads tracked, {len(others)} tracked already. 1 forgotten thread stays"
        " out; --forgotten tracks it all the same.\n"
    )
    assert synced("sync", "--quiet").code == 0
    assert thread_id not in synced("threads").out
    assert synced("verify").code == 0
