"""Exports that follow syncs: whatever becomes of one, the next sync comes."""

import logging
from collections.abc import Callable, Sequence
from threading import Event

from etl import wiring
from etl.config import ExportConfig, Settings
from etl.domain.errors import DatabaseError, HeldError, StoppedError, SyncError
from etl.domain.outcome import Outcome, SyncReport
from etl.operations.incidents import Incidents

log = logging.getLogger(__name__)

LOOK_SECONDS = 10.0
RETRY_SECONDS = 60.0
NEVER = object()

Sync = Callable[[str | None], SyncReport]


def with_exports(sync: Sync, settings: Settings, incidents: Incidents, stop: Event) -> Sync:
    """A sync that [[exports]] follow, unless it failed outright or was interrupted."""

    def synced(source: str | None) -> SyncReport:
        report = sync(source)
        if report.outcome in {Outcome.SUCCEEDED, Outcome.PARTIAL}:
            for entry in settings.exports:
                _export(settings, entry, incidents, stop)
        return report

    return synced


def follow_syncs(
    settings: Settings, entries: Sequence[ExportConfig], incidents: Incidents, stop: Event
) -> None:
    """Export, and again after each sync, whoever makes it, until `stop` is set.

    What fails is tried again a minute later; a database that is away is waited for.
    """
    done_after: object = NEVER
    while not stop.is_set():
        patience = LOOK_SECONDS
        try:
            ended_at = wiring.last_sync_at(settings)
        except DatabaseError as error:
            log.warning("database away", extra={"error": str(error)})
            patience = RETRY_SECONDS
        else:
            if ended_at != done_after:
                done = [_export(settings, each, incidents, stop) for each in entries]
                done_after = ended_at if all(done) else NEVER
                patience = LOOK_SECONDS if all(done) else RETRY_SECONDS
        stop.wait(patience)


def _export(
    settings: Settings, entry: ExportConfig, incidents: Incidents, stop: Event
) -> bool:
    """Export once, and answer whether it went well; a failure is told as a sync's is."""

    def watch(_: object) -> None:
        if stop.is_set():
            raise StoppedError("The export was stopped; the one before it stands.")

    name = f"export {entry.to}"
    try:
        done = wiring.export(settings, entry, is_full=False, watch=watch)
    except (HeldError, StoppedError) as error:
        log.info("export left out", extra={"reason": str(error)})
    except SyncError as error:
        log.error("export failed", extra={"error": str(error)})  # noqa: TRY400
        incidents.begin(name, "failed", f"An export failed: {error}")
    except Exception as error:  # a defect of ours must not end the syncs to come
        log.exception("export broke")
        told = f"This is a defect in runtide, {type(error).__name__}."
        incidents.begin(name, "failed", told)
    else:
        facts = {"to": done.to, "rows": done.rows, "files": done.files}
        facts |= {"months_rewritten": done.months_rewritten, "bytes": done.bytes}
        log.info("export ended", extra=facts)
        incidents.end(name, f"Exports to {done.to} go well again,")
        return True
    return False
