"""Files with a manifest as a place for exports: the manifest comes last of all."""

from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, suppress
from typing import TYPE_CHECKING

from etl.domain.errors import DestinationError
from etl.warehouse.columns import Kind, arrow_schema
from etl.warehouse.destination import PARTIAL, Destination, is_ours
from etl.warehouse.last import Last, is_news, last_export
from etl.warehouse.manifest import MANIFEST, Manifest, encode
from etl.warehouse.order import Order
from etl.warehouse.parquet import ParquetRows
from etl.warehouse.place import Edition
from etl.warehouse.plan import Wanted
from etl.warehouse.sink import Sink

if TYPE_CHECKING:
    import pyarrow as pa


class Files:
    """A folder or a bucket that holds one export, and the manifest that names its files."""

    def __init__(self, destination: Destination) -> None:
        self._destination = destination

    @property
    def shown(self) -> str:
        return self._destination.shown

    @property
    def key(self) -> str:
        return self._destination.key

    def last(self, order: Order) -> Last:
        """The manifest that stands here, for all tables; every file with its size."""
        return last_export(
            self._destination, order.form, order.tables, is_full=order.is_full
        )

    def rows(self, wanted: Wanted, batches: "Iterator[pa.RecordBatch]") -> ParquetRows:
        """The table's columns; source and month stand in the path."""
        columns = wanted.table.columns
        words = [each.name for each in columns if each.kind is Kind.WORD]
        return ParquetRows(arrow_schema(columns), words, batches)

    def create(self, path: str) -> AbstractContextManager[Sink]:
        """Write a new file."""
        return self._destination.create(path)

    def publish(self, edition: Edition) -> None:
        """Name the new files, then put the manifest, then take away what is old."""
        try:
            self._destination.publish(edition.written)
        except BaseException:
            self.withdraw(edition.written)
            raise
        # From here on the files are needed, whatever is heard of the manifest.
        before = next(iter(edition.last.manifests.values()), None)
        if is_news(edition.manifest, before):
            self._destination.put(MANIFEST, encode(edition.manifest))
        self._clear(edition.manifest, edition.last)

    def withdraw(self, paths: Iterable[str]) -> None:
        """Take files back; the next export would, too."""
        with suppress(DestinationError):
            gone = tuple(paths)
            self._destination.remove([*gone, *(path + PARTIAL for path in gone)])

    def _clear(self, manifest: Manifest, last: Last) -> None:
        """Take away what the manifest does not name, crashed exports' files too."""
        named = {file.path for file in manifest.files}
        self._destination.remove(
            path for path in last.files if is_ours(path) and path not in named
        )
