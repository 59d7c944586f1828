"""A model world and syncs in any order: whatever happens, the tables follow the world.

Threads and runs come, go on, go back, end, change and vanish, between syncs and in the
middle of them; syncs meet each other, are stopped, start anew. `RUNTIDE_EXAMPLES`
says how many lives of a world the slow test tries.
"""

import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, nullcontext
from dataclasses import replace
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    rule,
    run_state_machine_as_test,
)
from sqlalchemy.engine import Engine

from etl.config import Config, DatabaseConfig, Settings, SourceConfig, SyncConfig
from etl.domain.batch import SourceId
from etl.domain.errors import HeldError
from etl.domain.outcome import Outcome, SyncReport
from etl.domain.run import ThreadId, is_terminal
from etl.load.database import connected
from etl.load.reading import read_runs
from etl.load.threads import record_source
from etl.load.tracking import track
from etl.sync.verifying import Kind
from etl.transform import rebuild
from etl.wiring import run_backfill, run_sync, verify
from tests.conftest import as_text
from tests.integration.builders import comparable, query
from tests.integration.daily_sums import DIFFERENCES
from tests.integration.living import (
    DAMAGES,
    Act,
    Change,
    LivingSource,
    LivingWorld,
    Scheduled,
    as_sent,
)
from tests.integration.syncing import Unwatched

OPEN = ["queued", "in_progress", "requires_action"]
ACTS = [
    *[Act.CREATE] * 4,
    *[Act.END] * 3,
    *[act for act in Act if act not in {Act.CREATE, Act.END}],
]

small = st.integers(0, 7)
changes = st.builds(
    Change,
    act=st.sampled_from(ACTS),
    thread=small,
    run=small,
    seconds=st.sampled_from([0, 0, 1, 60]),
    status=st.sampled_from([*OPEN, "completed"]),
    is_stale=st.booleans(),
    damage=st.sampled_from([{}, {}, {}, {}, *DAMAGES]),
)
schedules = st.lists(
    st.builds(Scheduled, after=st.integers(0, 12), source=small, change=changes),
    max_size=5,
)
MEETINGS = """
WITH ours AS (
    SELECT sync_id, source_ids, tstzrange(started_at, finished_at) AS at_work
    FROM run_sync.syncs WHERE source_ids && CAST(:ids AS smallint[])
)
SELECT one.sync_id, other.sync_id FROM ours AS one JOIN ours AS other
ON one.sync_id < other.sync_id
AND one.source_ids && other.source_ids AND one.at_work && other.at_work"""
names = (f"example_{number}" for number in count())


class Syncs(RuleBasedStateMachine):
    """One life of a world, and of the tables that follow it."""

    def __init__(self, engine: Engine) -> None:
        super().__init__()
        self.engine = engine
        self.closing = ExitStack()
        self.seen: dict[tuple[str, str], int] = {}
        self.owes_a_backfill = False

    @initialize(
        trusted=st.lists(st.booleans(), min_size=1, max_size=2),
        threads=st.integers(1, 4),
        page_size=st.integers(1, 5),
        workers=st.integers(1, 3),
        are_ties_sorted_by_id=st.booleans(),
        first=st.lists(changes, max_size=12),
    )
    def begin(
        self,
        trusted: list[bool],
        threads: int,
        page_size: int,
        workers: int,
        first: list[Change],
        *,
        are_ties_sorted_by_id: bool,
    ) -> None:
        self.has_pages_of_one = page_size == 1
        self.world = LivingWorld(
            [
                LivingSource(
                    next(names), threads, are_ties_sorted_by_id=are_ties_sorted_by_id
                )
                for _ in trusted
            ]
        )
        urls = self.closing.enter_context(self.world.listening())
        self.settings = Settings(
            path=Path("config.toml"),
            config=Config(
                database=DatabaseConfig(url=as_text(self.engine.url)),
                sources=tuple(
                    SourceConfig(
                        name=source.name,
                        base_url=base_url,
                        requests_per_minute=10_000_000,
                        trusted=trust,
                    )
                    for source, base_url, trust in zip(
                        self.world.sources, urls, trusted, strict=True
                    )
                ),
                sync=SyncConfig(page_size=page_size, workers=workers),
            ),
            environment={},
        )
        self.source_ids = [self.tracked(source) for source in self.settings.config.sources]
        for change in first:
            self.change(0, change)
            self.change(1, change)

    def tracked(self, config: SourceConfig) -> SourceId:
        source_id = record_source(
            self.engine, name=config.name, kind=config.kind, base_url=config.base_url
        )
        source = next(each for each in self.world.sources if each.name == config.name)
        ids = [ThreadId(thread.thread_id) for thread in source.threads]
        track(self.engine, source_id, ids)
        return source_id

    # What happens ------------------------------------------------------------

    @rule(source=small, change=changes)
    def change(self, source: int, change: Change) -> None:
        source %= len(self.world.sources)
        self.world.sources[source].apply(self.possible(change))

    @rule(scheduled=schedules)
    def sync(self, scheduled: list[Scheduled]) -> None:
        self.schedule(scheduled)
        self.told(self.synced(threading.Event()))

    @rule(scheduled=schedules)
    def two_syncs_at_once(self, scheduled: list[Scheduled]) -> None:
        self.schedule(scheduled)
        sync = partial(self.synced, threading.Event())
        for report in self.at_once(sync, sync):
            self.told(report)

    @rule(scheduled=schedules, after=st.integers(0, 12))
    def a_sync_that_is_stopped(self, scheduled: list[Scheduled], after: int) -> None:
        stop = threading.Event()
        self.schedule(scheduled)
        self.world.stop_after(after, stop)
        self.told(self.synced(stop))

    @rule(scheduled=schedules, with_a_sync=st.booleans())
    def backfill(self, scheduled: list[Scheduled], *, with_a_sync: bool) -> None:
        self.schedule(scheduled)
        beside = [partial(self.synced, threading.Event())] if with_a_sync else []
        for report in self.at_once(self.backfilled, *beside):
            self.told(report)

    @rule()
    def a_quiet_sync_makes_the_tables_equal_the_world(self) -> None:
        self.schedule([])
        for thread in (each for source in self.world.sources for each in source.threads):
            thread.is_gone = False

        report = self.synced(threading.Event())

        assert not report.errors, [each.message for each in report.errors]
        assert report.outcome is Outcome.SUCCEEDED
        self.told(report)
        for source_id, source in self.sources():
            rows = self.rows(source_id)
            for run_id, run in source.runs.items():
                if not run.is_late and not run.damage:
                    assert rows[run_id] == comparable(run.payload)

    @rule()
    def a_quiet_backfill_finds_the_rest(self) -> None:
        self.a_quiet_sync_makes_the_tables_equal_the_world()
        if self.owes_a_backfill:  # which the next one only ends
            self.backfilled()
        report = self.backfilled()

        assert not report.errors, [each.message for each in report.errors]
        assert report.outcome is Outcome.SUCCEEDED
        self.told(report)
        for source_id, source in self.sources():
            rows, quarantine = self.rows(source_id), self.quarantine(source_id)
            for run_id, run in source.runs.items():
                if run.damage:
                    assert as_sent(run.payload) in quarantine
                else:
                    assert rows[run_id] == comparable(run.payload)
                run.is_late = False
        self.verify()

    def verify(self) -> None:
        """The product's own comparison finds only what the servers have dropped."""
        stop = threading.Event()
        there = {source.name: source.runs for source in self.world.sources}
        for each in verify(self.settings, source=None, sample=None, stop=stop):
            assert each.error is None
            for difference in each.differences:
                assert difference.kind is Kind.UNKNOWN
                assert difference.run_id not in there[each.source]

    def teardown(self) -> None:
        with self.closing:
            if hasattr(self, "world"):
                self.a_quiet_backfill_finds_the_rest()

    # What must hold after each sync -------------------------------------------

    def at_once(self, *working: Callable[[], SyncReport]) -> list[SyncReport]:
        """Let several begin at once; who finds the sources held leaves no trace."""
        before = self.ledger_rows()
        with ThreadPoolExecutor(len(working)) as pool:
            ended = [pool.submit(each) for each in working]
        held = [each for each in ended if isinstance(each.exception(), HeldError)]
        reports = [each.result() for each in ended if each not in held]
        assert reports
        assert self.ledger_rows() == before + len(reports)
        return reports

    def told(self, report: SyncReport) -> None:
        """Look at what a sync left behind."""
        self.world.catch_up()
        assert query(
            self.engine,
            "SELECT outcome, finished_at IS NOT NULL FROM run_sync.syncs"
            " WHERE sync_id = :id",
            id=report.sync_id,
        ) == [(report.outcome.value, True)]
        self.nobody_met()
        assert query(self.engine, DIFFERENCES) == []
        for source_id, source in self.sources():
            rows = self.rows(source_id)
            self.rows_are_true(source, rows)
            self.bookmarks_are_true(source_id, source, rows)

    def nobody_met(self) -> None:
        """No two syncs were ever at work on the same source at the same time."""
        assert query(self.engine, MEETINGS, ids=self.source_ids) == []

    def rows_are_true(self, source: LivingSource, rows: dict[str, Any]) -> None:
        """A row is what its run has been once, and never an older version than before."""
        for run_id, row in rows.items():
            version = int(row["metadata"]["version"])
            assert row == comparable(source.everything[run_id].versions[version])
            assert version >= self.seen.get((source.name, run_id), 0)
            self.seen[source.name, run_id] = version

    def bookmarks_are_true(
        self, source_id: SourceId, source: LivingSource, rows: dict[str, Any]
    ) -> None:
        """A run that the next pass will not list is in the tables, ended or watched."""
        for thread_id, overlap_from, watched in query(
            self.engine,
            "SELECT thread_id, overlap_from, watched_run_ids FROM run_sync.threads"
            " WHERE source_id = :id",
            id=source_id,
        ):
            thread = next(each for each in source.threads if each.thread_id == thread_id)
            reached = source.everything[overlap_from].created_at if overlap_from else 0
            for run in thread.runs:
                if run.created_at < reached and not (run.damage or run.is_late):
                    assert run.run_id in rows
                    is_over = is_terminal(rows[run.run_id]["status"])
                    assert is_over or run.run_id in watched

    # What it is made of -------------------------------------------------------

    def sources(self) -> Iterator[tuple[SourceId, LivingSource]]:
        return zip(self.source_ids, self.world.sources, strict=True)

    def schedule(self, scheduled: list[Scheduled]) -> None:
        self.world.schedule(
            [replace(each, change=self.possible(each.change)) for each in scheduled]
        )

    def possible(self, change: Change) -> Change:
        """A run without an id cannot be a cursor; with pages of one it must be."""
        if self.has_pages_of_one and "id" in change.damage:
            return replace(change, damage={})
        return change

    def synced(self, stop: threading.Event) -> SyncReport:
        return run_sync(
            self.settings,
            source=None,
            thread=None,
            watch=lambda: nullcontext(Unwatched()),
            stop=stop,
        )

    def backfilled(self) -> SyncReport:
        report = run_backfill(
            self.settings,
            source=None,
            thread=None,
            since=None,
            watch=lambda: nullcontext(Unwatched()),
            stop=threading.Event(),
        )
        self.owes_a_backfill = report.outcome is Outcome.FAILED
        return report

    def ledger_rows(self) -> int:
        statement = (
            "SELECT count(*) FROM run_sync.syncs"
            " WHERE source_ids && CAST(:ids AS smallint[])"
        )
        [(rows,)] = query(self.engine, statement, ids=self.source_ids)
        return int(rows)

    def rows(self, source_id: SourceId) -> dict[str, Any]:
        """Every payload, rebuilt from the tables; no run may be there twice."""
        with connected(self.engine) as connection:
            found = [rebuild(run) for run in read_runs(connection, source_id)]
        rows = {payload["id"]: comparable(payload) for payload in found}
        assert len(rows) == len(found)
        return rows

    def quarantine(self, source_id: SourceId) -> set[str]:
        statement = "SELECT payload FROM run_sync.rejects WHERE source_id = :id"
        return {text for (text,) in query(self.engine, statement, id=source_id)}


# Lives ------------------------------------------------------------------------

LIVES = int(os.environ.get("RUNTIDE_EXAMPLES", "400"))


@pytest.fixture
def engine(swept_engine: Engine) -> Engine:
    return swept_engine


def live(engine: Engine, number: int, *, lives: int, phases: list[Phase]) -> None:
    run_state_machine_as_test(
        seed(number)(lambda: Syncs(engine)),  # type: ignore[arg-type]  # a factory will do
        settings=settings(
            max_examples=lives,
            stateful_step_count=12,
            deadline=None,
            database=None,
            phases=phases,
            print_blob=True,
            suppress_health_check=list(HealthCheck),
        ),
    )


@pytest.mark.parametrize("number", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_whatever_happens_the_tables_follow_the_world(engine: Engine, number: int) -> None:
    live(engine, number, lives=4, phases=[Phase.generate])  # shrinking takes minutes


@pytest.mark.slow
def test_whatever_happens_in_many_lives_the_tables_follow_the_world(
    engine: Engine,
) -> None:
    number = int(os.environ.get("RUNTIDE_SEED", "0"))
    live(engine, number, lives=LIVES, phases=[Phase.generate, Phase.shrink])
