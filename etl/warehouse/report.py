"""What an export did, in figures and in a sentence."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from etl.warehouse.manifest import Freshness, Manifest, Partition, TableFiles

ARCHIVE = "archive"

Key = tuple[str, str]
"""A source and a month."""

Tables = Mapping[str, TableFiles]


@dataclass(frozen=True, slots=True, kw_only=True)
class Exported:
    """What an export wrote; `reason` says why it was everything, where it had to be."""

    to: str
    format: str
    months_rewritten: int
    months: int
    rows: int
    files: int
    bytes: int
    complete_through: datetime | None
    export_id: str
    reason: str | None


def exported(
    manifest: Manifest, before: Tables, *, shown: str, reason: str | None
) -> Exported:
    """Compare an export with the files before: what is new in it was written."""
    old = {file.path for each in _partitions(before) for file in each.files}
    new = [file for file in manifest.files if file.path not in old]
    return Exported(
        to=shown,
        format=manifest.format,
        months_rewritten=len(_changed(manifest.tables, before)),
        months=len(_parts(manifest.tables)),
        rows=sum(file.rows for file in new),
        files=len(new),
        bytes=sum(file.bytes for file in new),
        complete_through=manifest.complete_through,
        export_id=manifest.export_id,
        reason=reason,
    )


def complete_through(freshness: Iterable[Freshness]) -> datetime | None:
    """Up to when every source that is asked for threads is complete, if that is known."""
    asked = [each for each in freshness if each.kind != ARCHIVE and each.threads]
    times = [each.complete_through for each in asked]
    if not times or None in times:
        return None
    return min(time.astimezone(UTC) for time in times if time)


def _changed(tables: Tables, before: Tables) -> set[Key]:
    """The months whose files are others than before, those that are gone too."""
    now, then = _parts(tables), _parts(before)
    return {key for key in now.keys() | then.keys() if now.get(key) != then.get(key)}


def _parts(tables: Tables) -> dict[Key, set[str]]:
    """The files of each month, of all tables."""
    found: dict[Key, set[str]] = {}
    for partition in _partitions(tables):
        key = (partition.source, partition.month)
        paths = {file.path for file in partition.files}
        found.setdefault(key, set()).update(paths)
    return found


def _partitions(tables: Tables) -> Iterator[Partition]:
    for table in tables.values():
        yield from table.partitions
