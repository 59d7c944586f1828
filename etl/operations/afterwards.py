"""What follows a sync that somebody else started: alerts, and the metrics file."""

import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime

from etl import wiring
from etl.config import ScheduleConfig, Settings
from etl.domain.errors import ConfigError, DatabaseError, HeldError, StoppedError, SyncError
from etl.domain.outcome import SyncReport
from etl.load.database import connected
from etl.operations.alerts import alerts_of
from etl.operations.incidents import Notice
from etl.operations.standing import Standing, look


@contextmanager
def told(settings: Settings) -> Iterator[Callable[[SyncReport], str | None]]:
    """Tell the recipients of alerts of a sync that fails, or cannot begin.

    Whoever has the report hands it on; the metrics file is written then, and a sentence
    is answered where it cannot be. Raises ConfigError before the sync where an alert or
    the file is not usable.
    """
    alerts = alerts_of(settings, sleep=time.sleep)
    require_metrics_file(settings)

    def fail(sentence: str) -> None:
        now = datetime.now(UTC)
        alerts.send(Notice(event="failed", sentence=sentence, at=now, since=now))

    def hand_on(report: SyncReport) -> str | None:
        if report.outage is not None:
            fail(f"Sync {report.sync_id} failed: {report.outage.sentence}")
        if settings.metrics_file is None:
            return None
        try:
            return write_metrics(settings, look_around(settings, settings.promised))
        except DatabaseError as error:
            return f"The metrics file was not written: {error}"

    try:
        yield hand_on
    except (ConfigError, HeldError, StoppedError):
        raise
    except SyncError as error:
        fail(f"A sync could not begin: {error}")
        raise


def require_metrics_file(settings: Settings) -> None:
    """Raise ConfigError where the metrics file could not be written."""
    path = settings.metrics_file
    if path is not None and not os.access(path.parent, os.W_OK | os.X_OK):
        raise ConfigError(
            f"The metrics file {path} cannot be written, for its directory is missing or"
            " closed; make it, or set [metrics] file to another one."
        )


def look_around(settings: Settings, entries: Sequence[ScheduleConfig]) -> Standing:
    """See how things stand now; `entries` are what is promised.

    Raises DatabaseError where that cannot be seen.
    """
    with wiring.ready_database(settings) as engine, connected(engine) as connection:
        return look(connection, settings, entries, now=datetime.now(UTC))


def write_metrics(settings: Settings, standing: Standing) -> str | None:
    """Write the metrics file if there is to be one; answer why it cannot be written."""
    path = settings.metrics_file
    if path is None:
        return None
    from etl.operations.metrics import write_file  # noqa: PLC0415  # slow to import

    try:
        write_file(path, standing)
    except OSError as error:
        return f"The metrics file {path} was not written: {error.strerror}."
    return None
