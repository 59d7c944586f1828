"""`runtide sync --dask`: the same sync, by the workers of a Dask cluster."""

import threading
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from etl.domain.errors import ConfigError
from etl.domain.outcome import SyncReport

if TYPE_CHECKING:
    from etl.config import Settings
    from etl.wiring import Watch

Dask = Annotated[
    str | None,
    typer.Option(
        "--dask",
        metavar="ADDRESS|local",
        help="Let the workers of a Dask cluster do it, or of one on this machine.",
    ),
]
Shards = Annotated[
    int | None,
    typer.Option(
        "--shards",
        metavar="N",
        min=1,
        help="How many tasks the cluster gets; one for each of its threads by default.",
    ),
]


class Cluster(NamedTuple):
    """Where a sync is done, and in how many parts, if that was said."""

    address: str
    shards: int | None

    def sync(
        self,
        settings: "Settings",
        *,
        source: str | None,
        watch: "Watch",
        stop: threading.Event,
    ) -> SyncReport:
        """Sync by the workers of the cluster."""
        from etl.wiring.cluster import run_on_cluster  # noqa: PLC0415  # slow to import

        return run_on_cluster(
            settings,
            source=source,
            address=self.address,
            shards=self.shards,
            watch=watch,
            stop=stop,
        )


def cluster_of(dask: str | None, shards: int | None, thread: str | None) -> Cluster | None:
    """The cluster that was asked for; raises ConfigError where that makes no sense."""
    if dask is None and shards is not None:
        raise ConfigError("--shards says how --dask divides a sync; name a cluster, too.")
    if dask is not None and thread is not None:
        raise ConfigError("--dask shares whole syncs; leave out --thread, or --dask.")
    return None if dask is None else Cluster(dask, shards)
