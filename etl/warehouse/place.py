"""Where exports are published: files with a manifest, or tables of their own."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from etl.warehouse.last import Last
from etl.warehouse.manifest import Manifest
from etl.warehouse.order import Order
from etl.warehouse.plan import Wanted
from etl.warehouse.sink import Sink
from etl.warehouse.writing import Rows

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True, slots=True, kw_only=True)
class Edition:
    """An export that is written and not published yet.

    `since` has, by table, the snapshot of the export that this one builds on; `written`
    are the paths of its new files.
    """

    manifest: Manifest
    last: Last
    since: Mapping[str, str]
    written: tuple[str, ...]


class Place(Protocol):
    """A place for exports, whose errors are sentences with its name in them."""

    @property
    def shown(self) -> str:
        """Its address as a message may show it: without secrets."""

    @property
    def key(self) -> str:
        """The same for every way of writing its address."""

    def last(self, order: Order) -> Last:
        """What stands here; raises ConfigError where this export may not go here."""

    def rows(self, wanted: Wanted, batches: "Iterator[pa.RecordBatch]") -> Rows:
        """A partition's rows as the files of this place have them."""

    def create(self, path: str) -> AbstractContextManager[Sink]:
        """Write a new file; one that is not finished is thrown away."""

    def publish(self, edition: Edition) -> None:
        """Let readers see an export; what is not published stays as it was."""

    def withdraw(self, paths: Iterable[str]) -> None:
        """Take back files that were written for nothing, as far as that can be done."""
