"""A partition's files: named after their export, cut where they grow long."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

from etl.warehouse.destination import Format, folder_of
from etl.warehouse.manifest import File, Partition
from etl.warehouse.plan import Wanted
from etl.warehouse.sink import Sink

Entry = TypeVar("Entry")


class Shelf(Protocol):
    """Takes new files."""

    def create(self, path: str) -> AbstractContextManager[Sink]:
        """Write a new file; one that is not finished is thrown away."""


class Rows(Protocol):
    """Rows of one partition that can be written, a few thousand at a time."""

    def into(self, sink: Sink, most_bytes: int) -> int:
        """Write until there are no more or the file is long; answer how many rows."""

    @property
    def is_at_end(self) -> bool:
        """Whether there are no more rows."""


@dataclass(slots=True)
class Progress:
    """How far an export is."""

    rows: int = 0
    files: int = 0
    partitions: int = 0
    of: int = 0


Watch = Callable[[Progress], None]
"""Is told how far it is; may raise StoppedError, which ends the export."""


@dataclass(slots=True)
class FileWriter:
    """Writes partitions into new files, and knows all that it wrote."""

    shelf: Shelf
    form: Format
    export_id: str
    watch: Watch
    file_bytes: int
    progress: Progress = field(default_factory=Progress)
    written: list[str] = field(default_factory=list)

    def watched(self, entries: Iterator[Entry], *, every: int) -> Iterator[Entry]:
        """Tell how far it is now and then, so that an end is not waited for."""
        for number, entry in enumerate(entries):
            if number % every == 0:
                self.watch(self.progress)
            yield entry

    def partition(self, wanted: Wanted, rows: Rows) -> Partition | None:
        """Write all rows of a partition; None where there are none."""
        files = tuple(self._files(wanted, rows))
        self.progress.partitions += 1
        self.watch(self.progress)
        if not files:
            return None
        return Partition(
            source=wanted.month.source,
            source_id=wanted.month.source_id,
            month=wanted.month.name,
            rows=sum(file.rows for file in files),
            change_xid=wanted.month.change_xid,
            prices=wanted.prices,
            files=files,
        )

    def _files(self, wanted: Wanted, rows: Rows) -> Iterator[File]:
        month = wanted.month
        folder = folder_of(wanted.table.name, month.source, month.name)
        number = 0
        while not rows.is_at_end:
            path = f"{folder}/part-{self.export_id}-{number:04}.{self.form.suffix}"
            self.written.append(path)
            with self.shelf.create(path) as sink:
                count = rows.into(sink, self.file_bytes)
            yield File(path=path, rows=count, bytes=sink.bytes, sha256=sink.sha256)
            number += 1
            self.progress.files += 1
            self.progress.rows += count
            self.watch(self.progress)
