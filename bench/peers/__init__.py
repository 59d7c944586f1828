"""What a peer is asked to do; each module beside this one does it with its own parts.

A peer runs in an environment of its own, so this file imports nothing but Python's.
"""

import os
import sys
from dataclasses import dataclass
from pathlib import Path

WORKERS = 8
"""Threads that ask the API at once; as many as runtide has workers by default."""

PAGE_SIZE = 100
"""Runs per request, the most that the API sends."""


DATABASE_URL = "BENCH_DATABASE_URL"
"""The variable with the database's address; its password is nobody else's business."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """Copy the runs of all threads from the API into the database."""

    base_url: str
    database_url: str
    thread_ids: tuple[str, ...]


def order() -> Order:
    """The order: the API's address and a file of thread ids are the arguments."""
    base_url, threads = sys.argv[1:]
    return Order(
        base_url=base_url,
        database_url=os.environ[DATABASE_URL],
        thread_ids=tuple(Path(threads).read_text(encoding="utf-8").split()),
    )
