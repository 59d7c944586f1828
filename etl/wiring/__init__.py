"""The composition root: the only place that builds parts and closes them.

A part is imported when it is first asked for: `status` needs no HTTP.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from etl.wiring.checks import Verified, repair, replay, verify, verify_again
    from etl.wiring.exporting import export
    from etl.wiring.parts import (
        database,
        database_url,
        embedded,
        ready_database,
        source_ids,
        write_config,
    )
    from etl.wiring.syncs import Watch, run_backfill, run_sync, with_keys

__all__ = [
    "Verified",
    "Watch",
    "database",
    "database_url",
    "embedded",
    "export",
    "ready_database",
    "repair",
    "replay",
    "run_backfill",
    "run_sync",
    "source_ids",
    "verify",
    "verify_again",
    "with_keys",
    "write_config",
]

_OF_CHECKS = {"Verified", "repair", "replay", "verify", "verify_again"}
_OF_SYNCS = {"Watch", "run_backfill", "run_sync", "with_keys"}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = "checks" if name in _OF_CHECKS else "syncs" if name in _OF_SYNCS else "parts"
    module = "exporting" if name == "export" else module
    return getattr(import_module(f"{__name__}.{module}"), name)
