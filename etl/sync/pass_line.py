"""What the log says of one pass, in one line when it ends."""

import logging
import time

from etl.domain.batch import Increment, TrackedThread
from etl.domain.errors import SyncError

log = logging.getLogger(__name__)

SOURCE_UNAVAILABLE = "source unavailable"


class PassLine:
    """Counts one pass of a thread, and tells how it ended."""

    def __init__(self, thread: TrackedThread, *, source: str, sync_id: int) -> None:
        self._thread = thread
        self._source = source
        self._sync_id = sync_id
        self._pages = self._runs = self._rejects = 0
        self._began = time.monotonic()

    def count(self, increment: Increment) -> None:
        """Count what one page added."""
        self._pages += 1
        self._runs += len(increment.runs)
        self._rejects += len(increment.rejects)

    def ended(self) -> None:
        """The thread was read to its end."""
        if log.isEnabledFor(logging.INFO):
            log.info("pass ended", extra=self._figures())

    def stopped(self) -> None:
        """Somebody asked the sync to stop before the thread's end."""
        if log.isEnabledFor(logging.INFO):
            log.info("pass stopped", extra=self._figures())

    def lost(self) -> None:
        """Another process reads the thread now; this one had not answered for too long."""
        log.warning("pass given up", extra=self._figures())

    def failed(self, error: SyncError) -> None:
        """The pass ended early; that a tombstone is gone still is no news."""
        level = logging.INFO if self._thread.is_gone else logging.WARNING
        if log.isEnabledFor(level):
            log.log(level, "pass failed", extra=self._figures() | trouble(error))

    def source_failed(self, error: SyncError) -> None:
        """Nothing more can be had from the whole source; told once for all its threads."""
        fields = {"sync_id": self._sync_id, "source": self._source}
        log.warning(SOURCE_UNAVAILABLE, extra=fields | trouble(error))

    def _figures(self) -> dict[str, object]:
        return {
            "sync_id": self._sync_id,
            "source": self._source,
            "thread_id": self._thread.thread_id,
            "pages": self._pages,
            "runs": self._runs,
            "rejects": self._rejects,
            "seconds": round(time.monotonic() - self._began, 3),
        }


def tell_undiscovered(error: SyncError, *, source: str, sync_id: int) -> None:
    """New threads of a source could not be found, or not all of them."""
    log.warning(
        "discovery failed", extra={"sync_id": sync_id, "source": source} | trouble(error)
    )


def trouble(error: SyncError) -> dict[str, object]:
    """The fields that tell of an error."""
    return {"error": told(error), "request_id": _request_id(error)}


def told(error: SyncError) -> str:
    """The error's message, fit for a terminal and for Postgres, whatever a server said."""
    return "".join(c if c.isprintable() else "�" for c in str(error))


def _request_id(error: BaseException | None) -> str | None:
    """The request id of an error, or of the one that it stands for."""
    if not isinstance(error, SyncError):
        return None
    return error.request_id or _request_id(error.__cause__)
