"""A sync on a Dask cluster: shards of it, each of which leases until nothing is left."""

import asyncio
import logging
import socket
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from importlib.metadata import version
from threading import Event
from typing import Any

from distributed import CancelledError, Client, KilledWorker, LocalCluster, Security
from distributed.comm.addressing import get_address_host_port
from distributed.comm.core import connect
from sqlalchemy.engine import URL, Engine

from etl.config import EMBEDDED, Settings
from etl.domain.errors import ClusterError, ConfigError, SyncError
from etl.domain.outcome import Failure, Outcome, SyncReport
from etl.load.figures import figures
from etl.load.holding import Hold, has_nothing_left, is_under_way, leave_open, sharing
from etl.wiring.parts import ready_database, source_ids
from etl.wiring.shard import shard, told
from etl.wiring.syncs import Watch

LOCAL = "local"
MOST_SHARDS = 32  # each has a few connections to the database
LOOK_SECONDS = 0.5
PATIENCE_SECONDS = 10.0
WORKERS_SECONDS = 30.0
"""How long there may be no worker, or one that has nothing to do and does not end."""

AGAIN = "What was committed stands; run the command again, and it goes on from there."

for name in ("distributed", "distributed.client", "distributed.gc", "tornado.application"):
    logging.getLogger(name).setLevel(logging.CRITICAL)  # what they have to say, we say


def run_on_cluster(
    settings: Settings,
    *,
    source: str | None,
    address: str,
    shards: int | None,
    watch: Watch,
    stop: Event,
) -> SyncReport:
    """Sync all sources, or one, by the workers of a cluster; answer what all of them did.

    It takes part in the sync itself, without reading: so the sync lasts until each shard
    has seen that nothing is left, also one that began late. Raises as `run_sync` does;
    ClusterError leaves the sync open, for the next one to go on with.
    """
    if address != LOCAL and settings.database_url == EMBEDDED:
        raise ConfigError(
            "The embedded database cannot be reached by a cluster; set RUNTIDE_DATABASE_URL"
            " here and for every worker, or use `--dask local`."
        )
    chosen = settings.asked_sources(source)
    with (
        ready_database(settings) as engine,
        _cluster(address, shards, engine.url) as cluster,
        Client(cluster, timeout=PATIENCE_SECONDS, set_as_default=False) as client,  # type: ignore[no-untyped-call]
    ):
        wish = client.submit(version, "runtide")  # a cluster may grow with what it is asked
        for _ in _looks([wish], client, address, stop):
            if client.nthreads():
                break
        _require_same(client, address)
        number = shards or max(1, min(MOST_SHARDS, sum(client.nthreads().values())))
        ids, window = source_ids(engine, chosen), settings.config.sync.time_allowed
        with sharing(engine, ids, trigger="sync", window=window) as hold:
            facts = *told(settings), source
            tasks = [client.submit(shard, *facts, pure=False) for _ in range(number)]
            try:
                with watch() as watcher:
                    for _ in _looks(tasks, client, address, stop):
                        watcher.progressed(figures(engine, hold.sync_id))
                answers = [_answer(each, address) for each in tasks if each.done()]
            except ClusterError:
                client.close()  # so that nobody wants the shards any more
                leave_open(hold, patience=PATIENCE_SECONDS)
                raise
        client.close()
        return _report(_ended(engine, hold, stop), answers)


def _cluster(
    address: str, shards: int | None, database: URL
) -> AbstractContextManager[Any]:
    """Workers of this machine, or the address of a scheduler, once it has answered."""
    if address != LOCAL:
        _knock(address)
        return nullcontext(address)
    return LocalCluster(  # type: ignore[no-untyped-call]
        n_workers=shards,
        threads_per_worker=1,
        dashboard_address=None,
        # Even so it takes a port, and complains where that is not free.
        scheduler_kwargs={"dashboard_address": "127.0.0.1:0"},
        # Others on this machine could have it run what they like, without keys.
        security=True,
        silence_logs=logging.CRITICAL,
        env={"RUNTIDE_DATABASE_URL": database.render_as_string(hide_password=False)},
        # A terminal sends Ctrl-C to all of them, and it is for the command.
        preload="import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)",
    )


def _knock(address: str) -> None:
    """Raise unless a scheduler answers; Dask's client would wait for long, or for ever."""

    async def reach() -> None:
        keys = Security().get_connection_args("client")  # type: ignore[no-untyped-call]
        comm = await asyncio.wait_for(connect(address, **keys), PATIENCE_SECONDS)  # type: ignore[no-untyped-call]
        comm.abort()

    try:
        socket.create_connection(get_address_host_port(address), PATIENCE_SECONDS).close()
        asyncio.run(reach())
    except (OSError, TypeError, ValueError) as error:
        kind = ClusterError if isinstance(error, OSError) else ConfigError
        raise kind(
            f"No Dask scheduler answers at {address} ({str(error) or 'silence'}); check"
            " that `dask scheduler` runs there, and write tcp://host:8786, tls://host:8786"
            " with Dask's certificates configured, or local."
        ) from error


def _looks(tasks: list[Any], client: Client, address: str, stop: Event) -> Iterator[None]:
    """Look now and then, until all tasks are done or somebody asks to stop.

    Raises ClusterError where there are no workers, and none come.
    """
    alone = 0
    while not (all(task.done() for task in tasks) or stop.wait(LOOK_SECONDS)):
        yield
        alone = 0 if client.scheduler_info(n_workers=1).get("workers") else alone + 1
        if alone * LOOK_SECONDS > WORKERS_SECONDS:
            raise ClusterError(
                f"The Dask cluster at {address} has no workers; start some with"
                f" `dask worker {address}`, and run the command again."
            )


def _require_same(client: Client, address: str) -> None:
    """Raise ConfigError where a worker has another version of runtide, or none.

    One that leaves meanwhile gets no shard; ClusterError tells of one that stands still.
    """
    ours = version("runtide")
    for worker, theirs in _versions(client, address).items():
        if theirs != ours and not isinstance(theirs, OSError):
            has = f"runtide {theirs}" if isinstance(theirs, str) else "no runtide"
            raise ConfigError(
                f"Worker {worker} has {has}, and this is runtide {ours}; install the same"
                " for every worker, and start them again."
            )


def _versions(client: Client, address: str) -> dict[str, Any]:
    """What each worker says of its runtide: a version, or why it has none."""
    ask = partial(client.run, version, "runtide", on_error="return")
    try:
        answers: dict[str, Any] = ask(callback_timeout=PATIENCE_SECONDS)
    except TimeoutError as error:
        raise ClusterError(
            f"Not all workers of the Dask cluster at {address} answer; end those that stand"
            " still, and run the command again."
        ) from error
    return answers


def _answer(task: Any, address: str) -> Any:
    """What a shard has to say; raises ClusterError where it was lost."""
    try:
        return task.result(PATIENCE_SECONDS)
    except KilledWorker as error:
        raise ClusterError(
            "Workers of the cluster died again and again, the last one at"
            f" {error.last_worker.address}; their logs, or the system's, say why: often it"
            f" is memory. {AGAIN}"
        ) from error
    except (CancelledError, OSError) as error:
        raise ClusterError(
            f"The Dask scheduler at {address} went away during the sync. {AGAIN}"
        ) from error


def _ended(engine: Engine, hold: Hold, stop: Event) -> SyncReport:
    """What all have done once the last has left, or is waited for too long after a stop.

    Raises ClusterError where nothing is left to do, and one does not leave all the same.
    """
    waited = idle = 0.0
    while waited < PATIENCE_SECONDS and is_under_way(engine, hold):
        time.sleep(LOOK_SECONDS)
        waited += stop.is_set() * LOOK_SECONDS
        idle = idle + LOOK_SECONDS if has_nothing_left(engine, hold) else 0.0
        if idle > WORKERS_SECONDS:
            raise ClusterError(
                f"Sync {hold.sync_id} has nothing left to read, but a process that takes"
                " part in it does not end; end the worker or the `runtide sync` that stands"
                " still, and run the command again."
            )
    return figures(engine, hold.sync_id)


def _report(report: SyncReport, answers: list[SyncReport | SyncError]) -> SyncReport:
    """The ledger's figures, with what the shards had to say."""
    refusals = [each for each in answers if isinstance(each, SyncError)]
    if refusals and len(refusals) == len(answers):
        raise refusals[0]
    reports = [each for each in answers if isinstance(each, SyncReport)]
    report.threads_found = sum(each.threads_found for each in reports)
    errors = [error for each in reports for error in each.errors]
    errors += [Failure(source="cluster", thread=None, message=str(e)) for e in refusals]
    report.errors = list(dict.fromkeys(errors)) or report.errors
    if refusals and report.outcome is Outcome.SUCCEEDED:
        report.outcome = Outcome.PARTIAL
    return report
