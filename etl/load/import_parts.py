"""What an import and its trial have in common: who is forgotten, how far files are."""

from collections.abc import Collection, Iterable, Sequence
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from etl.domain.batch import Increment, SourceId
from etl.domain.bookmark import Bookmark
from etl.domain.digest import digest
from etl.domain.importing import FileProgress, Reading
from etl.domain.run import Reject
from etl.load.database import translated
from etl.load.statements import microseconds
from etl.load.tables import erasures, imports

NOWHERE = Bookmark()


def forgotten_by(connection: Connection, source_id: SourceId) -> set[UUID]:
    """The digests of threads that stay out; while the source is held none is added."""
    statement = sa.select(erasures.c.thread_digest).where(
        erasures.c.source_id == source_id, erasures.c.readmitted_at.is_(None)
    )
    with connection.begin():
        return set(connection.scalars(statement))


def without_forgotten(
    readings: Sequence[Reading], forgotten: Collection[UUID]
) -> Sequence[Reading]:
    """The readings of threads that were not erased."""
    if not forgotten:
        return readings
    return [
        each for each in readings if digest(each.entry.thread_id.encode()) not in forgotten
    ]


def progress_of(
    connection: Connection, source_id: SourceId, path: str
) -> FileProgress | None:
    """How far a file of a source was taken in."""
    statement = sa.select(
        imports.c.path,
        imports.c.bytes,
        microseconds(imports.c.modified_at),
        imports.c.payloads,
        imports.c.finished_at.is_not(None),
    ).where(imports.c.source_id == source_id, imports.c.path == path)
    with translated(connection.engine.url), connection.begin():
        row = connection.execute(statement).one_or_none()
    if row is None:
        return None
    path, size, modified_at, taken, is_finished = row
    return FileProgress(
        path=path,
        size=size,
        modified_at=modified_at,
        taken=taken,
        is_finished=is_finished,
    )


def in_order(source_id: SourceId, readings: Iterable[Reading]) -> list[Increment]:
    """An increment for each reading, the latest last: of equal runs that one counts."""
    ordered = sorted(readings, key=lambda each: each.true_at)
    return [_increment(source_id, each) for each in ordered]


def _increment(source_id: SourceId, reading: Reading) -> Increment:
    entry = reading.entry
    return Increment(
        source_id=source_id,
        thread_id=entry.thread_id,
        read_before=None,
        read_at=reading.true_at,
        runs=() if isinstance(entry, Reject) else (entry,),
        rejects=(entry,) if isinstance(entry, Reject) else (),
        payloads=(reading.payload,),
        bookmark=NOWHERE,
        completes=False,
        walked=False,
    )
