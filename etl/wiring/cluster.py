"""A sync on a Dask cluster: shards of it, each of which leases until nothing is left."""

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from math import inf
from typing import Any
from uuid import uuid4

from sqlalchemy.engine import Engine

from etl.config import EMBEDDED, Settings
from etl.domain.errors import ClusterError, ConfigError, SyncError
from etl.domain.outcome import Failure, Outcome, SyncReport
from etl.load.database import translated
from etl.load.figures import figures
from etl.load.holding import Hold, others_at_work, sharing, tell_done
from etl.sync import Watcher
from etl.wiring.dask_client import (
    AGAIN,
    LOCAL,
    answer_of,
    cluster_client,
    default_workers,
    has_workers,
    is_connected,
    require_distributed,
    worker_threads,
)
from etl.wiring.parts import ready_database, source_ids
from etl.wiring.shard import DATABASE_URL, shard, told
from etl.wiring.syncs import Watch

MOST_SHARDS = 32
"""Each has a few connections to the database."""

LOOK_SECONDS = 0.5
PATIENCE_SECONDS = 10.0
"""How long shards may take to end, once nobody wants them any more."""

MOST_LOOKS_WITHOUT_WORKERS = 120


def run_on_cluster(
    settings: Settings,
    *,
    source: str | None,
    address: str,
    shards: int | None,
    watch: Watch,
    stop: threading.Event,
) -> SyncReport:
    """Sync all sources, or one, by the workers of a cluster; answer what all of them did.

    It takes part in the sync itself, without reading: so the sync lasts until each shard
    has seen that nothing is left, also one that began late. Raises as `run_sync` does;
    ClusterError leaves the sync open, for the next one to go on with.
    """
    require_distributed()
    if address != LOCAL and settings.database_url == EMBEDDED:
        raise ConfigError(
            "The embedded database cannot be reached by a cluster; set"
            f" {DATABASE_URL} here and for every worker, or use `--dask local`."
        )
    chosen = settings.asked_sources(source)
    workers = min(MOST_SHARDS, shards or default_workers())
    own = {DATABASE_URL: settings.database_url}
    with ExitStack() as parts:
        engine = parts.enter_context(ready_database(settings))
        client = parts.enter_context(
            cluster_client(address, workers=workers, environment=own)
        )
        number = shards or min(MOST_SHARDS, worker_threads(client, address))
        with sharing(engine, source_ids(engine, chosen), trigger="sync") as hold:
            shared = _Shards(client, address, engine, hold, stop)
            with shared.left_open_where_lost(), watch() as watcher:
                shared.submit(number, str(settings.path), told(settings), source)
                shared.follow(watcher)
                answers = shared.answers()
        return _report(figures(engine, hold.sync_id), answers)


@dataclass
class _Shards:
    """The tasks of a sync, as long as this process takes part in it."""

    client: Any
    address: str
    engine: Engine
    hold: Hold
    stop: threading.Event
    tasks: list[Any] = field(default_factory=list)

    def submit(self, number: int, *facts: Any) -> None:
        """Hand so many shards to the cluster."""
        name = f"runtide-{self.hold.sync_id}-{uuid4().hex}"
        keys = [f"{name}-{each}" for each in range(number)]
        self.tasks = [self.client.submit(shard, *facts, key=key) for key in keys]

    def follow(self, watcher: Watcher) -> None:
        """Show how far the sync is until all shards are done, or somebody asks to stop."""
        alone = 0
        while not all(task.done() for task in self.tasks):
            watcher.progressed(figures(self.engine, self.hold.sync_id))
            if self.stop.wait(LOOK_SECONDS):
                self.client.cancel(self.tasks)
                return
            alone = 0 if has_workers(self.client) else alone + 1
            if alone > MOST_LOOKS_WITHOUT_WORKERS:
                raise ClusterError(f"All workers left {self.address}. {AGAIN}")

    def answers(self) -> list[SyncReport | SyncError]:
        """What the shards say, none where they were stopped, once all others have left."""
        wanted = [] if self.stop.is_set() else self.tasks
        answers = [answer_of(task, self.address) for task in wanted]
        with translated(self.engine.url), self.hold.connection.begin():
            tell_done(self.hold.connection)
        self._outlast()
        return answers

    @contextmanager
    def left_open_where_lost(self) -> Iterator[None]:
        """Leave a sync whose cluster is lost as a process that dies does: not ended."""
        try:
            yield
        except ClusterError:
            if is_connected(self.client):
                self.client.cancel(self.tasks)
            self._outlast(PATIENCE_SECONDS)
            self.hold.connection.detach()
            self.hold.connection.close()
            raise

    def _outlast(self, patience: float = inf) -> None:
        """Wait until nobody else is at work, so that the figures are those of all."""
        while self._others() and patience > 0:
            if self.stop.is_set():
                patience = min(patience, PATIENCE_SECONDS)
            time.sleep(LOOK_SECONDS)
            patience -= LOOK_SECONDS

    def _others(self) -> bool:
        connection = self.hold.connection
        with translated(self.engine.url), connection.begin():
            return others_at_work(connection, self.hold.source_ids) > 0


def _report(report: SyncReport, answers: Sequence[SyncReport | SyncError]) -> SyncReport:
    """The ledger's figures, with what the shards had to say."""
    refusals = [each for each in answers if isinstance(each, SyncError)]
    if refusals and len(refusals) == len(answers):
        raise refusals[0]
    told_by = [each for each in answers if isinstance(each, SyncReport)]
    report.threads_found = sum(each.threads_found for each in told_by)
    errors = dict.fromkeys(error for each in told_by for error in each.errors)
    report.errors = list(errors) or report.errors
    for refusal in refusals:
        report.errors.append(Failure(source="cluster", thread=None, message=str(refusal)))
    if refusals and report.outcome is Outcome.SUCCEEDED:
        report.outcome = Outcome.PARTIAL
    return report
