"""`runtide sync --dask`: the same sync, by the workers of a Dask cluster."""

from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from typing import Annotated

import typer

from etl.domain.errors import ConfigError
from etl.domain.outcome import SyncReport

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


def cluster_sync(address: str, shards: int | None) -> Callable[..., SyncReport]:
    """How to sync by the workers of a cluster; raises ConfigError where Dask is missing."""
    if find_spec("distributed") is None:
        raise ConfigError(
            "A sync on a cluster needs the package distributed; run"
            " `pip install 'runtide[cluster]'`, here and for every worker."
        )
    from etl.wiring.cluster import run_on_cluster  # noqa: PLC0415  # an extra

    return partial(run_on_cluster, address=address, shards=shards)
