"""What the log says of a whole sync: one line when it begins and one when it ends."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict

from etl.domain.errors import SyncError
from etl.domain.outcome import Outcome, SyncReport
from etl.sync.pass_line import told

log = logging.getLogger(__name__)

LEVELS = {
    Outcome.SUCCEEDED: logging.INFO,
    Outcome.PARTIAL: logging.WARNING,
    Outcome.INTERRUPTED: logging.WARNING,
    Outcome.FAILED: logging.ERROR,
}


@contextmanager
def journaled(report: SyncReport, *, trigger: str) -> Iterator[None]:
    """Tell of a sync; an error that ends it is told too."""
    what = {"sync_id": report.sync_id, "trigger": trigger}
    log.info("sync began", extra=what)
    try:
        yield
    except KeyboardInterrupt:
        report.outcome = Outcome.INTERRUPTED
        log.warning("sync ended", extra=what | figures(report))
        raise
    except Exception as error:
        trouble = {"error": said(error)}
        log.exception("sync ended", extra=what | figures(report) | trouble)
        raise
    log.log(LEVELS[report.outcome], "sync ended", extra=what | figures(report))


def figures(report: SyncReport) -> dict[str, object]:
    """All that a report counts, and the first of its errors."""
    counted = asdict(report)
    del counted["sync_id"], counted["errors"]
    first = report.errors[0].sentence if report.errors else None
    return counted | {
        "outcome": report.outcome.value,
        "seconds": round(report.seconds, 3),
        "errors": len(report.errors),
        "held": ", ".join(held.source for held in report.held) or None,
        "error": first,
    }


def said(error: Exception) -> str:
    """What a person is told; of a defect only its kind, for it may quote anything."""
    return told(error) if isinstance(error, SyncError) else type(error).__name__
