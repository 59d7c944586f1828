"""The pipeline: sync = all threads, pass = one thread; workers, batching, outcomes."""

from etl.sync.ports import Source, Store, SyncedSource, Watcher
from etl.sync.sync import sync

__all__ = ["Source", "Store", "SyncedSource", "Watcher", "sync"]
