"""An export: one snapshot, the months that changed, and the manifest last of all."""

import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from importlib.metadata import version

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from etl.domain.batch import SourceId
from etl.domain.errors import DestinationError
from etl.domain.run import Run
from etl.load.reading import read_runs, within_month
from etl.load.tables import runs
from etl.warehouse.columns import LAYOUT, RUNS, TABLES, Table
from etl.warehouse.destination import PARTIAL, Destination, Format, is_ours
from etl.warehouse.holding import alone
from etl.warehouse.json_lines import RunLines
from etl.warehouse.last import Last, columns_of, last_export, unusable
from etl.warehouse.manifest import MANIFEST, Manifest, Partition, TableFiles, encode
from etl.warehouse.parquet import ParquetRows
from etl.warehouse.plan import Wanted, plan
from etl.warehouse.position import (
    Month,
    Position,
    current_snapshot,
    identity_of,
    position_of,
    snapshot_of,
)
from etl.warehouse.reading import ArrowReader
from etl.warehouse.report import Exported, complete_through, exported
from etl.warehouse.writing import FileWriter, Rows, Watch

FILE_BYTES = 128 << 20
"""A file that is so long is ended, and another one begun."""


RUNS_BETWEEN = 1_000
"""After so many runs somebody may end the export."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What is asked for: a format, and whether everything is written anew."""

    form: Format
    is_full: bool = False
    file_bytes: int = FILE_BYTES

    @property
    def tables(self) -> tuple[Table, ...]:
        """The tables of the format: what was a run's object is in its line."""
        return TABLES if self.form is Format.PARQUET else (RUNS,)


def export(
    engine: Engine, destination: Destination, order: Order, *, at: datetime, watch: Watch
) -> Exported:
    """Bring the files of a destination to what the tables say now.

    Whatever ends it early, the export before stands as it was. Raises HeldError,
    ConfigError, DestinationError, DatabaseError, and what `watch` raises.
    """
    with alone(engine, destination) as assure_alone:
        last = last_export(destination, order.form, is_full=order.is_full)
        writer = FileWriter(
            destination=destination,
            form=order.form,
            export_id=secrets.token_hex(8),
            watch=watch,
            file_bytes=order.file_bytes,
        )
        work = _Work(
            engine=engine,
            destination=destination,
            order=order,
            at=at,
            last=last,
            writer=writer,
            assure_alone=assure_alone,
        )
        return work.done()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Work:
    """One export under way."""

    engine: Engine
    destination: Destination
    order: Order
    at: datetime
    last: Last
    writer: FileWriter
    assure_alone: Callable[[], None]

    def done(self) -> Exported:
        """Write what has changed, then the manifest, then take away what is old."""
        try:
            manifest, reason = self._written()
            self.assure_alone()
            self.destination.publish(self.writer.written)
        except BaseException:
            self._withdraw()
            raise
        # From here on the files are needed, whatever is heard of the manifest.
        if self._is_news(manifest):
            self.destination.put(MANIFEST, encode(manifest))
        self._clear(manifest)
        return exported(
            manifest, self.last.manifest, shown=self.destination.shown, reason=reason
        )

    def _written(self) -> tuple[Manifest, str | None]:
        with snapshot_of(self.engine) as connection:
            before, reason = self._usable(connection)
            position = position_of(
                connection,
                identity=identity_of(connection),
                since=before.to_snapshot if before else None,
            )
            made = plan(
                position,
                before,
                self.order.tables,
                standing=self.last.files,
                is_dropped=lambda month: is_dropped(connection, month),
            )
            self.writer.progress.of = len(made.wanted)
            partitions = made.kept
            with self._rows(connection, made.wanted) as rows_of:
                for wanted in made.wanted:
                    if part := self.writer.partition(wanted, rows_of(wanted)):
                        partitions[wanted.table.name].append(part)
        return self._manifest(position, before, partitions), reason

    def _usable(self, connection: Connection) -> tuple[Manifest | None, str | None]:
        """The manifest to build on, or why there is none."""
        manifest = self.last.manifest
        if manifest is None:
            return None, None
        reason = unusable(
            manifest,
            self.order.tables,
            identity_of(connection),
            current_snapshot(connection),
        )
        return (manifest, None) if reason is None else (None, reason)

    @contextmanager
    def _rows(
        self, connection: Connection, wanted: list[Wanted]
    ) -> Iterator[Callable[[Wanted], Rows]]:
        """How the rows of a partition are read, all in one snapshot."""
        if self.order.form is Format.JSONL:
            yield lambda each: RunLines(
                self.writer.watched(runs_of(connection, each.month), every=RUNS_BETWEEN)
            )
        elif not wanted:
            yield _nothing
        else:
            name = str(connection.scalar(sa.select(sa.func.pg_export_snapshot())))
            with ArrowReader.opened(self.engine.url, name) as reader:
                yield lambda each: ParquetRows(
                    each.table,
                    self.writer.watched(reader.batches(each.table, each.month), every=1),
                )

    def _manifest(
        self,
        position: Position,
        before: Manifest | None,
        partitions: dict[str, list[Partition]],
    ) -> Manifest:
        return Manifest(
            runtide=version("runtide"),
            format=self.order.form.value,
            layout=LAYOUT,
            export_id=self.writer.export_id,
            written_at=self.at,
            database=position.identity,
            from_snapshot=before.to_snapshot if before else None,
            to_snapshot=position.snapshot,
            complete_through=complete_through(position.freshness),
            freshness=position.freshness,
            tables={
                table.name: TableFiles(
                    columns=columns_of(table), partitions=_sorted(partitions[table.name])
                )
                for table in self.order.tables
            },
        )

    def _is_news(self, manifest: Manifest) -> bool:
        """Whether the manifest says anything that the one before does not."""
        last = self.last.manifest
        return (
            last is None
            or last.tables != manifest.tables
            or last.freshness != manifest.freshness
            or last.database != manifest.database
            or last.layout != manifest.layout
        )

    def _clear(self, manifest: Manifest) -> None:
        """Take away what the manifest does not name, crashed exports' files too."""
        named = {file.path for file in manifest.files}
        self.destination.remove(
            path for path in self.last.files if is_ours(path) and path not in named
        )

    def _withdraw(self) -> None:
        """Take back what was written for nothing; the next export would, too."""
        with suppress(DestinationError):
            paths = self.writer.written
            self.destination.remove([*paths, *(path + PARTIAL for path in paths)])


def runs_of(connection: Connection, month: Month) -> Iterator[Run]:
    """The runs of a month."""
    return read_runs(connection, SourceId(month.source_id), month=month.day)


def is_dropped(connection: Connection, month: Month) -> bool:
    """Whether a month that once had runs has none any more."""
    there = sa.select(
        sa.exists().where(
            runs.c.source_id == month.source_id, within_month(runs.c.created_at, month.day)
        )
    )
    return not connection.scalar(there)


def _nothing(wanted: Wanted) -> Rows:
    raise AssertionError(wanted)


def _sorted(partitions: list[Partition]) -> tuple[Partition, ...]:
    return tuple(sorted(partitions, key=lambda each: (each.source, each.month)))
