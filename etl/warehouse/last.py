"""The export before this one: what can be built on, and why not where it cannot."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from etl.domain.errors import ConfigError
from etl.warehouse.columns import LAYOUT, Table
from etl.warehouse.destination import Destination, Format, refuse_foreign
from etl.warehouse.manifest import (
    MANIFEST,
    ColumnType,
    DamagedError,
    Identity,
    Manifest,
    TableFiles,
    decode,
)
from etl.warehouse.position import is_ahead


@dataclass(frozen=True, slots=True, kw_only=True)
class Last:
    """What stands at a place: which manifest tells of a table, every file with its size.

    `reason` says why tables have none, where they should.
    """

    manifests: Mapping[str, Manifest] = field(default_factory=dict)
    files: Mapping[str, int]
    reason: str | None = None

    @property
    def tables(self) -> dict[str, TableFiles]:
        """The files of each table that a manifest tells of."""
        told = self.manifests.items()
        return {name: each.tables[name] for name, each in told if name in each.tables}


def last_export(
    destination: Destination, form: Format, tables: Iterable[Table], *, is_full: bool
) -> Last:
    """Look at a destination; raises ConfigError where this export may not go there."""
    content = destination.read(MANIFEST)
    files = destination.files()
    if content is None:
        refuse_foreign(files, destination.shown)
        return Last(files=files)
    try:
        manifest = decode(content, destination.shown)
    except DamagedError:
        if not is_full:
            raise
        refuse_foreign(files, destination.shown)
        return Last(files=files)
    if is_full:
        return Last(files=files)
    if manifest.format != form:
        raise ConfigError(
            f"{destination.shown} holds an export as {manifest.format}; export there as"
            f" {manifest.format}, or write everything anew as {form} with --full."
        )
    return Last(manifests={each.name: manifest for each in tables}, files=files)


def unusable(
    manifest: Manifest, tables: Iterable[Table], identity: Identity, snapshot: str
) -> str | None:
    """Why nothing can be built on an export, in a sentence; None where it can."""
    if manifest.database != identity:
        return (
            "The last export was made from another database, or from this one before it"
            " was restored or moved, so everything is written anew."
        )
    if is_ahead(manifest.to_snapshot, snapshot):
        return (
            "The last export has seen more than this database holds: it was set back, so"
            " everything is written anew."
        )
    told = {name: each.columns for name, each in manifest.tables.items()}
    if manifest.layout != LAYOUT or told != {
        each.name: columns_of(each) for each in tables
    }:
        return (
            "This version of runtide writes other columns than the last export, so"
            " everything is written anew."
        )
    return None


def is_news(manifest: Manifest, before: Manifest | None) -> bool:
    """Whether a manifest says anything that the one before does not."""
    return (
        before is None
        or before.tables != manifest.tables
        or before.freshness != manifest.freshness
        or before.database != manifest.database
        or before.layout != manifest.layout
    )


def columns_of(table: Table) -> tuple[ColumnType, ...]:
    """A table's columns as a manifest tells them."""
    return tuple(ColumnType(name=each.name, type=each.kind.told) for each in table.columns)
