"""What a sync has copied so far, and what must hold of it at any instant."""

from typing import Any

from sqlalchemy.engine import Engine

from etl.demo.life import Life
from etl.demo.world import World
from etl.domain.batch import SourceId
from etl.domain.run import is_terminal
from etl.load.database import connected
from etl.load.reading import read_runs
from etl.transform import rebuild
from tests.integration.builders import query
from tests.integration.daily_sums import DIFFERENCES
from tests.integration.serving import Value

WRITTEN = """
    SELECT (to_jsonb(r)
            - ARRAY['first_seen_at', 'changed_at', 'sync_id', 'change_xid'])::text
    FROM run_history.runs r ORDER BY source_id, run_id
"""
BOOKMARKS = """
    SELECT thread_id, synced_through, watched_run_ids
    FROM run_sync.threads ORDER BY thread_id
"""
HEALTH = """
    SELECT thread_id, last_run_at, runs_seen, consecutive_errors, last_error
    FROM run_sync.threads ORDER BY thread_id
"""
ONLY_SOURCE = SourceId(1)
DICTIONARIES = (
    "SELECT instructions_id::text FROM run_history.instructions ORDER BY 1",
    "SELECT tool_set_id::text, position FROM run_history.tools ORDER BY 1, 2",
)


class Copied:
    """The tables that follow one world, which a test looks at again and again."""

    def __init__(self, engine: Engine, world: World) -> None:
        self.engine = engine
        self._world = world
        self._shown: list[dict[str, Value]] = []
        self._ids: set[str] = set()

    def payloads(self) -> dict[str, Value]:
        """Every payload, rebuilt from the tables, by id; no run may be there twice."""
        with connected(self.engine) as connection:
            found = [rebuild(run) for run in read_runs(connection, ONLY_SOURCE)]
        by_id = {payload["id"]: bare(payload) for payload in found}
        assert len(by_id) == len(found)
        return by_id

    def everything(self) -> list[list[tuple[object, ...]]]:
        """All that does not depend on when, and by how many syncs, it was read.

        A bookmark does: it stops before runs that were young at that moment.
        """
        return [query(self.engine, each) for each in (WRITTEN, HEALTH, *DICTIONARIES)]

    def is_whole(self, *, at: int) -> bool:
        """Whether the tables equal the world."""
        return self.payloads() == self._world_at(at)

    def check(self, *, at: int) -> None:
        """No run is lost, made up or there twice, and the bookmarks tell the truth.

        Call it with every instant at which the world was read.
        """
        self._shown.append(self._world_at(at))
        payloads = self.payloads()
        assert payloads.keys() >= self._ids, "rows have gone"
        self._ids = set(payloads)
        for run_id, payload in payloads.items():
            assert any(payload == shown.get(run_id) for shown in self._shown)
        assert query(self.engine, DIFFERENCES) == []
        self._check_bookmarks(payloads)
        self._check_counts(len(payloads))

    def _check_bookmarks(self, payloads: dict[str, Value]) -> None:
        """What stands before a bookmark is in the tables as it will stay for ever."""
        for thread_id, synced_through, *_ in query(self.engine, BOOKMARKS):
            if synced_through is None:
                continue
            ids = [life.id for life in self._lives(thread_id)]
            for run_id in ids[: ids.index(synced_through) + 1]:
                assert is_terminal(payloads[run_id]["status"])
                assert payloads[run_id] == self._shown[-1][run_id]

    def _check_counts(self, runs: int) -> None:
        """Counters were committed with the rows they count."""
        assert query(
            self.engine,
            "SELECT thread_id, runs_seen, last_run_at FROM run_sync.threads"
            " WHERE runs_seen > 0 ORDER BY 1",
        ) == query(
            self.engine,
            "SELECT thread_id, count(*), max(created_at) FROM run_history.runs"
            " GROUP BY 1 ORDER BY 1",
        )
        assert query(
            self.engine, "SELECT coalesce(sum(runs_created), 0) FROM run_sync.syncs"
        ) == [(runs,)]

    def _lives(self, thread_id: str) -> tuple[Life, ...]:
        thread = self._world.thread(thread_id)
        assert thread is not None
        return thread.lives

    def _world_at(self, at: int) -> dict[str, Value]:
        return {run["id"]: bare(run) for run in self._world.all_payloads(at=at)}


def bare(value: Any) -> Any:
    """A JSON value without its null members, which count as absent."""
    match value:
        case dict():
            return {key: bare(each) for key, each in value.items() if each is not None}
        case list():
            return list(map(bare, value))
        case _:
            return value
