"""What files of run history hold, what is written of it, and what is told in the end."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from etl.domain.batch import SourceId
from etl.domain.drift import Drift
from etl.domain.outcome import Outcome
from etl.domain.page import Payload
from etl.domain.run import Instant, Reject, Run

MOST_TROUBLES = 10
"""Sentences about files that a report keeps; the others are counted."""


class Other(NamedTuple):
    """Something in a file that is no run; `kind` is what it says it is."""

    kind: str


class Damage(NamedTuple):
    """What is wrong with a file; `line` counts from 1, `place`, in bytes, from 0."""

    what: str
    line: int
    place: int


class Reading(NamedTuple):
    """A run or reject out of a file, and the instant at which that surely was true."""

    entry: Run | Reject
    true_at: Instant
    payload: Payload


@dataclass(frozen=True, slots=True, kw_only=True)
class FileProgress:
    """How far a file is taken in: so many of its objects, from the first on."""

    path: str
    size: int
    modified_at: Instant
    taken: int
    is_finished: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportBatch:
    """One transaction's worth, out of any number of files of one source."""

    source_id: SourceId
    readings: Sequence[Reading]
    drift: Sequence[Drift]
    progress: Sequence[FileProgress]


@dataclass(frozen=True, slots=True, kw_only=True)
class Imported:
    """What one batch did to the tables.

    `left` are runs that differ from their rows, which are as new or newer; `kept_out`
    those of forgotten threads. Both are not among `unchanged`.
    """

    created: int = 0
    updated: int = 0
    unchanged: int = 0
    left: int = 0
    rejects: int = 0
    kept_out: int = 0
    threads_tracked: int = 0


@dataclass(slots=True, kw_only=True)
class ImportReport:
    """The figures of one import, counted while it works.

    `sync_id` is None where nothing is written. `others` counts what is no run by what
    it is; `troubles` are the first sentences about files, of `troubles_count`.
    """

    sync_id: int | None
    outcome: Outcome = Outcome.SUCCEEDED
    files: int = 0
    files_known: int = 0
    files_resumed: int = 0
    bytes_read: int = 0
    runs_read: int = 0
    runs_created: int = 0
    runs_updated: int = 0
    runs_unchanged: int = 0
    runs_left: int = 0
    runs_kept_out: int = 0
    rejects: int = 0
    threads_tracked: int = 0
    others: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0
    troubles: list[str] = field(default_factory=list)
    troubles_count: int = 0

    def count(self, done: Imported) -> None:
        """Add what one batch did."""
        self.runs_created += done.created
        self.runs_updated += done.updated
        self.runs_unchanged += done.unchanged
        self.runs_left += done.left
        self.runs_kept_out += done.kept_out
        self.runs_read += done.created + done.updated + done.unchanged + done.left
        self.rejects += done.rejects
        self.threads_tracked += done.threads_tracked

    def complain(self, sentence: str) -> None:
        """Note what is wrong with a file."""
        self.troubles_count += 1
        if len(self.troubles) < MOST_TROUBLES:
            self.troubles.append(sentence)
