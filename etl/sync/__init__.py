"""The pipeline: sync = all threads, pass = one thread; workers, batching, outcomes."""

from etl.sync.checking import check_threads
from etl.sync.discovering import discover_by_list, discover_by_query
from etl.sync.ports import (
    Discover,
    Reader,
    Source,
    Store,
    SyncedSource,
    ThreadLister,
    Watcher,
)
from etl.sync.reading import read_thread, read_untrusted_thread
from etl.sync.replaying import replay_rejects
from etl.sync.sync import sync
from etl.sync.verifying import verify_thread

__all__ = [
    "Discover",
    "Reader",
    "Source",
    "Store",
    "SyncedSource",
    "ThreadLister",
    "Watcher",
    "check_threads",
    "discover_by_list",
    "discover_by_query",
    "read_thread",
    "read_untrusted_thread",
    "replay_rejects",
    "sync",
    "verify_thread",
]
