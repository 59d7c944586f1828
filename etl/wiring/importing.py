"""`import`: files of run history into the tables of one source."""

import threading
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass

from sqlalchemy.engine import Engine

from etl.config import Settings, SourceConfig
from etl.domain.batch import SourceId
from etl.domain.errors import ConfigError
from etl.domain.importing import ImportReport
from etl.domain.outcome import Failure, SyncReport
from etl.domain.run import Instant, ThreadId
from etl.domain.thread_id import as_thread_id
from etl.extract.archive.files import check_paths, files_of
from etl.load import ledger, threads, tracking
from etl.load.database import connected
from etl.load.holding import holding
from etl.load.importing import ImportStore
from etl.load.trial import TrialStore
from etl.sync.importing import ImportWatcher, Order, import_files
from etl.wiring.journal import journaled
from etl.wiring.parts import ready_database, source_ids
from etl.wiring.privacy import cleaning, privacy_of
from etl.wiring.syncs import in_ledger

ImportWatch = Callable[[int, int], AbstractContextManager[ImportWatcher]]
"""Opens a watcher of so many files with so many bytes, for as long as an import lasts."""

MOST_REMEMBERED = 100_000
"""Threads that are surely tracked; memory is bounded by forgetting all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What somebody wants imported, and how; `-` among the paths is standard input."""

    paths: Sequence[str]
    source: str | None = None
    saved_at: Instant | None = None
    again: bool = False
    track: bool = False


def run_import(
    settings: Settings, wanted: Wanted, *, watch: ImportWatch, stop: threading.Event
) -> ImportReport:
    """Take in what the files hold; answer what happened.

    Raises ConfigError where a path does not exist or there is no such source, HeldError
    where a sync is at work on it, and DatabaseError.
    """
    source = _checked(settings, wanted)
    with ready_database(settings) as engine:
        [source_id] = source_ids(engine, (source,))
        trigger = _trigger(wanted)
        with (
            holding(engine, [source_id], trigger=trigger) as hold,
            in_ledger(engine, hold) as row,
            journaled(row, trigger=trigger),
        ):
            report = ImportReport(sync_id=hold.sync_id)
            store = ImportStore(
                hold.connection,
                source_id,
                sync_id=hold.sync_id,
                now=hold.started_at,
                track=_tracking(engine, source_id) if wanted.track else _nobody,
            )
            order = _order(settings, source, source_id, wanted, hold.started_at)
            with _watched(wanted, watch) as watcher:
                files = files_of(wanted.paths)
                import_files(files, store, report, order, watcher=watcher, stop=stop)
            _fill(row, report)
    return report


def try_import(
    settings: Settings, wanted: Wanted, *, watch: ImportWatch, stop: threading.Event
) -> ImportReport:
    """Answer what an import would do; nothing is written. Raises as `run_import` does."""
    source = _checked(settings, wanted)
    with ready_database(settings) as engine, connected(engine) as connection:
        source_id = threads.known_sources(engine).get(source.name)
        now = ledger.now(engine)
        store = TrialStore(connection, source_id, now=now)
        report = ImportReport(sync_id=None)
        order = _order(settings, source, SourceId(source_id or 0), wanted, now)
        with _watched(wanted, watch) as watcher:
            files = files_of(wanted.paths)
            return import_files(files, store, report, order, watcher=watcher, stop=stop)


def _checked(settings: Settings, wanted: Wanted) -> SourceConfig:
    """The source that is meant; raises ConfigError where anything asked for cannot be."""
    chosen = settings.sources(wanted.source)
    if len(chosen) > 1:
        names = ", ".join(each.name for each in chosen)
        raise ConfigError(f"There are several sources ({names}); name one with --source.")
    [source] = chosen
    if wanted.track and not source.is_asked:
        raise ConfigError(
            f"Source {source.name!r} is an archive and has no server to ask for threads;"
            " leave --track out."
        )
    check_paths(wanted.paths)
    return source


def _trigger(wanted: Wanted) -> str:
    """What stands in the ledger; no path, for it may name a thread."""
    number = len(wanted.paths)
    return "import of " + ("one path" if number == 1 else f"{number:,} paths")


def _order(
    settings: Settings,
    source: SourceConfig,
    source_id: SourceId,
    wanted: Wanted,
    now: Instant,
) -> Order:
    privacy = privacy_of(settings, source)
    return Order(
        source_id=source_id,
        began_at=now,
        saved_at=wanted.saved_at,
        cleaned=cleaning(privacy),
        again=wanted.again or wanted.track or wanted.saved_at is not None,
    )


@contextmanager
def _watched(wanted: Wanted, watch: ImportWatch) -> Iterator[ImportWatcher]:
    """Somebody who watches, told how much there is."""
    number = size = 0
    for file in files_of(wanted.paths):
        number += 1
        size += file.size
    with watch(number, size) as watcher:
        yield watcher


def _tracking(engine: Engine, source_id: SourceId) -> Callable[[Collection[ThreadId]], int]:
    """Tracks threads that were not met before, but none that is to stay out.

    What cannot be an id is left out: a run may name any text, and ids stand in addresses.
    """
    met: set[ThreadId] = set()

    def track(found: Collection[ThreadId]) -> int:
        new = [each for each in found if each not in met and as_thread_id(each) == each]
        if len(met) > MOST_REMEMBERED:
            met.clear()
        met.update(new)
        return tracking.track_found(engine, source_id, sorted(new)).added if new else 0

    return track


def _nobody(found: Collection[ThreadId]) -> int:
    """Track none of them."""
    del found
    return 0


def _fill(row: SyncReport, report: ImportReport) -> None:
    """Say in the ledger what the import did."""
    row.outcome, row.seconds = report.outcome, report.seconds
    row.runs_read, row.runs_created = report.runs_read, report.runs_created
    row.runs_updated, row.rejects = report.runs_updated, report.rejects
    row.runs_unchanged = report.runs_unchanged + report.runs_left
    row.errors += [
        Failure(source="import", thread=None, message=each) for each in report.troubles
    ]
