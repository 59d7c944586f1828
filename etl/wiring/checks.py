"""`verify` and `replay`: the tables against the server, the quarantine once more."""

import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy.engine import Engine

from etl.config import Settings, SourceConfig
from etl.domain.batch import SourceId, TrackedThread
from etl.domain.errors import SourceUnavailableError
from etl.domain.outcome import Outcome, SyncReport
from etl.domain.quarantine import ReplayReport
from etl.domain.run import ThreadId
from etl.load import ledger, threads
from etl.load.database import connected
from etl.load.holding import holding
from etl.load.quarantine import waiting_rejects
from etl.load.reading import read_runs
from etl.load.store import Store
from etl.sync import Source, check_threads, replay_rejects, verify_thread
from etl.sync.pass_line import told
from etl.sync.verifying import Difference
from etl.wiring.parts import ready_database, source_ids
from etl.wiring.privacy import clean_quarantine, privacy_of
from etl.wiring.scope import Scope
from etl.wiring.sources import clock_from, http_source
from etl.wiring.syncs import Watch, in_ledger, run, with_keys

Key = tuple[SourceId, ThreadId]


@dataclass(frozen=True, slots=True, kw_only=True)
class Verified:
    """One thread that was compared, or could not be; no `key` is the whole source."""

    source: str
    key: Key | None = None
    differences: Sequence[Difference] = ()
    error: str | None = None


def verify(
    settings: Settings, *, source: str | None, sample: int | None, stop: threading.Event
) -> Iterator[Verified]:
    """Compare threads with what the server says now: all, or a random sample.

    Raises StoppedError once `stop` is set.
    """
    with ready_database(settings) as engine:
        for each, source_id in _chosen(settings, engine, source):
            choice = [*threads.due(source_id), threads.is_alive()]
            picked = (
                threads.tracked(engine, choice, from_start=sa.false())
                if sample is None
                else iter(threads.sampled(engine, choice, sample))
            )
            yield from _verified(settings, engine, each, picked, stop)


def verify_again(
    settings: Settings,
    *,
    source: str | None,
    keys: Sequence[Key],
    stop: threading.Event,
) -> Iterator[Verified]:
    """Compare these threads, as `verify` does."""
    with ready_database(settings) as engine:
        for each, source_id in _chosen(settings, engine, source):
            choice = [*threads.due(source_id), threads.among(keys)]
            picked = threads.tracked(engine, choice, from_start=sa.false())
            yield from _verified(settings, engine, each, picked, stop)


def repair(
    settings: Settings,
    *,
    source: str | None,
    keys: Sequence[Key],
    watch: Watch,
    stop: threading.Event,
) -> SyncReport:
    """Read threads from their start, so that the tables say what the server says."""
    scope = Scope(
        trigger="verify --repair",
        sources=with_keys(settings, source),
        thread=None,
        more=(threads.among(keys),),
        from_start=sa.true(),
    )
    with ready_database(settings) as engine:
        return run(settings, engine, scope, watch, stop)


def replay(settings: Settings, *, source: str | None) -> ReplayReport:
    """Send the rejects of all sources, or of one, through the transform again.

    Those that were quarantined before privacy was turned on are cleaned first,
    whether they wait or not.
    """
    chosen = settings.sources(source)
    privacies = [privacy_of(settings, each) for each in chosen]
    with ready_database(settings) as engine:
        ids = source_ids(engine, chosen)
        with (
            holding(engine, ids, trigger="replay") as hold,
            in_ledger(engine, hold) as in_the_ledger,
        ):
            store = Store(hold.connection, sync_id=hold.sync_id, now=hold.started_at)
            rewritten = clean_quarantine(engine, hold.connection, ids, privacies)
            report = replay_rejects(waiting_rejects(engine, ids), store)
            report.rewritten = rewritten
            in_the_ledger.outcome = Outcome.SUCCEEDED
    return report


def _chosen(
    settings: Settings, engine: Engine, source: str | None
) -> list[tuple[SourceConfig, SourceId]]:
    chosen = with_keys(settings, source)
    return list(zip(chosen, source_ids(engine, chosen), strict=True))


def _verified(
    settings: Settings,
    engine: Engine,
    config: SourceConfig,
    picked: Iterator[TrackedThread],
    stop: threading.Event,
) -> Iterator[Verified]:
    """Compare threads of one source; where it is unavailable, that is the last answer."""
    now = clock_from(ledger.now(engine))
    with http_source(settings, config, now=now, stop=stop) as opened:
        checked = check_threads(
            picked,
            lambda thread: _differences(thread, opened.source, engine),
            workers=settings.config.sync.workers,
            stop=stop,
        )
        try:
            for each in checked:
                yield Verified(
                    source=config.name,
                    key=(each.thread.source_id, each.thread.thread_id),
                    differences=each.differences,
                    error=each.error,
                )
        except SourceUnavailableError as error:
            yield Verified(source=config.name, error=told(error))


def _differences(thread: TrackedThread, source: Source, engine: Engine) -> list[Difference]:
    with connected(engine) as connection:
        runs = read_runs(connection, thread.source_id, thread_id=thread.thread_id)
        stored = list(runs)
    return verify_thread(thread, source, stored)
