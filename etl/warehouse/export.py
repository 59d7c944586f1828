"""An export: one snapshot, the months that changed, published last of all."""

import secrets
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from importlib.metadata import version

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from etl.domain.batch import SourceId
from etl.domain.run import Run
from etl.load.reading import read_runs, within_month
from etl.load.tables import runs
from etl.warehouse.columns import LAYOUT, Table
from etl.warehouse.destination import Format
from etl.warehouse.holding import alone
from etl.warehouse.json_lines import RunLines
from etl.warehouse.last import Last, columns_of, unusable
from etl.warehouse.manifest import Manifest, Partition, TableFiles
from etl.warehouse.order import Order
from etl.warehouse.place import Edition, Place
from etl.warehouse.plan import Wanted, plan
from etl.warehouse.position import (
    Month,
    Position,
    current_snapshot,
    identity_of,
    months_of,
    position_of,
    snapshot_of,
)
from etl.warehouse.reading import ArrowReader
from etl.warehouse.report import Exported, complete_through, exported
from etl.warehouse.writing import FileWriter, Rows, Watch

RUNS_BETWEEN = 1_000
"""After so many runs somebody may end the export."""


def export(
    engine: Engine, place: Place, order: Order, *, at: datetime, watch: Watch
) -> Exported:
    """Bring what stands at a place to what the tables say now.

    Whatever ends it early, the export before stands as it was. Raises HeldError,
    ConfigError, DestinationError, DatabaseError, and what `watch` raises.
    """
    with alone(engine, place) as assure_alone:
        writer = FileWriter(
            shelf=place,
            form=order.form,
            export_id=secrets.token_hex(8),
            watch=watch,
            file_bytes=order.file_bytes,
        )
        work = _Work(
            engine=engine,
            place=place,
            order=order,
            at=at,
            last=place.last(order),
            writer=writer,
            assure_alone=assure_alone,
        )
        return work.done()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Work:
    """One export under way."""

    engine: Engine
    place: Place
    order: Order
    at: datetime
    last: Last
    writer: FileWriter
    assure_alone: Callable[[], None]

    def done(self) -> Exported:
        """Write what has changed, then publish it."""
        try:
            edition, reason = self._written()
            self.assure_alone()
        except BaseException:
            self.place.withdraw(self.writer.written)
            raise
        self.place.publish(edition)
        return exported(
            edition.manifest, self.last.tables, shown=self.place.shown, reason=reason
        )

    def _written(self) -> tuple[Edition, str | None]:
        with snapshot_of(self.engine) as connection:
            before, reason = self._usable(connection)
            position = position_of(connection, identity=identity_of(connection))
            made = plan(
                position,
                {name: each.tables[name] for name, each in before.items()},
                self.order.tables,
                months_of=self._months(connection, position, before),
                standing=self.last.files,
                is_dropped=lambda month: is_dropped(connection, month),
            )
            self.writer.progress.of = len(made.wanted)
            partitions = made.kept
            with self._rows(connection, made.wanted) as rows_of:
                for wanted in made.wanted:
                    if part := self.writer.partition(wanted, rows_of(wanted)):
                        partitions[wanted.table.name].append(part)
        since = {name: each.to_snapshot for name, each in before.items()}
        edition = Edition(
            manifest=self._manifest(position, since, partitions),
            last=self.last,
            since=since,
            written=tuple(self.writer.written),
        )
        return edition, reason

    def _usable(self, connection: Connection) -> tuple[dict[str, Manifest], str | None]:
        """The manifest that each table can be built on, or why some have none."""
        identity, snapshot = identity_of(connection), current_snapshot(connection)
        told, reason = self.last.manifests, self.last.reason
        usable: dict[str, Manifest] = {}
        for name, manifest in told.items():
            tables = [each for each in self.order.tables if told.get(each.name) is manifest]
            refusal = unusable(manifest, tables, identity, snapshot)
            if refusal is None:
                usable[name] = manifest
            reason = reason or refusal
        return usable, reason

    def _months(
        self, connection: Connection, position: Position, before: Mapping[str, Manifest]
    ) -> Callable[[Table], Iterator[Month]]:
        """The months of a table, asked once for all tables that were exported together."""

        @cache
        def seen(since: str | None) -> tuple[Month, ...]:
            return months_of(connection, position.sources, since=since)

        def of(table: Table) -> Iterator[Month]:
            manifest = before.get(table.name)
            months = seen(manifest.to_snapshot if manifest else None)
            return (each for each in months if each.relation == table.relation)

        return of

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
                yield lambda each: self.place.rows(
                    each,
                    self.writer.watched(reader.batches(each.table, each.month), every=1),
                )

    def _manifest(
        self,
        position: Position,
        since: Mapping[str, str],
        partitions: dict[str, list[Partition]],
    ) -> Manifest:
        return Manifest(
            runtide=version("runtide"),
            format=self.order.form.value,
            layout=LAYOUT,
            export_id=self.writer.export_id,
            written_at=self.at,
            database=position.identity,
            from_snapshot=next(iter(since.values()), None),
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
