"""An import: what files hold, through the transform, into the tables batch by batch."""

import logging
import threading
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol

from etl.domain.batch import SourceId
from etl.domain.errors import FileError
from etl.domain.importing import (
    Damage,
    FileProgress,
    ImportBatch,
    Imported,
    ImportReport,
    Other,
    Reading,
)
from etl.domain.outcome import Outcome
from etl.domain.page import Payload
from etl.domain.run import Instant, Run, ThreadId
from etl.sync.private import Cleaned
from etl.transform import drift_of, flatten
from etl.transform.proof import true_at

log = logging.getLogger(__name__)

MOST_RUNS_IN_A_BATCH = 2_000
MOST_BYTES_IN_A_BATCH = 32 * 1024 * 1024
MOST_THINGS_BETWEEN = 100_000
"""So many objects that are no runs are gone over before a file's progress is noted."""

MOST_KINDS = 50
THINGS_BETWEEN_LOOKS = 1_000


class File(Protocol):
    """One file of run history."""

    @property
    def name(self) -> str: ...
    @property
    def path(self) -> str | None: ...
    @property
    def size(self) -> int: ...
    @property
    def modified_at(self) -> Instant: ...
    @property
    def bytes_read(self) -> int: ...

    def things(self, *, after: int) -> Iterator[Payload | Other | Damage]:
        """What the file holds, behind so many objects; raises FileError."""
        ...


class ImportStore(Protocol):
    """Where batches go."""

    def progress_of(self, path: str) -> FileProgress | None:
        """How far a file was taken in, if it ever was."""
        ...

    def commit(self, batch: ImportBatch) -> Imported:
        """Write a batch in one transaction, or raise and write nothing."""
        ...


class ImportWatcher(Protocol):
    """Who is told how far the import has come."""

    def progressed(self, report: ImportReport) -> None:
        """Look at the figures after a batch."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """How files are read: `cleaned` before anything else looks at a payload.

    What they say was true no later than `began_at`; `saved_at` is when they were saved,
    if that is known. `again` reads what was taken in before, were it only in part: whoever
    did that may not have been asked to track, or to believe another instant.
    """

    source_id: SourceId
    began_at: Instant
    cleaned: Cleaned
    saved_at: Instant | None = None
    again: bool = False


def import_files(
    files: Iterable[File],
    store: ImportStore,
    report: ImportReport,
    order: Order,
    *,
    watcher: ImportWatcher,
    stop: threading.Event,
) -> ImportReport:
    """Take in all that files hold; what is wrong with one of them stands in the report."""
    work = _Import(store, report, order, watcher, stop)
    for file in files:
        if stop.is_set():
            break
        work.take(file)
    return work.end()


class _Import:
    """One import while it works: the batch that is being filled."""

    def __init__(
        self,
        store: ImportStore,
        report: ImportReport,
        order: Order,
        watcher: ImportWatcher,
        stop: threading.Event,
    ) -> None:
        self._store = store
        self._report = report
        self._order = order
        self._watcher = watcher
        self._stop = stop
        self._began = time.monotonic()
        self._bytes_of_ended = 0
        self._clear()

    def _clear(self) -> None:
        self._readings: list[Reading] = []
        self._bytes = 0
        self._progress: dict[str, FileProgress] = {}

    def take(self, file: File) -> None:
        """Take in one file, from where the last import of it ended."""
        report = self._report
        report.files += 1
        taken = self._taken(file)
        if taken is None:
            report.files_known += 1
        else:
            report.files_resumed += taken > 0
            self._read(file, taken)
        self._bytes_of_ended += file.size or file.bytes_read
        report.bytes_read = self._bytes_of_ended

    def _taken(self, file: File) -> int | None:
        """How many objects were taken in already; None where all were."""
        if file.path is None or self._order.again:
            return 0
        known = self._store.progress_of(file.path)
        if known is None or (known.size, known.modified_at) != (
            file.size,
            file.modified_at,
        ):
            return 0
        return None if known.is_finished else known.taken

    def _read(self, file: File, taken: int) -> None:
        """Go through a file; what is damaged is told, and what is whole is taken."""
        place = _Place(file, taken)
        try:
            for thing in file.things(after=taken):
                self._take_in(thing, place)
                if self._is_time(place):
                    self._note(place, is_finished=False)
                    self._flush(place)
                if self._stop.is_set():
                    return
        except FileError as error:
            self._complain(place, str(error))
        self._note(place, is_finished=not place.is_damaged)
        if len(self._progress) >= MOST_RUNS_IN_A_BATCH:
            self._flush(place)

    def _take_in(self, thing: Payload | Other | Damage, place: "_Place") -> None:
        match thing:
            case Damage():
                self._complain(place, _told(thing))
            case Other():
                place.taken += 1
                self._count_other(thing.kind)
            case Payload():
                place.taken += 1
                place.runs += 1
                self._add(thing)

    def _is_time(self, place: "_Place") -> bool:
        return (
            len(self._readings) >= MOST_RUNS_IN_A_BATCH
            or self._bytes >= MOST_BYTES_IN_A_BATCH
            or place.taken - place.noted >= MOST_THINGS_BETWEEN
        )

    def _add(self, payload: Payload) -> None:
        payload = self._order.cleaned(payload)
        entry = flatten(payload, thread_id=payload.thread_id or ThreadId(""))
        instant = true_at(entry, saved_at=self._order.saved_at, latest=self._order.began_at)
        self._bytes += len(payload.text)
        self._readings.append(Reading(entry, instant, payload.as_text()))

    def _count_other(self, kind: str) -> None:
        others = self._report.others
        is_one_too_many = kind not in others and len(others) >= MOST_KINDS
        others["other JSON" if is_one_too_many else kind] += 1

    def _complain(self, place: "_Place", what: str) -> None:
        """Tell what is wrong, and how much came before it."""
        place.is_damaged = True
        sentence = f"{place.file.name} {what}{_before(place.runs)}."
        log.warning(
            "file damaged",
            extra={
                "sync_id": self._report.sync_id,
                "file": place.file.name,
                "error": sentence,
            },
        )
        self._report.complain(sentence)

    def _note(self, place: "_Place", *, is_finished: bool) -> None:
        """Note how far a file is; that is committed with the rows before it."""
        place.noted = place.taken
        if place.file.path is not None:
            self._progress[place.file.path] = FileProgress(
                path=place.file.path,
                size=place.file.size,
                modified_at=place.file.modified_at,
                taken=place.taken,
                is_finished=is_finished,
            )

    def _flush(self, place: "_Place | None" = None) -> None:
        """Commit what there is."""
        if self._readings or self._progress:
            runs = [each.entry for each in self._readings if isinstance(each.entry, Run)]
            batch = ImportBatch(
                source_id=self._order.source_id,
                readings=self._readings,
                drift=tuple(drift_of(runs)),
                progress=tuple(self._progress.values()),
            )
            self._report.count(self._store.commit(batch))
            self._clear()
        if place is not None:
            self._report.bytes_read = self._bytes_of_ended + place.file.bytes_read
        self._report.seconds = time.monotonic() - self._began
        self._watcher.progressed(self._report)

    def end(self) -> ImportReport:
        """Commit the rest, unless somebody asked to stop, and judge the outcome."""
        if self._stop.is_set():
            self._report.outcome = Outcome.INTERRUPTED
        else:
            self._flush()
            is_fine = not self._report.troubles_count
            self._report.outcome = Outcome.SUCCEEDED if is_fine else Outcome.PARTIAL
        self._report.seconds = time.monotonic() - self._began
        return self._report


@dataclass(slots=True)
class _Place:
    """How far one file is read: objects taken, those among them that are runs."""

    file: File
    taken: int
    noted: int = 0
    runs: int = 0
    is_damaged: bool = False


def _told(damage: Damage) -> str:
    where = f"line {damage.line:,}"
    if damage.line == 1:
        where += f", at byte {damage.place:,}"
    joint = " of" if damage.what == "ends in the middle" else " at"
    return f"{damage.what}{joint} {where}"


def _before(runs: int) -> str:
    verb = "is" if runs == 1 else "are"
    noun = "run" if runs == 1 else "runs"
    return f"; {runs:,} {noun} before it {verb} imported" if runs else ""
