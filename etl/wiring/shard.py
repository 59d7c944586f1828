"""A shard of a shared sync, as a worker of a Dask cluster does it in one of its threads."""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

from etl.config import EMBEDDED, Settings
from etl.config.sections import Config
from etl.domain.errors import ConfigError, SyncError
from etl.domain.outcome import SyncReport
from etl.load.database import holds_secret
from etl.wiring.syncs import run_sync

DATABASE_URL = "RUNTIDE_DATABASE_URL"

TOLD = ("sources", "sync")
"""The sections that a worker needs; keys and the database's password are its own."""


def told(settings: Settings) -> dict[str, Any]:
    """What a worker is told of the settings: no environment, and nothing secret."""
    url = settings.config.database.url
    if settings.database_url != url or (url != EMBEDDED and holds_secret(url)):
        url = EMBEDDED
    whole = msgspec.to_builtins(settings.config)
    database = whole["database"] | {"url": url}
    return {name: whole[name] for name in TOLD} | {"database": database}


def shard(path: str, config: dict[str, Any], source: str | None) -> SyncReport | SyncError:
    """Take part in the sync that is under way, until nothing of it is left.

    An error is an answer: nobody would be helped by its traceback in a worker's log.
    """
    from distributed import get_worker  # noqa: PLC0415  # an extra

    worker = get_worker()
    settings = Settings(
        path=Path(path), config=msgspec.convert(config, Config), environment=os.environ
    )
    try:
        _require_database(settings)
        return run_sync(
            settings,
            source=source,
            thread=None,
            watch=_nobody,
            stop=Unwanted(worker),
            join=True,
        )
    except SyncError as error:
        return type(error)(f"Worker {worker.address}: {error}")


def dask_setup(worker: Any) -> None:
    """Leave Ctrl-C to the command, where Dask loads this module before a worker begins."""
    del worker
    signal.signal(signal.SIGINT, signal.SIG_IGN)


class Unwanted(threading.Event):
    """Set once its worker does not want the task of this thread any more.

    A task is not told that it was cancelled, that whoever submitted it is gone, or that
    its worker leaves; so it looks.
    """

    def __init__(self, worker: Any) -> None:
        super().__init__()
        self._worker = worker
        self._key = worker.get_current_task()

    def is_set(self) -> bool:
        """Whether the sync should end here."""
        task = self._worker.state.tasks.get(self._key)
        is_wanted = task is not None and task.state != "cancelled"
        return super().is_set() or not is_wanted or self._worker.status.name not in STAYING


STAYING = {"init", "running", "paused"}
"""The states of a worker that does not leave."""


def _require_database(settings: Settings) -> None:
    """Raise ConfigError where the worker would start a database of its own."""
    if settings.database_url == EMBEDDED and DATABASE_URL not in os.environ:
        raise ConfigError(
            f"{DATABASE_URL} is not set there; set it for every worker to the URL of the"
            " database that all share."
        )


class _Nobody:
    def progressed(self, report: SyncReport) -> None:
        """Whoever submitted the shards looks into the ledger."""


@contextmanager
def _nobody() -> Iterator[_Nobody]:
    yield _Nobody()
