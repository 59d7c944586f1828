"""The server's log: a file that cannot grow without end."""

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from etl.load.embedded.cluster import trouble

MAX_BYTES = 1_000_000
FULL_BYTES = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class LogTail:
    """What one start of the server adds to the log."""

    path: Path
    begin: int

    def reason(self) -> str:
        """Why the server did not start."""
        with self.path.open("rb") as log:
            log.seek(self.begin)
            last = trouble(log.read().decode(errors="replace"))
        if last is not None:
            return last
        if shutil.disk_usage(self.path.parent).free < FULL_BYTES:
            return "the disk is full"
        return "it wrote nothing to its log"


def open_log(path: Path) -> tuple[int, LogTail]:
    """Open the log to append to; a long one is set aside as `log.1` first."""
    if path.exists() and path.stat().st_size > MAX_BYTES:
        path.replace(path.with_name(f"{path.name}.1"))
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW
    log = os.open(path, flags, 0o600)
    return log, LogTail(path=path, begin=os.fstat(log).st_size)
