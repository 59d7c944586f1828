"""The loader's side of a sync: drain the outbox into batches until the workers end."""

import threading
import time
from collections.abc import Sequence

from etl.domain.batch import Batch, Committed, Increment, PassFailure, SourceId
from etl.domain.outcome import Failure, Outcome, SyncReport
from etl.domain.run import ThreadId
from etl.sync.ports import Store, SyncedSource, Watcher
from etl.sync.workers import Item, Outbox, WorkerEnded, start_workers

GRACE_SECONDS = 2.0
"""How long a stopped worker may take before it is left behind."""

OVERTAKEN = "another sync wrote this thread first; its data stands, nothing is lost"


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
    where the store fails; what was committed until then stays.
    """
    return _Sync(sources, store, report, stop).work(watcher)


class _Sync:
    """The figures of one sync while it works."""

    def __init__(
        self,
        sources: Sequence[SyncedSource],
        store: Store,
        report: SyncReport,
        stop: threading.Event,
    ) -> None:
        self._sources = sources
        self._store = store
        self._report = report
        self._stop = stop
        self._names = {source.source_id: source.name for source in sources}
        self._failed: set[tuple[SourceId, ThreadId]] = set()
        self._began = time.monotonic()

    def work(self, watcher: Watcher) -> SyncReport:
        """Start the workers, drain what they find, and judge the outcome."""
        outbox = Outbox(self._stop)
        workers = [
            worker
            for synced in self._sources
            for worker in start_workers(synced, outbox, self._stop)
        ]
        try:
            self._drain(outbox, len(workers), watcher)
        except BaseException:
            self._stop.set()
            raise
        finally:
            for worker in workers:
                worker.join(GRACE_SECONDS if self._stop.is_set() else None)
            self._report.seconds = time.monotonic() - self._began
        self._report.outcome = self._outcome()
        return self._report

    def _drain(self, outbox: Outbox, working: int, watcher: Watcher) -> None:
        while working:
            items = outbox.take()
            if self._stop.is_set() and not items:
                return
            for item in items:
                if isinstance(item, WorkerEnded):
                    working -= 1
                    if item.error is not None:
                        raise item.error
            self._commit(items)
            watcher.progressed(self._report)

    def _commit(self, items: Sequence[Item]) -> None:
        requests, retries = self._new_traffic()
        batch = Batch(
            increments=[item for item in items if isinstance(item, Increment)],
            failures=[item for item in items if isinstance(item, PassFailure)],
            requests=requests,
            retries=retries,
        )
        if batch.increments or batch.failures:
            self._count(batch, self._store.commit(batch))
        self._report.errors += [item for item in items if isinstance(item, Failure)]
        self._report.requests += requests
        self._report.retries += retries
        self._report.seconds = time.monotonic() - self._began

    def _new_traffic(self) -> tuple[int, int]:
        """Attempts made since the last batch."""
        traffic = [synced.source.traffic for synced in self._sources]
        requests = sum(each.requests for each in traffic) - self._report.requests
        retries = sum(each.retries for each in traffic) - self._report.retries
        return requests, retries

    def _count(self, batch: Batch, committed: Committed) -> None:
        report = self._report
        ended = [part for part in batch.increments if part.completes]
        report.threads += len(ended) + len(batch.failures)
        report.pages += committed.pages
        report.runs_read += committed.created + committed.updated + committed.unchanged
        report.runs_created += committed.created
        report.runs_updated += committed.updated
        report.runs_unchanged += committed.unchanged
        report.rejects += committed.rejects
        for failure in batch.failures:
            self._note(failure.source_id, failure.thread_id, failure.message)
        for source_id, thread_id in committed.overtaken:
            self._note(source_id, thread_id, OVERTAKEN)

    def _note(self, source_id: SourceId, thread_id: ThreadId, message: str) -> None:
        """Note a thread's failure; an overtaken one may come with every page."""
        if (source_id, thread_id) in self._failed:
            return
        self._failed.add((source_id, thread_id))
        self._report.threads_failed += 1
        failure = Failure(source=self._names[source_id], thread=thread_id, message=message)
        self._report.errors.append(failure)

    def _outcome(self) -> Outcome:
        report = self._report
        if self._stop.is_set():
            return Outcome.INTERRUPTED
        if not report.errors:
            return Outcome.SUCCEEDED
        fine = report.threads - report.threads_failed
        return Outcome.PARTIAL if fine > 0 else Outcome.FAILED
