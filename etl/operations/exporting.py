"""Exports that follow a scheduled sync: whatever becomes of one, the next sync comes."""

import logging
from collections.abc import Callable
from threading import Event

from etl import wiring
from etl.config import ExportConfig, Settings
from etl.domain.errors import HeldError, StoppedError, SyncError
from etl.domain.outcome import Outcome, SyncReport
from etl.operations.incidents import Incidents

log = logging.getLogger(__name__)

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


def _export(
    settings: Settings, entry: ExportConfig, incidents: Incidents, stop: Event
) -> None:
    """One export; one that fails is told of as a failed sync is."""

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
