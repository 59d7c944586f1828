"""A sync, from the settings to its report: what is read, from where, into what."""

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import replace
from datetime import datetime
from functools import partial

import sqlalchemy as sa
from sqlalchemy.engine import Engine

from etl.config import Settings, SourceConfig
from etl.domain.batch import SourceId
from etl.domain.errors import ConfigError, DatabaseError, SyncError
from etl.domain.outcome import Failure, Outcome, SyncReport
from etl.domain.run import ThreadId
from etl.load import ledger, shared_ledger, threads
from etl.load.database import translated
from etl.load.holding import Hold, holding_free, sharing, this_process
from etl.load.leasing import Leases
from etl.load.store import Store
from etl.sync import SyncedSource, Watcher, sync
from etl.sync.ports import nothing_to_discover
from etl.wiring.discovering import Findings, discovery
from etl.wiring.journal import journaled
from etl.wiring.kinds import key_of
from etl.wiring.parts import ready_database, source_ids
from etl.wiring.preparing import Preparation, seconds_left
from etl.wiring.scope import Scope
from etl.wiring.share import LeasedShare
from etl.wiring.sources import clock_from, http_source
from etl.wiring.stopping import OwnStop
from etl.wiring.tracing import Traces, traces

Watch = Callable[[], AbstractContextManager[Watcher]]
"""Opens a watcher, for as long as a sync lasts."""


def run_sync(
    settings: Settings,
    *,
    source: str | None,
    thread: ThreadId | None,
    watch: Watch,
    stop: threading.Event,
    trigger: str = "sync",
    join: bool = False,
) -> SyncReport:
    """Sync the threads of all sources, or of one; answer what happened.

    With `join` other processes may take part, and this one takes part where another has
    begun; it answers what it did itself. `trigger` stands in the ledger. Raises
    ConfigError, HeldError or DatabaseError where the sync cannot begin; a database that
    fails later stands in the report.
    """
    scope = Scope(
        trigger=trigger if thread is None else f"{trigger} of one thread",
        sources=with_keys(settings, source),
        thread=thread,
        from_start=threads.walk_is_due(settings.config.sync.full_walk),
        is_whole=thread is None,
        is_shared=join,
    )
    with ready_database(settings) as engine:
        return run(settings, engine, scope, watch, stop)


def run_backfill(
    settings: Settings,
    *,
    source: str | None,
    thread: ThreadId | None,
    since: datetime | None,
    watch: Watch,
    stop: threading.Event,
) -> SyncReport:
    """Read threads from their start; one that was interrupted within a week goes on.

    `since` leaves out threads without a run created since then. Raises as
    `run_sync` does.
    """
    trigger = "backfill" + (f" of {source}" if source else "")
    trigger += f" of thread {thread}" if thread else ""
    trigger += f" since {since:%Y-%m-%d %H:%M:%S}" if since else ""
    sources = with_keys(settings, source)
    with ready_database(settings) as engine:
        horizon = ledger.unfinished_since(engine, trigger=trigger)
        more = [] if thread else [threads.not_walked_since(horizon)]
        if since is not None:
            more.append(threads.has_run_since(since))
        order = Scope(
            trigger=trigger,
            sources=sources,
            thread=thread,
            more=tuple(more),
            from_start=sa.true(),
        )
        return run(settings, engine, order, watch, stop)


def with_keys(settings: Settings, source: str | None) -> tuple[SourceConfig, ...]:
    """The chosen sources; raises ConfigError where a key is missing."""
    chosen = settings.asked_sources(source)
    for each in chosen:
        key_of(settings, each)
        settings.hash_key(each)
    return chosen


def run(
    settings: Settings, engine: Engine, scope: Scope, watch: Watch, stop: threading.Event
) -> SyncReport:
    """Run one sync over a scope, with its row in the ledger.

    Sources that another sync holds are left alone, and stand in the report; raises
    HeldError where there is no other. A sync that fails leaves `stop` as it was.
    """
    stop = OwnStop(stop)
    ids = dict(zip(source_ids(engine, scope.sources), scope.sources, strict=True))
    if scope.thread is not None and not _due(engine, scope, list(ids)):
        raise ConfigError(
            f"Thread {scope.thread} is not tracked; run `runtide track {scope.thread}`"
            " first."
        )
    with (
        _held(settings, engine, list(ids), scope) as hold,
        in_ledger(engine, hold) as report,
    ):
        report.held = _left_alone(ids, hold)
        ledger.forget_old(engine, keep=settings.config.sync.ledger_kept)
        with (
            traces(settings.environment) as traced,
            traced.following(report, trigger=scope.trigger),
            journaled(report, trigger=scope.trigger),
            _noting_failure(report),
            _leasing(settings, engine, hold, report) as leases,
            ExitStack() as parts,
        ):
            synced = [
                parts.enter_context(
                    _synced(
                        Preparation(
                            settings=settings,
                            engine=engine,
                            scope=scope,
                            hold=hold,
                            source=ids[each],
                            source_id=each,
                            report=report,
                            stop=stop,
                        ),
                        leases,
                    )
                )
                for each in hold.source_ids
            ]
            store = Store(
                hold.connection, sync_id=hold.sync_id, now=hold.now, leases=leases
            )
            watcher = parts.enter_context(watch())
            sync(
                [_traced(traced, each) for each in synced],
                traced.store(store),
                report,
                watcher=watcher,
                stop=stop,
            )
    return report


def _held(
    settings: Settings, engine: Engine, ids: Sequence[SourceId], scope: Scope
) -> AbstractContextManager[Hold]:
    if not scope.is_shared:
        return holding_free(engine, ids, trigger=scope.trigger)
    window = settings.config.sync.time_allowed
    return sharing(engine, ids, trigger=scope.trigger, window=window)


@contextmanager
def _leasing(
    settings: Settings, engine: Engine, hold: Hold, report: SyncReport
) -> Iterator[Leases]:
    """What this process leases of the sync; in the end others may have the rest."""
    leases = Leases(
        engine,
        sync_id=hold.sync_id,
        holder=this_process(),
        lasting=settings.config.sync.lease_seconds,
        shared=hold.is_shared,
        until=time.monotonic() + seconds_left(settings, hold),
    )
    yield leases
    with translated(engine.url):
        leases.close(hold.connection)
    ledger.look(engine, report)


def _traced(traced: Traces, synced: SyncedSource) -> SyncedSource:
    """The same source, each pass over one of its threads followed."""
    return replace(synced, read=traced.reader(synced.read, source=synced.name))


def _due(engine: Engine, scope: Scope, ids: Sequence[SourceId]) -> int:
    """How many threads a sync over some sources has before it."""
    return sum(threads.count_tracked(engine, scope.choice(each)) for each in ids)


def _left_alone(sources: Mapping[SourceId, SourceConfig], hold: Hold) -> list[Failure]:
    return [
        Failure(source=sources[each].name, thread=None, message=told)
        for each, told in hold.busy.items()
    ]


@contextmanager
def _synced(preparation: Preparation, leases: Leases) -> Iterator[SyncedSource]:
    """One source with its client and its threads; its connections close in the end."""
    settings, source, stop = preparation.settings, preparation.source, preparation.stop
    hold, scope = preparation.hold, preparation.scope
    with (
        preparation.budget() as budget,
        http_source(
            settings,
            source,
            now=clock_from(hold.now),
            stop=stop,
            budget=budget,
            pool=preparation.pool,
        ) as opened,
    ):
        findings = Findings(
            engine=preparation.engine,
            source_id=preparation.source_id,
            sync_id=hold.sync_id,
        )
        discover = (
            discovery(settings, source, findings, opened.lister, stop=stop)
            if scope.is_whole
            else nothing_to_discover
        )
        yield SyncedSource(
            source_id=preparation.source_id,
            name=source.name,
            source=opened.source,
            read=opened.read,
            share=LeasedShare(leases, preparation),
            workers=settings.config.sync.workers,
            discover=partial(preparation.prepared, discover),
        )


@contextmanager
def in_ledger(engine: Engine, hold: Hold) -> Iterator[SyncReport]:
    """The report that ends a sync's row in the ledger; failed, unless told otherwise."""
    report = SyncReport(sync_id=hold.sync_id, outcome=Outcome.FAILED)
    try:
        yield report
    except KeyboardInterrupt:
        report.outcome = Outcome.INTERRUPTED
        raise
    except SyncError as error:
        report.errors.append(Failure(source="sync", thread=None, message=str(error)))
        raise
    finally:
        with suppress(DatabaseError):
            end = shared_ledger.note_share if hold.is_shared else ledger.close_sync
            end(engine, report)


@contextmanager
def _noting_failure(report: SyncReport) -> Iterator[None]:
    """A database that fails meanwhile stands in the report."""
    try:
        yield
    except DatabaseError as error:
        report.outcome = Outcome.FAILED
        failure = Failure(source="database", thread=None, message=str(error))
        report.errors.append(failure)
