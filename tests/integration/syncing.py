"""A whole sync, as the command runs it, and what it left in the tables."""

import threading
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from sqlalchemy.engine import Engine

from etl.config import Config, DatabaseConfig, Settings, SourceConfig, SyncConfig
from etl.domain.outcome import SyncReport
from etl.domain.run import Run, ThreadId
from etl.load.database import connected
from etl.load.reading import read_runs
from etl.load.threads import record_source
from etl.load.tracking import track
from etl.transform import rebuild
from etl.wiring import run_sync
from tests.conftest import as_text
from tests.integration.builders import comparable

KEY = "sk-integration-0123456789"


class Unwatched:
    """A watcher that looks away."""

    def progressed(self, report: SyncReport) -> None:
        """Look away."""


class Syncer:
    """Tracks threads of one source and syncs them, over and over."""

    def __init__(
        self,
        engine: Engine,
        base_url: str,
        *,
        name: str = "demo",
        key: str | None = None,
        page_size: int = 100,
        trusted: bool = True,
    ) -> None:
        self.engine = engine
        self.source = SourceConfig(
            name=name,
            base_url=base_url,
            api_key_env="DEMO_KEY" if key else None,
            requests_per_minute=10_000_000,
            trusted=trusted,
        )
        self.settings = Settings(
            path=Path("config.toml"),
            config=Config(
                database=DatabaseConfig(url=as_text(engine.url)),
                sources=(self.source,),
                sync=SyncConfig(page_size=page_size),
            ),
            environment={"DEMO_KEY": key} if key else {},
        )
        self.source_id = record_source(
            engine, name=name, kind=self.source.kind, base_url=base_url
        )

    def track(self, thread_ids: Sequence[str]) -> None:
        track(self.engine, self.source_id, [ThreadId(each) for each in thread_ids])

    def sync(self, stop: threading.Event | None = None) -> SyncReport:
        """Sync all threads once."""
        return run_sync(
            self.settings,
            source=self.source.name,
            thread=None,
            watch=lambda: nullcontext(Unwatched()),
            stop=stop or threading.Event(),
        )

    def runs(self) -> dict[str, Run]:
        """Every run in the tables, by its id."""
        with connected(self.engine) as connection:
            found = list(read_runs(connection, self.source_id))
        by_id: dict[str, Run] = {run.run_id: run for run in found}
        assert len(by_id) == len(found)
        return by_id

    def payloads(self) -> dict[str, Any]:
        """Every payload, rebuilt from the tables and ready to be compared, by id."""
        return {run_id: comparable(rebuild(run)) for run_id, run in self.runs().items()}
