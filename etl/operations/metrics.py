"""Figures for Prometheus, made of how things stand."""

from collections.abc import Callable, Iterator
from pathlib import Path

from prometheus_client import CollectorRegistry, generate_latest, write_to_textfile
from prometheus_client.core import GaugeMetricFamily as Gauge
from prometheus_client.registry import Collector

from etl.load.overview import WHOLE, SyncOverview
from etl.operations.standing import Standing

STATES = ("complete", "failing", "never_read", "missing", "gone")
FIGURES = (
    "threads",
    "threads_failed",
    "requests",
    "retries",
    "runs_read",
    "runs_created",
    "runs_updated",
    "rejects",
)
"""Figures of the ledger that are told of the last sync."""


class StandingCollector(Collector):
    """Tells of the last standing that is known; of nothing but that, while none is."""

    def __init__(self, standing: Callable[[], Standing | None]) -> None:
        self._standing = standing

    def describe(self) -> list[Gauge]:
        """Nothing that could be told before the first look."""
        return []

    def collect(self) -> Iterator[Gauge]:
        """Every figure, newly made."""
        standing = self._standing()
        yield Gauge(
            "runtide_database_up",
            "Whether the database answered when it was last asked.",
            value=standing is not None,
        )
        if standing is None:
            return
        yield Gauge(
            "runtide_database_bytes", "Size of the database.", standing.database.bytes
        )
        yield from _of_sources(standing)
        yield from _of_syncs(standing.syncs)
        yield Gauge(
            "runtide_needs_a_person",
            "How many things `runtide status` says need a person.",
            value=len(standing.needs),
        )


def _of_sources(standing: Standing) -> Iterator[Gauge]:
    threads = Gauge(
        "runtide_threads", "Tracked threads by state.", labels=["source", "state"]
    )
    through = Gauge(
        "runtide_complete_through_timestamp_seconds",
        "Every thread of the source is complete up to here.",
        labels=["source"],
    )
    good = Gauge(
        "runtide_last_good_sync_timestamp_seconds",
        "When the last sync began that read the source.",
        labels=["source"],
    )
    held = Gauge(
        "runtide_sync_running", "Whether a sync is at work there.", labels=["source"]
    )
    rejects = Gauge("runtide_rejects_waiting", "Payloads in quarantine.", labels=["source"])
    for each in standing.sources:
        for state in STATES:
            threads.add_metric([each.source, state], getattr(each, f"threads_{state}"))
        for gauge, moment in ((through, each.complete_through), (good, each.last_good_at)):
            if moment is not None:
                gauge.add_metric([each.source], moment.timestamp())
        held.add_metric([each.source], each.at_work_since is not None)
        rejects.add_metric([each.source], each.rejects_waiting)
    yield from (threads, through, good, held, rejects)
    yield _overdue(standing)


def _overdue(standing: Standing) -> Gauge:
    return Gauge(
        "runtide_syncs_overdue",
        "Sources whose sync should have begun long ago.",
        value=len(standing.overdue),
    )


def _of_syncs(syncs: list[SyncOverview]) -> Iterator[Gauge]:
    """The last sync that ended, of all that is due."""
    ended = (sync for sync in syncs if sync.finished_at and sync.trigger in WHOLE)
    last = next(ended, None)
    if last is None or last.finished_at is None:
        return
    outcome = Gauge(
        "runtide_last_sync_outcome", "How the last sync ended.", labels=["outcome"]
    )
    outcome.add_metric([last.outcome or "unknown"], 1)
    yield outcome
    yield Gauge(
        "runtide_last_sync_end_timestamp_seconds",
        "When the last sync ended.",
        value=last.finished_at.timestamp(),
    )
    yield Gauge(
        "runtide_last_sync_duration_seconds",
        "How long the last sync took.",
        value=(last.finished_at - last.started_at).total_seconds(),
    )
    for name in FIGURES:
        told = name.replace("_", " ")
        yield Gauge(
            f"runtide_last_sync_{name}",
            f"Figure of the last sync: {told}.",
            value=getattr(last, name),
        )


def registry_of(standing: Callable[[], Standing | None]) -> CollectorRegistry:
    """A registry that holds these figures and nothing of the process."""
    registry = CollectorRegistry()
    registry.register(StandingCollector(standing))
    return registry


def as_text(registry: CollectorRegistry) -> bytes:
    """All figures in Prometheus' text format."""
    return generate_latest(registry)


def write_file(path: Path, standing: Standing) -> None:
    """Write the figures for node_exporter's textfile collector, in one piece or not.

    Raises OSError.
    """
    write_to_textfile(str(path), registry_of(lambda: standing))
