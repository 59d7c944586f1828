"""Replay: quarantined payloads through the transform once more."""

from collections.abc import Iterable
from typing import Protocol

from etl.domain.page import Payload
from etl.domain.quarantine import Replay, ReplayReport, WaitingReject
from etl.domain.run import Run
from etl.transform import drift_of, flatten


class ReplayStore(Protocol):
    """Where rejects that became runs go."""

    def replay(self, replay: Replay) -> tuple[int, int] | None:
        """Write the run and mark the reject; answer rows created and updated.

        Answers None, and writes nothing, where the database refuses the run.
        """
        ...


def replay_rejects(waiting: Iterable[WaitingReject], store: ReplayStore) -> ReplayReport:
    """Send rejects through the transform again; what becomes a run is written.

    A run that was read again since then keeps its newer values.
    """
    report = ReplayReport()
    for reject in waiting:
        report.looked_at += 1
        payload = Payload(reject.payload.encode(), reject.run_id)
        run = flatten(payload, thread_id=reject.thread_id)
        if not isinstance(run, Run):
            continue
        written = store.replay(Replay(reject, run, tuple(drift_of([run]))))
        if written is not None:
            report.replayed += 1
            report.runs_created += written[0]
            report.runs_updated += written[1]
    return report
