"""The composition root: the only place that builds parts and closes them.

A part is imported when it is first asked for: `status` needs no HTTP.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from etl.wiring.checks import Verified, repair, replay, verify, verify_again
    from etl.wiring.exporting import check_export, export, last_sync_at
    from etl.wiring.parts import (
        database,
        database_url,
        embedded,
        ready_database,
        source_ids,
        write_config,
    )
    from etl.wiring.planning import Outlook, outlooks
    from etl.wiring.syncs import Watch, run_backfill, run_sync, with_keys

__all__ = [
    "Outlook",
    "Verified",
    "Watch",
    "check_export",
    "database",
    "database_url",
    "embedded",
    "export",
    "last_sync_at",
    "outlooks",
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

_HOMES = {
    "checks": {"Verified", "repair", "replay", "verify", "verify_again"},
    "exporting": {"check_export", "export", "last_sync_at"},
    "planning": {"Outlook", "outlooks"},
    "syncs": {"Watch", "run_backfill", "run_sync", "with_keys"},
}
"""The module of each name; of all others it is `parts`."""


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    homes = (module for module, names in _HOMES.items() if name in names)
    return getattr(import_module(f"{__name__}.{next(homes, 'parts')}"), name)
