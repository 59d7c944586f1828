"""Fixtures for tests of roles: a server, an owner, and the command as anybody."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy.engine import URL

from etl.cli.entry import run
from etl.demo.server import DemoServer
from etl.demo.world import World
from tests.integration.role_server import (
    PASSWORD,
    Call,
    OwnedDatabase,
    a_server_on_tcp,
    an_owned_database,
)

CONFIG = """\
[[sources]]
name = "demo"
base_url = "{base_url}"
requests_per_minute = 600000
"""


@pytest.fixture(scope="session")
def tcp_server() -> Iterator[URL]:
    """A server that roles log in to over TCP."""
    with a_server_on_tcp() as url:
        yield url


@pytest.fixture
def owned(tcp_server: URL) -> Iterator[OwnedDatabase]:
    """A database with the newest schema, of an ordinary owner."""
    with an_owned_database(tcp_server) as owned:
        yield owned


@pytest.fixture
def name(owned: OwnedDatabase) -> str:
    """A role that nobody else uses: roles belong to the whole server."""
    return f"role_of_{owned.address.database}"


@pytest.fixture
def role_api() -> Iterator[DemoServer]:
    """A small world."""
    world = World(threads=6, runs=40)
    with DemoServer(world, now=world.now) as server:
        yield server


@pytest.fixture
def as_role(
    tmp_path: Path,
    owned: OwnedDatabase,
    role_api: DemoServer,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> Call:
    """The command, as a role; the owner unless told otherwise."""
    path = tmp_path / "config.toml"
    path.write_text(CONFIG.format(base_url=role_api.base_url))
    monkeypatch.setenv("ROLE_PASSWORD", PASSWORD)

    def call(
        *arguments: str, role: str | None = None, url: str = ""
    ) -> tuple[int, str, str]:
        monkeypatch.setenv("RUNTIDE_DATABASE_URL", url or owned.url(role))
        capsys.readouterr()
        code = run([*arguments, "--config", str(path)])
        return code, *capsys.readouterr()

    return call
