"""runtide as a user runs it: a command, a config.toml, a database."""

import json
import os
import shutil
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.measuring import CommandError, Cost, measure
from bench.places import ROOT
from bench.postgres import Postgres

EMBEDDED = "embedded"

CONFIG = """\
[[sources]]
name = "bench"
base_url = "{base_url}"
requests_per_minute = 10000000

[sync]
workers = {workers}
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Runtide:
    """The command in a folder of its own."""

    folder: Path
    database_url: str = EMBEDDED

    def configure(self, *, base_url: str, workers: int = 8) -> None:
        """Write config.toml."""
        self.folder.mkdir(parents=True, exist_ok=True)
        text = CONFIG.format(base_url=base_url, workers=workers)
        (self.folder / "config.toml").write_text(text, encoding="utf-8")

    def call(self, *arguments: str | Path) -> tuple[Cost, str]:
        """`python -m etl …`; its cost, and what it printed."""
        return self.measured(sys.executable, "-m", "etl", *arguments)

    def measured(self, *command: str | Path) -> tuple[Cost, str]:
        """Run a command with this configuration; raises CommandError where it fails."""
        environment = {
            name: value for name, value in os.environ.items() if "RUNTIDE" not in name
        }
        environment["RUNTIDE_CONFIG"] = str(self.folder / "config.toml")
        environment["RUNTIDE_DATABASE_URL"] = self.database_url
        return measure(command, environment=environment, directory=ROOT)

    def report(self, *arguments: str) -> tuple[Cost, dict[str, Any]]:
        """The same of a command with --json; its cost and the object that it printed."""
        cost, printed = self.call(*arguments, "--json")
        return cost, json.loads(printed)


@contextmanager
def embedded_postgres(folder: Path) -> Iterator[Postgres]:
    """The embedded server with a new cluster, up for as long as the block lasts."""
    runtide = Runtide(folder=folder)
    if folder.exists():
        with suppress(CommandError):
            runtide.call("db", "stop", "--force")
        shutil.rmtree(folder)
    runtide.configure(base_url="http://127.0.0.1:9/v1")
    try:
        runtide.call("db", "start", "--port", str(_free_port()))
        yield Postgres(runtide.call("db", "url", "--tcp")[1].strip())
    finally:
        runtide.call("db", "stop", "--force")


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])
