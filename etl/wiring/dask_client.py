"""A Dask cluster, reached or started: its client, its workers, what its tasks answer."""

import asyncio
import logging
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from importlib.util import find_spec
from typing import Any

from etl.domain.errors import ClusterError, ConfigError

LOCAL = "local"
SILENT = logging.CRITICAL + 1
CONNECT_SECONDS = 10.0
WORKERS_SECONDS = 10.0
"""How long workers may take to come, when there is none yet."""

MOST_ANSWER_SECONDS = 30.0

AGAIN = "What was committed stands; run the command again, and it goes on from there."


def require_distributed() -> None:
    """Raise ConfigError where Dask's distributed is not installed; silence it elsewhere."""
    if find_spec("distributed") is None:
        raise ConfigError(
            "A sync on a cluster needs the package distributed; run"
            " `pip install 'runtide[cluster]'`, here and for every worker."
        )
    import distributed  # noqa: F401, PLC0415  # an extra; it sets its loggers up

    for name in [*logging.root.manager.loggerDict, "tornado.application"]:
        if name.partition(".")[0] in {"distributed", "tornado"}:
            logging.getLogger(name).setLevel(SILENT)  # what they have to say, we say


@contextmanager
def cluster_client(
    address: str, *, workers: int, environment: dict[str, str]
) -> Iterator[Any]:
    """The client of a scheduler, or of a cluster of so many workers on this machine.

    `environment` is for the workers of this machine. Raises ClusterError where nobody
    answers, ConfigError where the address cannot be one.
    """
    from distributed import Client, LocalCluster  # noqa: PLC0415  # an extra

    if address != LOCAL:
        _knock(address)
        with Client(address, timeout=CONNECT_SECONDS, set_as_default=False) as client:  # type: ignore[no-untyped-call]
            yield client
        return
    with (
        LocalCluster(  # type: ignore[no-untyped-call]
            n_workers=workers,
            threads_per_worker=1,
            host="127.0.0.1",
            dashboard_address=None,
            # Even so it takes a port, and complains where that is not free.
            scheduler_kwargs={"dashboard_address": "127.0.0.1:0"},
            # Others on this machine could have it run what they like, without keys.
            security=True,
            silence_logs=logging.CRITICAL,
            env=environment,
            preload=["etl.wiring.shard"],
        ) as cluster,
        Client(cluster, set_as_default=False) as client,  # type: ignore[no-untyped-call]
    ):
        yield client


def _knock(address: str) -> None:
    """Raise unless a scheduler answers; a client that fails is long in failing."""
    try:
        _reach(address)
    except OSError as error:
        raise ClusterError(
            f"No Dask scheduler answers at {address} ({error.strerror or error}); check the"
            " address, and that `dask scheduler` runs there."
        ) from error
    except (TypeError, ValueError) as error:
        raise ConfigError(
            f"No Dask scheduler can be at {address!r}: {error}; write --dask as"
            " tcp://host:8786, as tls://host:8786 with Dask's certificates configured,"
            " or as local."
        ) from error


def _reach(address: str) -> None:
    """Connect, first without Dask, which says less and waits for a closed port to open."""
    from distributed import Security  # noqa: PLC0415  # an extra
    from distributed.comm.addressing import get_address_host_port  # noqa: PLC0415
    from distributed.comm.core import connect  # noqa: PLC0415

    socket.create_connection(get_address_host_port(address), CONNECT_SECONDS).close()

    async def reach() -> None:
        keys = Security().get_connection_args("client")  # type: ignore[no-untyped-call]
        reached = connect(address, timeout=CONNECT_SECONDS, **keys)  # type: ignore[no-untyped-call]
        await (await reached).close()

    asyncio.run(reach())


def worker_threads(client: Any, address: str) -> int:
    """How many threads the workers have; raises where there are none, or not as we are."""
    try:
        client.wait_for_workers(1, timeout=WORKERS_SECONDS)
    except TimeoutError as error:
        raise ClusterError(
            f"The Dask cluster at {address} has no workers; start some with"
            f" `dask worker {address}`."
        ) from error
    ours = version("runtide")
    theirs = client.run(version, "runtide", on_error="return")
    for worker, found in theirs.items():
        if found != ours:
            has = f"runtide {found}" if isinstance(found, str) else "no runtide"
            raise ConfigError(
                f"Worker {worker} has {has}, and this is runtide {ours}; install the same"
                " for every worker, and start them again."
            )
    return sum(client.nthreads().values())


def is_connected(client: Any) -> bool:
    """Whether the scheduler is there, as far as is known."""
    return bool(client.status == "running")


def has_workers(client: Any) -> bool:
    """Whether there is a worker; a scheduler that is gone shows in its tasks, not here."""
    try:
        return not is_connected(client) or bool(client.nthreads())
    except (OSError, RuntimeError, TimeoutError):
        return True


def answer_of(task: Any, address: str) -> Any:
    """What a task that is done has answered; raises ClusterError where it was lost."""
    from distributed import KilledWorker  # noqa: PLC0415  # an extra

    if task.status == "error" and not isinstance(task.exception(), KilledWorker):
        return task.result()  # which raises: a defect
    if task.status == "error":
        raise ClusterError(
            "Workers of the cluster died again and again, the last one at"
            f" {task.exception().last_worker.address}; their logs, or the system's, say"
            f" why: often it is memory. {AGAIN}"
        )
    try:
        return task.result(MOST_ANSWER_SECONDS)
    except Exception as error:  # a task that was lost has many errors
        raise ClusterError(
            f"The Dask scheduler at {address} went away during the sync. {AGAIN}"
        ) from error


def default_workers() -> int:
    """How many workers this machine should have."""
    return os.cpu_count() or 1
