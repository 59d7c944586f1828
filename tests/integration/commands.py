"""The command in this process: what it prints, and its exit code."""

from pathlib import Path
from typing import NamedTuple

import pytest
from sqlalchemy.engine import Engine

from etl.cli.entry import run
from tests.conftest import as_text

CONFIG = """\
[database]
url = "{url}"

[[sources]]
name = "demo"
base_url = "{base_url}"
requests_per_minute = 10000000
{source}
[sync]
workers = 2
page_size = {page_size}
{sync}
"""


class Printed(NamedTuple):
    """What the command left behind."""

    code: int
    out: str
    err: str


class Runtide:
    """`runtide` with a configuration of its own, quicker than a process of its own."""

    def __init__(
        self, folder: Path, engine: Engine, capsys: pytest.CaptureFixture[str]
    ) -> None:
        self._path = folder / "config.toml"
        self._engine = engine
        self._capsys = capsys

    def configure(
        self, base_url: str, *, page_size: int = 100, source: str = "", sync: str = ""
    ) -> None:
        """Write the configuration for a server; `source` and `sync` are more lines."""
        text = CONFIG.format(
            url=as_text(self._engine.url),
            base_url=base_url,
            page_size=page_size,
            source=source,
            sync=sync,
        )
        self._path.write_text(text)

    def __call__(self, *arguments: str) -> Printed:
        self._capsys.readouterr()
        code = run([*arguments, "--config", str(self._path)])
        return Printed(code, *self._capsys.readouterr())
