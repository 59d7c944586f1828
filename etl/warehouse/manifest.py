"""The manifest: which files are the export, what is in them, up to where.

It is the truth about a destination; docs/export.md describes it as a stable format.
"""

from collections.abc import Iterator
from datetime import datetime
from typing import Annotated

import msgspec
from msgspec import Meta

from etl.domain.errors import ConfigError

MANIFEST = "manifest.json"
VERSION = 1

Snapshot = Annotated[str, Meta(pattern=r"^[0-9]+:[0-9]+:([0-9]+(,[0-9]+)*)?\Z")]
"""A Postgres snapshot as text: xmin, xmax, and what was under way between them."""


class _Part(msgspec.Struct, frozen=True, kw_only=True):
    """A part of the manifest; members that later versions add are passed over."""


class File(_Part, frozen=True, kw_only=True):
    """One file, by its path below the destination."""

    path: str
    rows: int
    bytes: int
    sha256: str


class Partition(_Part, frozen=True, kw_only=True):
    """The rows of one table, source and month: all of them, in these files.

    `source_id` tells apart sources that had the same name one after the other;
    `change_xid` is the transaction that changed the month last; `prices` a digest of
    the prices that hold for its models, in run_costs only.
    """

    source: str
    source_id: int | None = None
    month: str
    rows: int
    change_xid: str
    prices: str | None = None
    files: tuple[File, ...]


class ColumnType(_Part, frozen=True, kw_only=True):
    """A column of a table's files."""

    name: str
    type: str


class TableFiles(_Part, frozen=True, kw_only=True):
    """One table: its columns and its partitions, by source and month."""

    columns: tuple[ColumnType, ...] = ()
    partitions: tuple[Partition, ...] = ()

    @property
    def by_key(self) -> dict[tuple[str, str], Partition]:
        """The partitions by source and month."""
        return {(each.source, each.month): each for each in self.partitions}


class Identity(_Part, frozen=True, kw_only=True):
    """Which database it is: transaction ids mean nothing in another one.

    What a role may not be told is null.
    """

    system_identifier: str | None
    timeline: int | None
    oid: int


class Freshness(_Part, frozen=True, kw_only=True):
    """How far a source is complete, as run_analytics.freshness says it."""

    source: str
    kind: str
    threads: int
    threads_complete: int
    threads_failing: int
    threads_never_read: int
    threads_gone: int
    complete_through: datetime | None
    newest_run_at: datetime | None


class Manifest(_Part, frozen=True, kw_only=True):
    """One export of everything, made of files old and new.

    `from_snapshot` is where the export before it ended; null where there was none.
    """

    runtide_export: int = VERSION
    runtide: str
    format: str
    layout: int
    export_id: str
    written_at: datetime
    database: Identity
    from_snapshot: Snapshot | None
    to_snapshot: Snapshot
    complete_through: datetime | None
    freshness: tuple[Freshness, ...]
    tables: dict[str, TableFiles]

    @property
    def files(self) -> Iterator[File]:
        """Every file of every table."""
        for table in self.tables.values():
            for partition in table.partitions:
                yield from partition.files


class _Version(msgspec.Struct):
    runtide_export: int


class DamagedError(ConfigError):
    """A manifest that cannot be read as one of ours."""


def encode(manifest: Manifest) -> bytes:
    """The manifest as its file holds it: JSON, a member a line."""
    return msgspec.json.format(msgspec.json.encode(manifest), indent=1) + b"\n"


def decode(content: bytes, place: str) -> Manifest:
    """Read a manifest's file; raises DamagedError, and ConfigError for a newer version."""
    try:
        version = msgspec.json.decode(content, type=_Version).runtide_export
        if version > VERSION:
            raise ConfigError(
                f"{place}/{MANIFEST} has version {version}, this program writes version"
                f" {VERSION}; install a newer runtide, or export to another place."
            )
        return msgspec.json.decode(content, type=Manifest)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise DamagedError(
            f"{place}/{MANIFEST} is damaged, or not of an export: {error}; write"
            " everything anew with --full, or export to another place."
        ) from error
