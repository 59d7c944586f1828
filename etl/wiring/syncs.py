"""A sync, from the settings to its report: what is read, from where, into what."""

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.engine import Engine

from etl.config import Settings, SourceConfig
from etl.domain.batch import SourceId
from etl.domain.errors import ConfigError, DatabaseError, SyncError
from etl.domain.outcome import Failure, Outcome, SyncReport
from etl.domain.run import Instant, ThreadId
from etl.load import ledger, threads
from etl.load.holding import Hold, holding_free
from etl.load.store import Store
from etl.sync import SyncedSource, Watcher, sync
from etl.sync.ports import nothing_to_discover
from etl.wiring.discovering import Findings, discovery
from etl.wiring.journal import journaled
from etl.wiring.kinds import key_of
from etl.wiring.parts import ready_database, source_ids
from etl.wiring.sources import clock_from, http_source
from etl.wiring.stopping import OwnStop
from etl.wiring.tracing import Traces, traces

Watch = Callable[[int], AbstractContextManager[Watcher]]
"""Opens a watcher of so many threads, for as long as a sync lasts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """Which threads a sync reads, and which of them from their start."""

    trigger: str
    sources: tuple[SourceConfig, ...]
    thread: ThreadId | None
    more: tuple[sa.ColumnElement[bool], ...] = ()
    from_start: sa.ColumnElement[bool]
    discovers: bool = False

    def choice(self, source_id: SourceId) -> threads.Choice:
        """The threads of one source."""
        return [*threads.due(source_id, self.thread), *self.more]


def run_sync(
    settings: Settings,
    *,
    source: str | None,
    thread: ThreadId | None,
    watch: Watch,
    stop: threading.Event,
    trigger: str = "sync",
) -> SyncReport:
    """Sync the threads of all sources, or of one; answer what happened.

    `watch` is told how many threads there are; `trigger` stands in the ledger. Raises
    ConfigError, HeldError or DatabaseError where the sync cannot begin; a database that
    fails later stands in the report.
    """
    scope = Scope(
        trigger=trigger if thread is None else f"{trigger} of one thread",
        sources=with_keys(settings, source),
        thread=thread,
        from_start=threads.walk_is_due(settings.config.sync.full_walk),
        discovers=thread is None,
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
        holding_free(engine, list(ids), trigger=scope.trigger) as hold,
        in_ledger(engine, hold) as report,
    ):
        report.held = _left_alone(ids, hold)
        total = _due(engine, scope, hold.source_ids)
        ledger.note_due(engine, hold.sync_id, total)
        ledger.forget_old(engine, keep=settings.config.sync.ledger_kept)
        with (
            traces(settings.environment) as traced,
            traced.following(report, trigger=scope.trigger),
            journaled(report, trigger=scope.trigger, threads=total),
            _noting_failure(report),
            ExitStack() as parts,
        ):
            now = clock_from(hold.started_at)
            synced = [
                parts.enter_context(
                    _synced(
                        settings,
                        engine,
                        scope,
                        ids[each],
                        each,
                        sync_id=hold.sync_id,
                        now=now,
                        stop=stop,
                    )
                )
                for each in hold.source_ids
            ]
            store = Store(hold.connection, sync_id=hold.sync_id, now=hold.started_at)
            watcher = parts.enter_context(watch(total))
            sync(
                [_traced(traced, each) for each in synced],
                traced.store(store),
                report,
                watcher=watcher,
                stop=stop,
            )
    return report


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
def _synced(
    settings: Settings,
    engine: Engine,
    scope: Scope,
    source: SourceConfig,
    source_id: SourceId,
    *,
    sync_id: int,
    now: Callable[[], Instant],
    stop: threading.Event,
) -> Iterator[SyncedSource]:
    """One source with its client and its threads; its connections close in the end."""
    with http_source(settings, source, now=now, stop=stop) as opened:
        choice = scope.choice(source_id)
        findings = Findings(engine=engine, source_id=source_id, sync_id=sync_id)
        yield SyncedSource(
            source_id=source_id,
            name=source.name,
            source=opened.source,
            read=opened.read,
            threads=threads.tracked(engine, choice, from_start=scope.from_start),
            workers=settings.config.sync.workers,
            discover=discovery(settings, source, findings, opened.lister, stop=stop)
            if scope.discovers
            else nothing_to_discover,
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
            ledger.close_sync(engine, report)


@contextmanager
def _noting_failure(report: SyncReport) -> Iterator[None]:
    """A database that fails meanwhile stands in the report."""
    try:
        yield
    except DatabaseError as error:
        report.outcome = Outcome.FAILED
        failure = Failure(source="database", thread=None, message=str(error))
        report.errors.append(failure)
