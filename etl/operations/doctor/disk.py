"""Where the data is: closed to others, and with room left."""

import os
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path

from etl.config import EMBEDDED, Settings
from etl.operations.doctor.finding import Finding, Place

PLACE = Place("data directory")
GIBIBYTE = 2**30
LEAST_FREE = GIBIBYTE

OPEN_TO_OWNER = 0o700
OPEN_TO_ROOTS_GROUP = 0o710
"""Root's server belongs to a user in root's group, who has to pass through."""


def check_disk(settings: Settings) -> Iterator[Finding]:
    """Check the embedded server's directory; of any other server it is not known."""
    if settings.database_url != EMBEDDED:
        yield PLACE.ok("free space", "unknown, the database is not the embedded one")
        return
    path = settings.data_dir
    if path.is_dir():
        yield PLACE.guarded("permissions", lambda: permissions(path))
    else:
        why = f"there is no {path} yet"
        yield PLACE.left_out("permissions", why)
    yield PLACE.guarded("free space", lambda: free_space(path))


def permissions(path: Path) -> Finding:
    """Who may look into the directory."""
    mode = stat.S_IMODE(path.stat().st_mode)
    allowed = OPEN_TO_ROOTS_GROUP if os.geteuid() == 0 else OPEN_TO_OWNER
    if mode & ~allowed:
        return PLACE.warning(
            "permissions",
            f"{path} is open to other users of this machine ({mode:04o})",
            f"run `chmod {allowed:o} {path}`",
        )
    return PLACE.ok("permissions", f"{path} is closed to other users")


def free_space(path: Path, *, least: int = LEAST_FREE) -> Finding:
    """How much room there is, at the nearest directory that is there."""
    there = next(each for each in (path, *path.parents) if each.is_dir())
    free = shutil.disk_usage(there).free
    if free < least:
        return PLACE.warning(
            "free space",
            f"less than {least / GIBIBYTE:,.0f} GiB is left at {there}",
            "make room, or set [database] data_dir to a larger disk",
        )
    return PLACE.ok("free space", f"more than {least / GIBIBYTE:,.0f} GiB is left")
