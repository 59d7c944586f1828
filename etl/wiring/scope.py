"""Which threads a sync reads, and how."""

from dataclasses import dataclass

import sqlalchemy as sa

from etl.config import SourceConfig
from etl.domain.batch import SourceId
from etl.domain.run import ThreadId
from etl.load import threads


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """Which threads a sync reads, which of them from their start, and who takes part.

    One that `is_whole` discovers threads first, and leaves for later what is not due.
    """

    trigger: str
    sources: tuple[SourceConfig, ...]
    thread: ThreadId | None
    more: tuple[sa.ColumnElement[bool], ...] = ()
    from_start: sa.ColumnElement[bool]
    is_whole: bool = False
    is_shared: bool = False

    def choice(self, source_id: SourceId) -> threads.Choice:
        """The threads of one source."""
        return [*threads.due(source_id, self.thread), *self.more]
