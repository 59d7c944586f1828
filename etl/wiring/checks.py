"""`verify` and `replay`: the tables against the server, the quarantine once more."""

import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import sqlalchemy as sa
from sqlalchemy.engine import Engine

from etl.config import Settings
from etl.domain.batch import TrackedThread
from etl.domain.errors import SyncError
from etl.domain.outcome import SyncReport
from etl.domain.quarantine import ReplayReport
from etl.load import ledger, threads
from etl.load.database import connected
from etl.load.quarantine import waiting_rejects
from etl.load.reading import read_runs
from etl.load.store import Store
from etl.sync import Source, replay_rejects, verify_thread
from etl.sync.verifying import Difference
from etl.wiring.parts import clock_from, http_source, ready_database, source_ids
from etl.wiring.syncs import Scope, Watch, run


@dataclass(frozen=True, slots=True, kw_only=True)
class Verified:
    """One thread that was compared, or could not be."""

    source: str
    thread: TrackedThread
    differences: Sequence[Difference] = field(default_factory=list)
    error: str | None = None


def verify(
    settings: Settings, *, source: str | None, sample: int | None, stop: threading.Event
) -> Iterator[Verified]:
    """Compare threads with what the server says now: all, or a random sample."""
    chosen = settings.sources(source)
    with ready_database(settings) as engine:
        now = clock_from(ledger.now(engine))
        for each, source_id in zip(chosen, source_ids(engine, chosen), strict=True):
            picked = threads.sampled(engine, threads.due(source_id), sample)
            with (
                http_source(settings, each, now=now, stop=stop) as (pages, _),
                ThreadPoolExecutor(settings.config.sync.workers) as pool,
            ):
                checker = _Checker(each.name, pages, engine)
                yield from pool.map(checker.verified, picked)


def repair(
    settings: Settings,
    threads_to_mend: Sequence[TrackedThread],
    *,
    watch: Watch,
    stop: threading.Event,
) -> SyncReport:
    """Read threads from their start, so that the tables say what the server says."""
    keys = [(thread.source_id, thread.thread_id) for thread in threads_to_mend]
    scope = Scope(
        trigger="verify --repair",
        sources=settings.sources(),
        thread=None,
        more=(threads.among(keys),),
        from_start=sa.true(),
    )
    with ready_database(settings) as engine:
        return run(settings, engine, scope, watch, stop)


def replay(settings: Settings, *, source: str | None) -> ReplayReport:
    """Send the rejects of all sources, or of one, through the transform again."""
    chosen = settings.sources(source)
    with ready_database(settings) as engine:
        ids = source_ids(engine, chosen)
        sync_id, started_at = ledger.open_sync(engine, trigger="replay")
        with connected(engine) as connection:
            store = Store(connection, sync_id=sync_id, now=started_at)
            report = replay_rejects(waiting_rejects(engine, ids), store)
        ledger.close_sync(
            engine,
            SyncReport(
                sync_id=sync_id,
                runs_created=report.runs_created,
                runs_updated=report.runs_updated,
            ),
        )
    return report


@dataclass(frozen=True, slots=True)
class _Checker:
    """Compares the threads of one source."""

    name: str
    source: Source
    engine: Engine

    def verified(self, thread: TrackedThread) -> Verified:
        try:
            with connected(self.engine) as connection:
                runs = read_runs(connection, thread.source_id, thread_id=thread.thread_id)
                stored = {run.run_id: run for run in runs}
            differences = verify_thread(thread, self.source, stored)
        except SyncError as error:
            return Verified(source=self.name, thread=thread, error=str(error))
        return Verified(source=self.name, thread=thread, differences=differences)
