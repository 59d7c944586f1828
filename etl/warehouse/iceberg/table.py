"""One Iceberg table: what its last export was, and the commit that replaces months."""

from collections.abc import Collection, Iterable, Iterator
from typing import TYPE_CHECKING

import msgspec

from etl.domain.errors import ConfigError
from etl.warehouse.columns import Table
from etl.warehouse.iceberg.bounds import data_file
from etl.warehouse.iceberg.choosing import choose_alone
from etl.warehouse.iceberg.schema import file_schema, stage_growth
from etl.warehouse.iceberg.telling import OvertakenError
from etl.warehouse.manifest import VERSION, File, Manifest, Partition, TableFiles

if TYPE_CHECKING:
    import pyarrow as pa
    from pyiceberg.manifest import DataFile
    from pyiceberg.table import Table as Stored
    from pyiceberg.table import Transaction
    from pyiceberg.table.snapshots import Snapshot

TOLD = "runtide.manifest"
"""The property of a snapshot that holds its position, as JSON."""

EXPORT_ID = "runtide.export-id"
COMPLETE_THROUGH = "runtide.complete-through"

ATTEMPTS = 4
"""How often a commit is tried where a compaction came between."""

Key = tuple[str, str]
"""A source and a month."""


class IcebergTable:
    """A table of an export, as its catalog has it."""

    def __init__(self, table: Table, stored: "Stored", shown: str) -> None:
        """Raises ConfigError where its columns cannot become those of an export."""
        self.name = table.name
        self.reason: str | None = None
        self._table = table
        self._stored = stored
        self._shown = shown
        schema = stage_growth(stored.transaction(), table, shown)
        self._schema = schema
        self.file_schema: pa.Schema = file_schema(schema, table)
        self._is_full = False
        self._built_on: str | None = None

    def last(self, *, is_full: bool) -> Manifest | None:
        """The export that stands here, with the files that are it now.

        Raises ConfigError where somebody else has changed rows, unless all is new.
        """
        self._is_full = is_full
        snapshot = self._of_export()
        self._built_on = self._export_id(snapshot)
        if is_full or snapshot is None or snapshot.summary is None:
            return None
        manifest = self._decoded(str(snapshot.summary[TOLD]))
        files: dict[Key, list[File]] = {}
        for each in self._data_files():
            file = File(
                path=each.file_path,
                rows=each.record_count,
                bytes=each.file_size_in_bytes,
                sha256="",  # which Iceberg does not keep
            )
            files.setdefault(_key(each), []).append(file)
        parts = manifest.tables[self.name].partitions
        whole = tuple(_whole(parts, files))
        told = msgspec.structs.replace(manifest.tables[self.name], partitions=whole)
        return msgspec.structs.replace(manifest, tables={self.name: told})

    def location_of(self, path: str) -> str:
        """Where a file stands whose path begins with the table's name."""
        name = path.partition("/")[2]
        return self._stored.location_provider().new_data_location(name)

    def commit(
        self, manifest: Manifest, kept: Collection[Key], written: Iterable[str]
    ) -> None:
        """Replace all months that are not kept, in one snapshot that tells its position.

        A compaction that came between is no hindrance; raises OvertakenError where
        rows may have changed, and then nothing is committed.
        """
        from pyiceberg.exceptions import CommitFailedException  # noqa: PLC0415  # an extra

        locations = [self.location_of(path) for path in written]
        for attempt in range(ATTEMPTS):
            if attempt:
                self._stored.refresh()
            transaction = self._staged(manifest, kept, locations)
            try:
                transaction.commit_transaction()
            except CommitFailedException:
                if attempt == ATTEMPTS - 1:
                    raise
            else:
                return

    def refresh(self) -> None:
        """Look again what stands in the catalog."""
        self._stored.refresh()

    def _staged(
        self, manifest: Manifest, kept: Collection[Key], locations: list[str]
    ) -> "Transaction":
        if self._export_id(self._of_export()) != self._built_on:
            raise self._overtaken()
        self._leave_retries_to_us()
        transaction = self._stored.transaction()
        if stage_growth(transaction, self._table, self._shown) != self._schema:
            raise self._overtaken()
        gone = [each for each in self._data_files() if _key(each) not in kept]
        properties = self._properties(manifest)
        with transaction.update_snapshot(properties).overwrite() as snapshot:
            choose_alone(snapshot)
            for old in gone:
                snapshot.delete_data_file(old)
            for each in locations:
                metadata = transaction.table_metadata
                snapshot.append_data_file(data_file(self._stored.io, metadata, each))
        return transaction

    def _leave_retries_to_us(self) -> None:
        """PyIceberg tries again by rules of its own; ours look at the position first.

        Only this object's view of the table is changed, no commit writes it.
        """
        metadata = self._stored.metadata
        properties = {**metadata.properties, "commit.retry.num-retries": "0"}
        self._stored.metadata = metadata.model_copy(update={"properties": properties})

    def _properties(self, manifest: Manifest) -> dict[str, str]:
        """What the manifest tells of this table, without files: Iceberg names those."""
        told = manifest.tables[self.name]
        parts = tuple(msgspec.structs.replace(each, files=()) for each in told.partitions)
        tables = {self.name: TableFiles(columns=told.columns, partitions=parts)}
        content = msgspec.json.encode(msgspec.structs.replace(manifest, tables=tables))
        through = manifest.complete_through
        return {
            EXPORT_ID: manifest.export_id,
            COMPLETE_THROUGH: through.isoformat() if through else "",
            TOLD: content.decode(),
        }

    def _of_export(self) -> "Snapshot | None":
        """The snapshot of the last export; compactions after it leave rows as they are."""
        from pyiceberg.table.snapshots import Operation  # noqa: PLC0415

        snapshot = self._stored.current_snapshot()
        while snapshot is not None and snapshot.summary is not None:
            if TOLD in snapshot.summary.additional_properties:
                return snapshot
            if snapshot.summary.operation is not Operation.REPLACE and not self._is_full:
                raise ConfigError(
                    f"The table {self._shown} was changed by somebody else in its snapshot"
                    f" {snapshot.snapshot_id}; write everything anew with --full, or roll"
                    " the table back."
                )
            parent = snapshot.parent_snapshot_id
            snapshot = self._stored.snapshot_by_id(parent) if parent else None
        if self._stored.current_snapshot() is not None:
            self.reason = (
                f"The snapshot of the last export to {self._shown} has expired, so"
                " everything is written anew."
            )
        return None

    @staticmethod
    def _export_id(snapshot: "Snapshot | None") -> str | None:
        if snapshot is None or snapshot.summary is None:
            return None
        return snapshot.summary[EXPORT_ID]

    def _decoded(self, content: str) -> Manifest:
        try:
            manifest = msgspec.json.decode(content, type=Manifest)
        except msgspec.DecodeError as error:
            raise ConfigError(
                f"What {self._shown} tells of its last export is damaged: {error}; write"
                " everything anew with --full."
            ) from error
        if manifest.runtide_export > VERSION:
            raise ConfigError(
                f"The table {self._shown} was written by a newer runtide; install that"
                " version, or name another namespace in [[exports]]."
            )
        return manifest

    def _data_files(self) -> "Iterator[DataFile]":
        return (task.file for task in self._stored.scan().plan_files())

    def _overtaken(self) -> OvertakenError:
        return OvertakenError(
            f"The table {self._shown} was changed by somebody else while this export wrote"
            " its files; this export did not touch it, run it again."
        )


def _key(file: "DataFile") -> Key:
    return (file.partition[0], file.partition[1])


def _whole(parts: Iterable[Partition], files: dict[Key, list[File]]) -> Iterator[Partition]:
    """The partitions with what are now their files, which must hold as many rows."""
    for part in parts:
        found = files.get((part.source, part.month), [])
        if found and sum(each.rows for each in found) == part.rows:
            yield msgspec.structs.replace(
                part, files=tuple(sorted(found, key=lambda each: each.path))
            )
