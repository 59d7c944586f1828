"""The figures of a sync: what was read and written, and which threads failed."""

import logging
from collections.abc import Mapping

from etl.domain.batch import Batch, Committed, PassFailure, SourceId
from etl.domain.outcome import Failure, Outcome, SyncReport
from etl.domain.run import ThreadId

log = logging.getLogger(__name__)

OVERTAKEN = "another sync wrote this thread first; its data stands, nothing is lost"


class Tally:
    """Counts batches into a report."""

    def __init__(self, report: SyncReport, names: Mapping[SourceId, str]) -> None:
        self._report = report
        self._names = names
        self._failed: set[tuple[SourceId, ThreadId]] = set()
        self._refused: set[tuple[SourceId, ThreadId]] = set()

    def count(self, batch: Batch, committed: Committed) -> None:
        """Add what one batch did."""
        report = self._report
        refused = committed.refused
        report.threads += sum(
            part.completes
            for part in batch.increments
            if (part.source_id, part.thread_id) not in refused
        )
        report.threads += sum(part.was_gone for part in batch.unknown)
        self._refused |= refused
        report.threads_refused = len(self._refused)
        report.pages += committed.pages
        report.runs_read += committed.created + committed.updated + committed.unchanged
        report.runs_created += committed.created
        report.runs_updated += committed.updated
        report.runs_unchanged += committed.unchanged
        report.rejects += committed.rejects
        for failure in (*batch.failures, *batch.missing):
            if (failure.source_id, failure.thread_id) in refused:
                continue
            report.threads += 1
            self.fail(failure)
        for source_id, thread_id in committed.overtaken:
            if self._note(source_id, thread_id, OVERTAKEN):
                self._tell_overtaken(source_id, thread_id)

    def fail(self, failure: PassFailure) -> None:
        """Note a thread's failure, unless the thread is a tombstone already."""
        if not failure.was_gone:
            self._note(failure.source_id, failure.thread_id, failure.message)

    def fail_source(self, name: str, message: str) -> None:
        """Note that a whole source is unavailable."""
        self._report.errors.append(Failure(source=name, thread=None, message=message))

    def outcome(self) -> Outcome:
        """How the sync ended, as the figures tell."""
        if not self._report.errors:
            return Outcome.SUCCEEDED
        fine = self._report.threads - self._report.threads_failed
        return Outcome.PARTIAL if fine > 0 else Outcome.FAILED

    def _tell_overtaken(self, source_id: SourceId, thread_id: ThreadId) -> None:
        fields = {
            "sync_id": self._report.sync_id,
            "source": self._names[source_id],
            "thread_id": thread_id,
            "error": OVERTAKEN,
        }
        log.warning("pass overtaken", extra=fields)

    def _note(self, source_id: SourceId, thread_id: ThreadId, message: str) -> bool:
        """Note a thread once, and answer so; an overtaken one may come with every page."""
        if (source_id, thread_id) in self._failed:
            return False
        self._failed.add((source_id, thread_id))
        self._report.threads_failed += 1
        failure = Failure(source=self._names[source_id], thread=thread_id, message=message)
        self._report.errors.append(failure)
        return True
