"""Fixtures: the real command in a directory of its own, and a real API beside it."""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import redirect_stdout
from dataclasses import dataclass, field
from io import StringIO
from pathlib import Path
from unittest.mock import patch

import pytest
from sqlalchemy.engine import URL, Engine

from etl.cli.entry import run
from etl.demo.server import DemoServer
from etl.demo.world import World
from tests.conftest import _database
from tests.e2e.page_fixtures import browser, report_page, reported, shared

__all__ = ["browser", "report_page", "reported", "shared"]

KEY = "sk-test-0123456789abcdef"

BLOCKED = """\
import importlib.util
import sys

found = importlib.util.find_spec
importlib.util.find_spec = lambda name, *_: None if name == "altair" else found(name, *_)
sys.modules["altair"] = None
"""

CONFIG = """\
[[sources]]
name = "demo"
base_url = "{base_url}"
api_key_env = "DEMO_KEY"
requests_per_minute = 600000
"""


@dataclass
class Answer:
    """What the command left behind."""

    code: int
    out: str
    err: str


@dataclass
class Command:
    """`runtide` in one directory, with an environment of its own."""

    directory: Path
    environment: dict[str, str] = field(default_factory=dict)

    def __call__(self, *arguments: str, stdin: str = "", **variables: str) -> Answer:
        done = subprocess.run(
            [sys.executable, "-m", "etl", *arguments],
            cwd=self.directory,
            env=self.full_environment(**variables),
            input=stdin,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        return Answer(done.returncode, done.stdout, done.stderr)

    def tracks(self, *thread_ids: str) -> None:
        """Track threads in this process, which is quicker than to start a command."""
        place = ["--config", str(self.directory / "config.toml")]
        with patch.dict(os.environ, self.environment), redirect_stdout(StringIO()):
            assert run(["track", *thread_ids, *place]) == 0

    def full_environment(self, **variables: str) -> dict[str, str]:
        """The environment of the command: nothing of ours that would change it."""
        kept = {"PATH": os.environ["PATH"], "HOME": str(self.directory), "COLUMNS": "200"}
        return kept | self.environment | variables

    def configure(self, base_url: str, more: str = "") -> None:
        """Write the configuration for a server."""
        text = CONFIG.format(base_url=base_url) + more
        (self.directory / "config.toml").write_text(text)


@pytest.fixture
def world() -> World:
    """A small world, some of its runs still open."""
    return World(threads=12, runs=80)


@pytest.fixture
def api(world: World) -> Iterator[DemoServer]:
    """The world's server; it wants the key."""
    with DemoServer(world, now=world.now, api_key=KEY) as server:
        yield server


@pytest.fixture
def second_database_url(admin: Engine, server_url: URL, template: str) -> Iterator[str]:
    """The URL of one more database with the newest schema and no rows."""
    yield from _database(admin, server_url, template)


@pytest.fixture
def runtide(tmp_path: Path, database_url: str) -> Command:
    """The command, with a database that has the newest schema."""
    return Command(tmp_path, {"RUNTIDE_DATABASE_URL": database_url, "DEMO_KEY": KEY})


@pytest.fixture
def ready(runtide: Command, api: DemoServer) -> Command:
    """The command, configured for the API, with all threads tracked."""
    runtide.configure(api.base_url)
    runtide.tracks(*api.thread_ids)
    return runtide


@pytest.fixture
def without_extra(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A PYTHONPATH with which the packages that draw reports cannot be found."""
    folder = tmp_path_factory.mktemp("site")
    (folder / "sitecustomize.py").write_text(BLOCKED)
    return str(folder)


@pytest.fixture
def closed_port() -> Iterator[int]:
    """A port that nobody listens on."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]
