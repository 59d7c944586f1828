"""What comes before the threads of a source are read: new ones found, due ones leased."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from math import inf
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from etl.config import Settings, SourceConfig
from etl.domain.batch import SourceId
from etl.domain.errors import DatabaseError, StoppedError, SyncError
from etl.domain.outcome import SyncReport
from etl.domain.run import SECOND
from etl.extract.client import Pace
from etl.extract.proof import Pool
from etl.load import leases, ledger, plans, threads
from etl.load.database import connected
from etl.load.holding import Hold
from etl.load.planning import chosen
from etl.load.shown import pooled
from etl.sync import Discover
from etl.wiring.planning import plan_source
from etl.wiring.scope import Scope
from etl.wiring.sources import shared_budget, waiting

Planned = tuple[int, int, sa.Select[Any]]
"""How many threads are due, how many are left for later, and which are due."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Preparation:
    """One source of one sync, until its threads can be read.

    Where processes share the sync, one of them does it and the others wait.
    """

    settings: Settings
    engine: Engine
    scope: Scope
    hold: Hold
    source: SourceConfig
    source_id: SourceId
    report: SyncReport
    stop: threading.Event
    began: float = field(default_factory=time.monotonic)

    def prepared(self, discover: Discover) -> Iterator[int]:
        """Discover threads and plan which are read; yields how many were new.

        A discovery that fails is told after the plan: those that are known can be read.
        """
        turn = plans.turn(
            self.engine, self.hold.sync_id, self.source_id, wait=waiting(self.stop)
        )
        with turn as is_mine:
            trouble = None
            if is_mine:
                try:
                    yield from discover()
                except (StoppedError, DatabaseError):
                    raise
                except SyncError as error:
                    trouble = error
                self._plan()
            ledger.look(self.engine, self.report)
            if trouble is not None:
                raise trouble

    @contextmanager
    def budget(self) -> Iterator[Pace | None]:
        """The budget that the processes of a shared sync have in common; else none."""
        if not self.hold.is_shared:
            yield None
            return
        common = shared_budget(self.engine, self.source, self.source_id, stop=self.stop)
        with common as budget:
            yield budget

    @property
    def pool(self) -> Pool | None:
        """What the server has shown to the processes of a shared sync; else none."""
        if not self.hold.is_shared:
            return None
        return partial(pooled, self.engine, self.hold.sync_id, self.source_id)

    def _plan(self) -> None:
        """Write down which threads are read, as leases to be taken.

        The ledger's row comes last: all that is committed meanwhile counts up in it.
        """
        with connected(self.engine) as connection, connection.begin():
            planned = self._planned if self._chooses else self._all
            if (plan := planned(connection)) is None:
                return
            due, left, ids = plan
            leases.write(
                connection,
                self.hold.sync_id,
                self.source_id,
                ids,
                together=leases.together(due, shared=self.hold.is_shared),
            )
            ledger.note_planned(connection, self.hold.sync_id, due=due, left=left)

    @property
    def _chooses(self) -> bool:
        """Whether threads may be left for later: as time is set, or something may hint."""
        is_timed = self.settings.config.sync.time_allowed is not None
        return self.scope.is_whole and (is_timed or self.source.discovery is not None)

    def _planned(self, connection: Connection) -> Planned | None:
        """The threads that are due now, the most urgent first; None if planned already."""
        plan = plan_source(
            connection,
            self.settings,
            self.source,
            self.source_id,
            left_seconds=seconds_left(self.settings, self.hold) - self._spent_seconds,
        )
        is_ours = plans.write(
            connection,
            self.hold.sync_id,
            self.source_id,
            known=plan.known,
            due=plan.due,
            requests_expected=plan.requests_expected,
            factor=plan.factor,
        )
        if not is_ours:
            return None
        return plan.due, plan.left, chosen(self.source_id, plan.rule, plan)

    @property
    def _spent_seconds(self) -> float:
        """How long the discovery took: of the window as much is gone."""
        return time.monotonic() - self.began

    def _all(self, connection: Connection) -> Planned | None:
        """All threads that the scope names; None if planned already."""
        choice = self.scope.choice(self.source_id)
        due = threads.count_chosen(connection, choice)
        sync_id = self.hold.sync_id
        if not plans.write(connection, sync_id, self.source_id, known=due, due=due):
            return None
        return due, 0, threads.chosen(choice)


def seconds_left(settings: Settings, hold: Hold) -> float:
    """How long threads may still be given out in a sync."""
    allowed = settings.config.sync.time_allowed
    if allowed is None:
        return inf
    return allowed.total_seconds() - (hold.now - hold.started_at) / SECOND
