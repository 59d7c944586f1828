"""Hints: when threads were active, from an application's query to the plan."""

import sqlite3
import threading
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.engine import Engine

from etl.config import Config, DiscoveryConfig, Settings, SourceConfig, SyncConfig
from etl.domain.batch import SourceId
from etl.domain.discovery import Discovered
from etl.domain.found import Found
from etl.domain.run import ThreadId
from etl.load.asking import Question, asked
from etl.load.database import connected
from etl.load.threads import record_source
from etl.load.tracking import track, track_found, untrack
from etl.operations.doctor.discovering import check_discovery
from etl.operations.doctor.finding import Place
from etl.sync import discover_by_query
from etl.wiring.discovering import Findings
from etl.wiring.planning import rule_of
from tests.conftest import as_text
from tests.integration.builders import execute, query

LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)


@pytest.fixture
def engine(swept_engine: Engine) -> Engine:
    return swept_engine


@pytest.fixture
def source(engine: Engine) -> SourceId:
    return record_source(engine, name="demo", kind="openai", base_url=None)


def ids(*names: str) -> list[ThreadId]:
    return [ThreadId(name) for name in names]


def active(engine: Engine) -> dict[str, datetime | None]:
    statement = "SELECT thread_id, active_at FROM run_sync.threads"
    return dict(query(engine, statement))


def test_activity_moves_on_and_never_back(engine: Engine, source: SourceId) -> None:
    track(engine, source, ids("a", "b", "c"))
    a, b, new = ids("a", "b", "new")

    told = {a: LONG_AGO, b: LONG_AGO, new: LONG_AGO}
    first = track_found(engine, source, [a, b, new], told)
    again = track_found(engine, source, [a, b], {a: LONG_AGO, b: LONG_AGO - DAY})
    later = track_found(engine, source, [a, b], {a: LONG_AGO + DAY})

    assert first == Found(added=1, known=2, kept_out=0, moved=3)
    assert (again.moved, later.moved) == (0, 1)
    assert active(engine) == {
        "a": LONG_AGO + DAY,
        "b": LONG_AGO,
        "c": None,
        "new": LONG_AGO,
    }


def test_activity_ahead_of_our_clock_counts_as_now(
    engine: Engine, source: SourceId
) -> None:
    [a] = ids("a")
    track_found(engine, source, [a], {a: datetime(2999, 1, 1, tzinfo=UTC)})

    found = active(engine)["a"]
    assert found is not None
    assert found <= query(engine, "SELECT clock_timestamp()")[0][0]


def test_a_thread_that_is_kept_out_stays_out_whatever_it_does(
    engine: Engine, source: SourceId
) -> None:
    [a] = ids("a")
    untrack(engine, source, [a])

    assert track_found(engine, source, [a], {a: LONG_AGO}) == Found(
        added=0, known=0, kept_out=1
    )
    assert active(engine) == {}


def discovered(engine: Engine, source: SourceId, question: Question) -> Discovered:
    """Run a query as a sync does, all of it."""
    found = Discovered()
    findings = Findings(
        engine=engine, source_id=source, sync_id=0, question=question.digest
    )
    stop = threading.Event()
    for _ in discover_by_query(
        lambda after: asked(question, after=after, stop=stop), findings, found, after=None
    ):
        pass
    return found


def test_postgres_tells_activity_in_any_type_even_beyond_all_clocks(
    engine: Engine, source: SourceId
) -> None:
    sql = """
        SELECT thread_id, active_at FROM (VALUES
            ('a', timestamptz '2026-01-02 03:04:05Z'), ('b', 'infinity'), ('c', NULL),
            ('d', '-infinity'), ('e', timestamptz '4000-01-01 00:00:00 BC')
        ) AS told (thread_id, active_at)
    """
    url = as_text(engine.url.set(drivername="postgresql"))
    question = Question.to(url, sql, seconds=60, variable="APP")
    found = discovered(engine, source, question)

    told = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    assert active(engine) == {"a": told, "b": None, "c": None, "d": None, "e": None}
    assert (found.added, found.odd_instants) == (5, 3)
    assert found.odd_instant_example == "'infinity'"
    assert query(engine, "SELECT hints FROM run_sync.discoveries") == [(True,)]


def test_sqlite_tells_activity_as_texts_and_as_seconds(
    engine: Engine, source: SourceId, tmp_path: Path
) -> None:
    path = tmp_path / "app.db"
    with closing(sqlite3.connect(path)) as application, application:
        application.execute("CREATE TABLE chats (thread_id, active_at)")
        rows = [("a", "2026-01-02 03:04:05"), ("b", 1_767_323_045), ("c", "soon")]
        application.executemany("INSERT INTO chats VALUES (?, ?)", rows)
    sql = "SELECT thread_id, active_at, active_at AS position FROM chats"
    question = Question.to(f"sqlite:///{path}", sql, seconds=60, variable="APP")
    found = discovered(engine, source, question)

    told = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    assert active(engine) == {"a": told, "b": told, "c": None}
    assert (found.odd_instants, found.odd_instant_example) == (1, "'soon'")


def hints_hold(engine: Engine, source: SourceId, **facts: Any) -> bool:
    """Whether a plan goes by the hints of a discovery."""
    discovery = DiscoveryConfig(sql="SELECT 1", url_env="APP")
    told = SourceConfig(name="demo", base_url="http://x/v1", discovery=discovery)
    settings = Settings(
        path=Path("config.toml"),
        config=Config(sources=(told,), sync=SyncConfig(**facts)),
        environment={},
    )
    with connected(engine) as connection:
        return rule_of(connection, settings, told, source).hints


def test_hints_are_believed_for_a_day_longer_than_the_time_between_syncs(
    engine: Engine, source: SourceId
) -> None:
    url = as_text(engine.url.set(drivername="postgresql"))
    with_hints = "SELECT 'a' AS thread_id, now() AS active_at"
    assert not hints_hold(engine, source)

    discovered(engine, source, Question.to(url, with_hints, seconds=9, variable="APP"))
    assert hints_hold(engine, source)

    back = "UPDATE run_sync.discoveries SET discovered_at = discovered_at - interval '%s'"
    execute(engine, back % "47 hours")
    assert hints_hold(engine, source)
    execute(engine, back % "1 hour")
    assert not hints_hold(engine, source)

    without = "SELECT 'a' AS thread_id"
    discovered(engine, source, Question.to(url, without, seconds=9, variable="APP"))
    assert not hints_hold(engine, source)


ANSWERS = "the query answers, and each sync asks for all rows"
USED = f"{ANSWERS}; its active_at tells which threads are due"
ODD = "the query's first row holds 'soon' as active_at, which is no instant"


@pytest.mark.parametrize(
    ("active_at", "status", "said"),
    [("1767323045", "ok", USED), ("NULL", "ok", USED), ("'soon'", "failed", ODD)],
)
def test_the_doctor_looks_at_the_column(
    tmp_path: Path, active_at: str, status: str, said: str
) -> None:
    with closing(sqlite3.connect(tmp_path / "app.db")):
        discovery = DiscoveryConfig(
            sql=f"SELECT 'a' AS thread_id, {active_at} AS active_at", url_env="APP"
        )
    told = SourceConfig(name="demo", base_url="http://x/v1", discovery=discovery)
    settings = Settings(
        path=tmp_path / "config.toml",
        config=Config(sources=(told,)),
        environment={"APP": f"sqlite:///{tmp_path / 'app.db'}"},
    )

    found = check_discovery(settings, Place("demo"), told, discovery)
    assert (found.verdict.value, found.told) == (status, said)
