"""A shard of a shared sync, as a worker of a Dask cluster does it in one of its threads."""

import os
from contextlib import nullcontext
from pathlib import Path
from threading import Event

import msgspec
from distributed import get_worker
from distributed.worker import WORKER_ANY_RUNNING

from etl.config import EMBEDDED, Config, Settings
from etl.domain.errors import ClusterError, ConfigError, SyncError
from etl.domain.outcome import SyncReport
from etl.wiring.syncs import run_sync


def told(settings: Settings) -> tuple[str, bytes]:
    """What a worker is told: no environment and no database, so nothing that is secret."""
    whole = settings.config
    config = Config(sources=whole.sources, sync=whole.sync, schedule=whole.schedule)
    return str(settings.path), msgspec.json.encode(config)


def shard(path: str, told: bytes, source: str | None) -> SyncReport | SyncError:
    """Take part in the sync that is under way, until nothing of it is left.

    An error is an answer: nobody would be helped by its traceback in a worker's log.
    """
    config = msgspec.json.decode(told, type=Config)
    settings = Settings(path=Path(path), config=config, environment=os.environ)
    try:
        if settings.database_url == EMBEDDED:
            raise ConfigError(
                "RUNTIDE_DATABASE_URL is not set there; set it for every worker to the"
                " URL of the database that all share."
            )
        return run_sync(
            settings, source=source, thread=None, watch=_watch, stop=_Unwanted(), join=True
        )
    except SyncError as error:
        return type(error)(f"Worker {get_worker().address}: {error}")
    except OSError as error:  # of its machine; at the command it would look like Dask's
        return ClusterError(f"Worker {get_worker().address}: {error}")


class _Unwanted(Event):
    """Set once the task of this thread was cancelled, or its worker leaves.

    Also where whoever submitted it is gone. A task is told of none of it; so it looks.
    """

    def __init__(self) -> None:
        super().__init__()
        self._worker = get_worker()
        self._task = self._worker.state.tasks[self._worker.get_current_task()]

    def is_set(self) -> bool:
        """Whether the sync should end here."""
        is_running = self._worker.status in WORKER_ANY_RUNNING
        return not is_running or self._task.state != "executing"


class _Watcher:
    def progressed(self, report: SyncReport) -> None:
        """Whoever submitted the shards looks into the ledger."""


def _watch() -> nullcontext[_Watcher]:
    return nullcontext(_Watcher())
