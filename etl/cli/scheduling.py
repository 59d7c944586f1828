"""`runtide schedule`: syncs that begin by themselves, in the foreground."""

import logging
import os
import threading
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from etl.cli.logs import LogFormat
from etl.cli.options import Options, settings_of
from etl.cli.progress import silence
from etl.cli.syncing import stop_on_signals
from etl.cli.terminal import now
from etl.domain.errors import DatabaseError, SchemaError
from etl.domain.outcome import SyncReport

if TYPE_CHECKING:
    from etl.config import Settings
    from etl.operations.scheduling import Scheduler
    from etl.operations.standing import Standing

ENDED_BY_FORCE = 1

log = logging.getLogger(__name__)


def add_to(app: typer.Typer) -> None:
    """Add the commands of this family."""
    app.command()(schedule)


def schedule(
    context: typer.Context,
    metrics_addr: Annotated[
        str | None,
        typer.Option(
            "--metrics-addr",
            metavar="HOST:PORT",
            help="Serve /metrics, /healthz and /readyz there.",
        ),
    ] = None,
    on_start: Annotated[
        bool, typer.Option("--on-start", help="Sync once at the start, too.")
    ] = False,
) -> None:
    """Sync whenever [schedule] says so, until SIGTERM or Ctrl-C."""
    from etl import wiring  # noqa: PLC0415  # slow to import
    from etl.operations.afterwards import require_metrics_file  # noqa: PLC0415

    options: Options = context.obj
    options.set_up_logs(default=LogFormat.AUTO)
    settings = settings_of(context)
    with stop_on_signals() as stop, ExitStack() as parts:
        wiring.with_keys(settings, None)
        require_metrics_file(settings)
        scheduler = _scheduler(settings, stop, on_start=on_start)
        parts.enter_context(wiring.database_url(settings))  # up between syncs, if embedded
        _refuse_a_wrong_schema(settings)
        address = metrics_addr or settings.config.metrics.address
        if address is not None:
            _serve(parts, scheduler, address)
        if not scheduler.run(stop):
            # Its worker waits for an answer that never comes; Python would wait for it.
            os._exit(ENDED_BY_FORCE)


def _scheduler(
    settings: "Settings", stop: threading.Event, *, on_start: bool
) -> "Scheduler":
    import msgspec  # noqa: PLC0415

    from etl.operations.alerts import alerts_of  # noqa: PLC0415
    from etl.operations.exporting import with_exports  # noqa: PLC0415
    from etl.operations.incidents import Incidents  # noqa: PLC0415
    from etl.operations.scheduling import Scheduler, Tasks  # noqa: PLC0415

    def sleep(seconds: float) -> None:
        stop.wait(seconds)

    alerts = alerts_of(settings, sleep=sleep)
    entries = settings.schedule
    if on_start:
        entries = tuple(msgspec.structs.replace(each, on_start=True) for each in entries)
    incidents = Incidents(alerts.send, now=now)
    sync = partial(sync_by_schedule, settings, stop)
    tasks = Tasks(
        sync=with_exports(sync, settings, incidents, stop),
        look=partial(_look, settings),
        incidents=incidents,
        now=now,
    )
    return Scheduler(entries, tasks)


def sync_by_schedule(
    settings: "Settings", stop: threading.Event, source: str | None
) -> SyncReport:
    """One sync of all sources, or of one, as a scheduler makes it."""
    from etl import wiring  # noqa: PLC0415

    return wiring.run_sync(
        settings, source=source, thread=None, watch=silence, stop=stop, trigger="schedule"
    )


def _look(settings: "Settings") -> "Standing":
    """See how things stand, and write the metrics file."""
    from etl.operations.afterwards import look_around, write_metrics  # noqa: PLC0415

    standing = look_around(settings, settings.schedule)
    if trouble := write_metrics(settings, standing):
        log.error("metrics file not written", extra={"error": trouble})
    return standing


def _refuse_a_wrong_schema(settings: "Settings") -> None:
    """A schema needs a person; a database that is away is waited for."""
    from etl import wiring  # noqa: PLC0415

    try:
        with wiring.ready_database(settings):
            pass
    except SchemaError:
        raise
    except DatabaseError:
        pass


def _serve(parts: ExitStack, scheduler: "Scheduler", address: str) -> None:
    from etl.operations.metrics import as_text, registry_of  # noqa: PLC0415
    from etl.operations.serving import serving  # noqa: PLC0415

    registry = registry_of(lambda: scheduler.standing)
    parts.enter_context(
        serving(
            address,
            metrics=lambda: as_text(registry),
            healthy=scheduler.unhealthy,
            ready=scheduler.unready,
        )
    )
