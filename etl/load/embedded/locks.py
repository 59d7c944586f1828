"""Advisory locks that end with the process that holds them."""

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from etl.domain.errors import DatabaseError

if sys.platform != "win32":
    import fcntl

POLL_SECONDS = 0.005


def open_lock(path: Path) -> int:
    """Open a lock file without locking it; returns its file descriptor."""
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)


def share(lock: int) -> None:
    """Lock it together with others; waits while somebody is alone."""
    fcntl.flock(lock, fcntl.LOCK_SH)


def is_alone(lock: int) -> bool:
    """Lock it against everybody else, if nobody else holds it.

    A shared lock held before is lost by asking.
    """
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


@contextmanager
def opened(path: Path) -> Iterator[int]:
    """A lock file that is closed, and thereby unlocked, at the end."""
    lock = open_lock(path)
    try:
        yield lock
    finally:
        os.close(lock)


@contextmanager
def alone(path: Path) -> Iterator[None]:
    """Wait until nobody else holds the lock, then hold it."""
    with opened(path) as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def polls(seconds: float, *, complaint: str) -> Iterator[None]:
    """Yield every few milliseconds; after `seconds` the complaint is raised."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        yield
        time.sleep(POLL_SECONDS)
    raise DatabaseError(complaint)
