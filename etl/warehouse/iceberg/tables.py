"""A namespace of Iceberg tables as a place for exports: a commit for each table."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import msgspec

from etl.domain.errors import ConfigError
from etl.warehouse.columns import TABLES, Kind, Table
from etl.warehouse.iceberg.schema import (
    PARTITIONED_BY,
    columns_of,
    filled,
    new_schema,
    new_spec,
)
from etl.warehouse.iceberg.table import IcebergTable, Key
from etl.warehouse.iceberg.telling import OvertakenError, told
from etl.warehouse.last import Last, is_news
from etl.warehouse.manifest import Manifest
from etl.warehouse.order import Order
from etl.warehouse.parquet import ParquetRows
from etl.warehouse.place import Edition
from etl.warehouse.plan import Wanted
from etl.warehouse.sink import Sink

if TYPE_CHECKING:
    import pyarrow as pa
    from pyiceberg.catalog import Catalog
    from pyiceberg.io import FileIO
    from pyiceberg.table import Table as Stored

OURS = "runtide.table"
"""The property of a table that an export has made."""

LAST_TABLE = TABLES[-1].name
"""Committed last, and after every sync: what it tells holds for all tables."""

PROPERTIES = {
    "write.metadata.delete-after-commit.enabled": "true",
    "write.metadata.previous-versions-max": "100",
}
"""Metadata files name all snapshots; old ones of them are of no use."""


class IcebergTables:
    """The tables of an export in one namespace of a catalog."""

    def __init__(
        self, catalog: "Catalog", namespace: str, warehouse: str, shown: str
    ) -> None:
        self._catalog = catalog
        self._namespace = namespace
        self._warehouse = warehouse
        self._shown = shown
        self._tables: dict[str, IcebergTable] = {}
        self._io: dict[str, FileIO] = {}

    @property
    def shown(self) -> str:
        return self._shown

    @property
    def key(self) -> str:
        return f"iceberg {self._catalog.name} {self._namespace}"

    def last(self, order: Order) -> Last:
        """What each table tells of its own last export; tables that lack are made."""
        manifests: dict[str, Manifest] = {}
        with self._told("read"):
            for table in order.tables:
                mine = self._tables[table.name] = self._opened(table)
                if manifest := mine.last(is_full=order.is_full):
                    manifests[table.name] = manifest
        reasons = [each.reason for each in self._tables.values() if each.reason]
        return Last(
            manifests=manifests,
            files={
                file.path: file.bytes for each in manifests.values() for file in each.files
            },
            reason=None if order.is_full else next(iter(reasons), None),
        )

    def rows(self, wanted: Wanted, batches: "Iterator[pa.RecordBatch]") -> ParquetRows:
        """Source and month are columns too, and all columns have their numbers."""
        schema = self._tables[wanted.table.name].file_schema
        source, month = wanted.month.source, wanted.month.name
        words = [each.name for each in columns_of(wanted.table) if each.kind is Kind.WORD]
        whole = (filled(each, schema, source, month) for each in batches)
        return ParquetRows(schema, words, whole)

    @contextmanager
    def create(self, path: str) -> Iterator[Sink]:
        """Write a new file where the table has its own."""
        name = path.partition("/")[0]
        location = self._tables[name].location_of(path)
        with self._told():
            file: Any = self._io[name].new_output(location).create()
        try:
            yield Sink(file, self._told)
            with self._told():
                file.close()
        except BaseException:
            with suppress(Exception):
                file.close()
            self.withdraw([path])
            raise

    def publish(self, edition: Edition) -> None:
        """Commit one table after the other; each is whole, with its own position."""
        written = {name: _of(name, edition.written) for name in self._tables}
        for name in list(written):
            try:
                with self._told():
                    self._commit(name, edition, written[name])
            except BaseException as error:
                if not isinstance(error, OvertakenError):
                    del written[name]  # it may be committed, whatever is heard of it
                self.withdraw(path for paths in written.values() for path in paths)
                raise
            del written[name]

    def withdraw(self, paths: Iterable[str]) -> None:
        """Take files back that no table names."""
        for path in paths:
            name = path.partition("/")[0]
            with suppress(Exception):
                self._io[name].delete(self._tables[name].location_of(path))

    def _commit(self, name: str, edition: Edition, written: list[str]) -> None:
        before = edition.last.manifests.get(name)
        now = msgspec.structs.replace(
            edition.manifest,
            from_snapshot=edition.since.get(name),
            tables={name: edition.manifest.tables[name]},
        )
        alike = now
        if before and name != LAST_TABLE:  # how complete it is, the last table tells
            alike = msgspec.structs.replace(now, freshness=before.freshness)
        if not is_news(alike, before):
            return
        table = self._tables[name]
        table.refresh()
        table.commit(now, _kept(now, edition.last), written)

    def _opened(self, table: Table) -> IcebergTable:
        """The table as the catalog has it, made where it has none."""
        from pyiceberg.exceptions import (  # noqa: PLC0415  # an extra
            NamespaceAlreadyExistsError,
            NoSuchTableError,
            TableAlreadyExistsError,
        )

        identifier = (*self._namespace.split("."), table.name)
        shown = f"{self._namespace}.{table.name}"
        try:
            stored = self._catalog.load_table(identifier)
        except NoSuchTableError:
            schema = new_schema(table)
            with suppress(NamespaceAlreadyExistsError):
                self._catalog.create_namespace(identifier[:-1])
            with suppress(TableAlreadyExistsError):
                self._catalog.create_table(
                    identifier,
                    schema,
                    partition_spec=new_spec(schema),
                    properties={**PROPERTIES, OURS: table.name},
                )
            stored = self._catalog.load_table(identifier)
        self._refuse_foreign(stored, table, shown)
        self._io[table.name] = stored.io
        return IcebergTable(table, stored, shown)

    def _refuse_foreign(self, stored: "Stored", table: Table, shown: str) -> None:
        """Raise ConfigError where the table is not one of an export to this place."""
        fields = [
            stored.schema().find_column_name(each.source_id)
            for each in (stored.spec().fields)
        ]
        transforms = {str(each.transform) for each in stored.spec().fields}
        if stored.properties.get(OURS) != table.name:
            raise ConfigError(
                f"The catalog {self._catalog.name!r} has a table {shown} that no export has"
                " made; name another namespace in [[exports]]."
            )
        if tuple(fields) != PARTITIONED_BY or transforms != {"identity"}:
            raise ConfigError(
                f"The table {shown} is no longer partitioned by source and month; partition"
                " it so, or name another namespace in [[exports]]."
            )
        if self._is_elsewhere(stored):
            raise ConfigError(
                f"The table {shown} lies in {stored.location()}, not in {self._shown};"
                " export there, or name another namespace in [[exports]]."
            )

    def _is_elsewhere(self, stored: "Stored") -> bool:
        """Only of SQL catalogs it is known that tables lie below the warehouse."""
        from pyiceberg.catalog.sql import SqlCatalog  # noqa: PLC0415

        below = self._warehouse.rstrip("/") + "/"
        is_sql = isinstance(self._catalog, SqlCatalog)
        return is_sql and not stored.location().startswith(below)

    @contextmanager
    def _told(self, doing: str = "written") -> Iterator[None]:
        with told(self._shown, self._catalog.name, doing):
            yield


def _of(name: str, written: Iterable[str]) -> list[str]:
    """The new files of one table."""
    return [path for path in written if path.startswith(f"{name}/")]


def _kept(manifest: Manifest, last: Last) -> set[Key]:
    """The months whose files stay."""
    return {
        (part.source, part.month)
        for table in manifest.tables.values()
        for part in table.partitions
        if all(file.path in last.files for file in part.files)
    }
