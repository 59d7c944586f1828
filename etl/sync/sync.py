"""The loader's side of a sync: drain the outbox into batches until the workers end."""

import logging
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from etl.domain.batch import Batch, Committed, Increment, PassFailure
from etl.domain.outcome import Failure, Outcome, SyncReport
from etl.sync.pass_line import SOURCE_UNAVAILABLE
from etl.sync.ports import Store, SyncedSource, Watcher
from etl.sync.tally import Tally
from etl.sync.triage import Triage
from etl.sync.workers import (
    Crew,
    Idleness,
    Item,
    Outbox,
    ThreadMissing,
    Threads,
    ThreadsFound,
    WorkerEnded,
)

log = logging.getLogger(__name__)

GRACE_SECONDS = 2.0
"""How long stopped workers may take before they are left behind."""

MOST_MARKED = 10_000
"""Missing threads marked by one transaction."""


def sync(
    sources: Sequence[SyncedSource],
    store: Store,
    report: SyncReport,
    *,
    watcher: Watcher,
    stop: threading.Event,
) -> SyncReport:
    """Read all threads of all sources and commit what is found.

    One thread's failure is its own and stands in the report. Raises DatabaseError
    where the store fails, and sets `stop`, for the workers to end; what was committed
    until then stays.
    """
    return _Sync(sources, store, report, stop).work(watcher)


class Told(NamedTuple):
    """The traffic that stands in the ledger."""

    requests: int
    retries: int


@dataclass
class _Underway:
    """One source while its workers read it."""

    synced: SyncedSource
    threads: Threads
    triage: Triage = field(default_factory=Triage)


class _Sync:
    """One sync while it works."""

    def __init__(
        self,
        sources: Sequence[SyncedSource],
        store: Store,
        report: SyncReport,
        stop: threading.Event,
    ) -> None:
        self._sources = {
            synced.source_id: _Underway(
                synced, Threads(synced.share.threads(), leave=synced.share.leave)
            )
            for synced in sources
        }
        self._store = store
        self._report = report
        self._stop = stop
        self._tally = Tally(report, {each.source_id: each.name for each in sources})
        self._told = Told(0, 0)
        self._began = time.monotonic()

    def work(self, watcher: Watcher) -> SyncReport:
        """Start the workers, drain what they find, and judge the outcome."""
        outbox = Outbox(self._stop)
        crews = [
            Crew(
                each.synced,
                each.threads,
                outbox,
                self._stop,
                sync_id=self._report.sync_id,
            )
            for each in self._sources.values()
        ]
        try:
            self._drain(outbox, crews, watcher)
        except BaseException:
            self._stop.set()
            raise
        finally:
            self._leave([worker for crew in crews for worker in crew.members])
        self._count_traffic()
        if self._report.requests > self._told.requests:
            self._commit(Batch())
        self._report.outcome = self._outcome()
        return self._report

    def _drain(self, outbox: Outbox, crews: Sequence[Crew], watcher: Watcher) -> None:
        idleness = Idleness()
        working = sum(crew.grow() for crew in crews)
        while working:
            items = outbox.take()
            if self._stop.is_set() and not items:
                return
            for item in items:
                if isinstance(item, WorkerEnded):
                    working -= 1
                    if item.error is not None:
                        raise item.error
            if working and idleness.has_room():
                working += sum(crew.grow() for crew in crews)
            self._take_in(items)
            self._tend()
            watcher.progressed(self._report)
        if not self._stop.is_set():
            self._judge_missing()

    def _take_in(self, items: Sequence[Item]) -> None:
        """Commit what is to be written, and note the rest."""
        self._count_traffic()
        batch = Batch(
            increments=[item for item in items if isinstance(item, Increment)],
            failures=[item for item in items if isinstance(item, PassFailure)],
            unknown=[item.failure for item in items if isinstance(item, ThreadMissing)],
        )
        if batch.increments or batch.failures or batch.unknown:
            self._commit(batch)
        for increment in batch.increments:
            self._sources[increment.source_id].triage.answered += increment.completes
        for item in items:
            if isinstance(item, ThreadMissing):
                self._note_missing(item.failure)
            elif isinstance(item, ThreadsFound):
                self._report.threads_found += item.number
            elif isinstance(item, Failure):
                self._tally.fail_source(item.source, item.message)
        self._report.seconds = time.monotonic() - self._began

    def _tend(self) -> None:
        if lost := self._store.tend():
            fields = {"sync_id": self._report.sync_id, "leases": lost}
            log.warning("leases lost to another process", extra=fields)

    def _commit(self, batch: Batch) -> None:
        began = time.monotonic()
        requests, retries = self._report.requests, self._report.retries
        batch = replace(
            batch,
            requests=requests - self._told.requests,
            retries=retries - self._told.retries,
        )
        committed = self._store.commit(batch)
        self._told = Told(requests, retries)
        self._tally.count(batch, committed)
        self._tell(committed, seconds=time.monotonic() - began)

    def _tell(self, committed: Committed, *, seconds: float) -> None:
        if committed.pages and log.isEnabledFor(logging.DEBUG):
            fields = {
                "sync_id": self._report.sync_id,
                "pages": committed.pages,
                "runs_created": committed.created,
                "runs_updated": committed.updated,
                "runs_unchanged": committed.unchanged,
                "rejects": committed.rejects,
                "seconds": round(seconds, 3),
            }
            log.debug("batch committed", extra=fields)

    def _count_traffic(self) -> None:
        """Bring the attempts that were made so far into the report."""
        traffic = [each.synced.source.traffic for each in self._sources.values()]
        self._report.requests = sum(each.requests for each in traffic)
        self._report.retries = sum(each.retries for each in traffic)

    def _note_missing(self, failure: PassFailure) -> None:
        underway = self._sources[failure.source_id]
        if failure.was_gone:
            return
        underway.triage.missing.append(replace(failure, lease=None))
        if underway.triage.is_hopeless:
            underway.threads.close()

    def _judge_missing(self) -> None:
        """Mark the threads that are missing, or find their source unavailable."""
        for underway in self._sources.values():
            triage = underway.triage
            triage.elsewhere = underway.synced.share.answers()
            if triage.is_unavailable:
                self._fail_source(underway.synced.name, triage.verdict)
                continue
            for at in range(0, len(triage.missing), MOST_MARKED):
                some = triage.missing[at : at + MOST_MARKED]
                self._commit(
                    Batch(missing=some) if triage.answered else Batch(failures=some)
                )

    def _fail_source(self, name: str, verdict: str) -> None:
        fields = {"sync_id": self._report.sync_id, "source": name, "error": verdict}
        log.warning(SOURCE_UNAVAILABLE, extra=fields)
        self._tally.fail_source(name, verdict)

    def _leave(self, workers: Sequence[threading.Thread]) -> None:
        """Wait for the workers; once asked to stop, only for a moment in all."""
        until = time.monotonic() + GRACE_SECONDS
        for worker in workers:
            patience = max(0.0, until - time.monotonic())
            worker.join(patience if self._stop.is_set() else None)
        self._report.seconds = time.monotonic() - self._began

    def _outcome(self) -> Outcome:
        return Outcome.INTERRUPTED if self._stop.is_set() else self._tally.outcome()
