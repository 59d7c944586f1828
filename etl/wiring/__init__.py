"""The composition root: the only place that builds parts and closes them."""

from etl.wiring.checks import Verified, repair, replay, verify, verify_again
from etl.wiring.parts import (
    database,
    database_url,
    embedded,
    ready_database,
    source_ids,
    write_config,
)
from etl.wiring.syncs import Watch, run_backfill, run_sync

__all__ = [
    "Verified",
    "Watch",
    "database",
    "database_url",
    "embedded",
    "ready_database",
    "repair",
    "replay",
    "run_backfill",
    "run_sync",
    "source_ids",
    "verify",
    "verify_again",
    "write_config",
]
