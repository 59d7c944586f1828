"""Discovery at every sync: an application's database is asked which threads there are."""

import logging
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, nullcontext
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import URL, Engine

from etl.config import Config, DatabaseConfig, DiscoveryConfig, Settings, SourceConfig
from etl.demo.server import DemoServer
from etl.demo.world import World
from etl.domain.outcome import Failure, Outcome, SyncReport
from etl.domain.run import ThreadId
from etl.load.tracking import untrack
from etl.wiring import run_sync
from tests.conftest import _database, as_text
from tests.integration.builders import execute, query
from tests.integration.syncing import Unwatched

WORLD = World(threads=6, runs=30)
PLAIN = "SELECT openai_thread_id AS thread_id FROM chats"
GROWING = "SELECT id AS position, openai_thread_id AS thread_id FROM chats"
SECRET = "hush-hush"


@pytest.fixture
def engine(swept_engine: Engine) -> Engine:
    return swept_engine


@pytest.fixture(scope="module")
def server() -> Iterator[DemoServer]:
    with DemoServer(WORLD, now=WORLD.now) as server:
        yield server


@pytest.fixture(scope="module")
def application(admin: Engine, server_url: URL) -> Iterator[Engine]:
    """Another database of Postgres, which is the application's."""
    for url in _database(admin, server_url, "template0"):
        engine = sa.create_engine(url.replace("postgresql:", "postgresql+psycopg:"))
        yield engine
        engine.dispose()


@pytest.fixture
def chats(application: Engine) -> Iterator[Callable[..., None]]:
    """The application's table; a call adds rows of it."""
    definition = "(id bigint GENERATED ALWAYS AS IDENTITY, openai_thread_id text)"

    def add(*thread_ids: str | None) -> None:
        for thread_id in thread_ids:
            statement = sa.text("INSERT INTO chats (openai_thread_id) VALUES (:id)")
            with application.begin() as connection:
                connection.execute(statement, {"id": thread_id})

    execute(application, f"CREATE TABLE chats {definition}")
    yield add
    execute(application, "DROP TABLE chats")


class Scene:
    """A source with a discovery, and everything that a sync says and leaves."""

    def __init__(self, engine: Engine, server: DemoServer, url: str) -> None:
        self.engine = engine
        self.base_url = server.base_url
        self.variables = {"APP_DATABASE_URL": url}
        self.told: dict[str, Any] = {}

    def sync(
        self,
        sql: str = PLAIN,
        *,
        thread: str | None = None,
        stop: threading.Event | None = None,
    ) -> SyncReport:
        told = {"sql": sql, "url_env": "APP_DATABASE_URL", "timeout": "60s"} | self.told
        source = SourceConfig(
            name="demo",
            base_url=self.base_url,
            requests_per_minute=10_000_000,
            discovery=DiscoveryConfig(**told),
        )
        settings = Settings(
            path=Path("config.toml"),
            config=Config(
                database=DatabaseConfig(url=as_text(self.engine.url)), sources=(source,)
            ),
            environment=self.variables,
        )
        return run_sync(
            settings,
            source=None,
            thread=ThreadId(thread) if thread else None,
            watch=lambda: nullcontext(Unwatched()),
            stop=stop or threading.Event(),
        )

    def tracked(self) -> set[str]:
        return {
            each for (each,) in query(self.engine, "SELECT thread_id FROM run_sync.threads")
        }

    @property
    def source_id(self) -> Any:
        ((source_id,),) = query(self.engine, "SELECT source_id FROM run_sync.sources")
        return source_id

    @property
    def position(self) -> str | None:
        ((position,),) = query(self.engine, "SELECT position FROM run_sync.discoveries")
        return None if position is None else str(position)


@pytest.fixture
def scene(engine: Engine, server: DemoServer, application: Engine) -> Scene:
    return Scene(engine, server, as_text(application.url.set(drivername="postgresql")))


def sole_failure(report: SyncReport) -> Failure:
    (failure,) = report.errors
    return failure


def test_threads_of_the_application_are_found_and_read_in_the_same_sync(
    scene: Scene, chats: Callable[..., None], engine: Engine
) -> None:
    chats(*WORLD.thread_ids)

    first = scene.sync()
    second = scene.sync()

    assert (first.outcome, first.threads_found, first.threads) == (Outcome.SUCCEEDED, 6, 6)
    assert (second.outcome, second.threads_found, second.threads) == (
        Outcome.SUCCEEDED,
        0,
        6,
    )
    assert scene.tracked() == set(WORLD.thread_ids)
    assert query(engine, "SELECT threads, threads_due FROM run_sync.syncs") == [(6, 6)] * 2


def test_duplicates_blanks_and_odd_values_are_dealt_with_and_told(
    scene: Scene, chats: Callable[..., None], caplog: pytest.LogCaptureFixture
) -> None:
    good = WORLD.thread_ids[0]
    chats(good, f"  {good}\n", None, "", "   ", "thread\x07bell", "x" * 300, "..")

    with caplog.at_level(logging.INFO, logger="etl"):
        report = scene.sync()

    assert scene.tracked() == {good}
    assert report.outcome is Outcome.SUCCEEDED
    (told,) = [each for each in caplog.records if each.msg == "threads discovered"]
    assert told.levelname == "WARNING"
    figures = vars(told)
    assert figures["rows"] == 8
    assert (figures["blank"], figures["odd"], figures["added"]) == (3, 3, 1)
    assert figures["odd_example"] == r"'thread\x07bell'"


def test_the_column_is_found_by_its_name_or_is_the_first_and_others_are_ignored(
    scene: Scene, chats: Callable[..., None]
) -> None:
    one, other, third = WORLD.thread_ids[:3]
    chats(one)
    named = "SELECT now() AS active_at, openai_thread_id AS thread_id, 'x' AS x FROM chats"
    scene.sync(named)
    scene.sync(f"SELECT '{other}', 'thread_wrong' AS y -- 100% of them")
    scene.sync(f"WITH all_of AS (SELECT '{third}'::text AS t) SELECT t FROM all_of;")

    assert scene.tracked() == {one, other, third}


def test_numbers_and_uuids_are_ids_too(scene: Scene) -> None:
    uuid = "6a1d2a26-8f6c-4b0e-9d2b-6f9d3f0a1b2c"
    scene.sync("SELECT 17::bigint AS thread_id")
    scene.sync(f"SELECT '{uuid}'::uuid AS thread_id")
    scene.sync("SELECT true AS thread_id")

    assert scene.tracked() == {"17", uuid}


def test_with_a_position_only_what_is_behind_it_is_asked_for(
    scene: Scene,
    application: Engine,
    chats: Callable[..., None],
    caplog: pytest.LogCaptureFixture,
) -> None:
    a, b, c = WORLD.thread_ids[:3]
    chats(a, b)
    scene.sync(GROWING)
    first = scene.position
    chats(c)
    with caplog.at_level(logging.INFO, logger="etl"):
        report = scene.sync(GROWING)

    assert (first, scene.position) == ("2", "3")
    assert report.threads_found == 1
    rows = [
        vars(each)["rows"] for each in caplog.records if each.msg == "threads discovered"
    ]
    assert rows == [1]


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        (("9", "10", "11"), "bigint"),
        (("1.5", "10.25", "11"), "numeric"),
        (("2026-11-01 00:00+00", "2026-11-01 02:00:00.5+02", "2026-11-02"), "timestamptz"),
        (("2026-11-01 00:00:00.25", "2026-11-01 01:00:00", "2026-11-02"), "timestamp"),
        (("2026-09-30", "2026-10-01", "2026-10-02"), "date"),
        (("Z'\\", "a%s", "ä:position"), "text"),
        (
            (
                "00000000-0000-0000-0000-000000000009",
                "00000000-0000-0000-0000-00000000000a",
                "10000000-0000-0000-0000-000000000000",
            ),
            "uuid",
        ),
    ],
)  # fmt: skip
def test_a_position_of_any_type_comes_back_as_its_own_type(
    scene: Scene, application: Engine, values: tuple[str, ...], kind: str
) -> None:
    execute(application, f"CREATE TABLE seen (at {kind}, thread_id text)")
    found = []
    try:
        ordered = query(
            application,
            f"SELECT v FROM unnest(CAST(:v AS text[])) v ORDER BY v::{kind}",
            v=list(values),
        )
        for number, (value,) in enumerate(ordered):
            with application.begin() as connection:
                statement = sa.text(f"INSERT INTO seen VALUES (CAST(:v AS {kind}), :t)")
                connection.execute(statement, {"v": value, "t": WORLD.thread_ids[number]})
            report = scene.sync("SELECT at AS position, thread_id FROM seen")
            assert report.errors == []
            found.append(report.threads_found)
    finally:
        execute(application, "DROP TABLE seen")

    assert found == [1, 1, 1]


def test_what_was_committed_late_is_found_when_all_is_asked_for_again(
    scene: Scene, engine: Engine, application: Engine, chats: Callable[..., None]
) -> None:
    early, late = WORLD.thread_ids[:2]
    chats(None, early)
    scene.sync(GROWING)
    execute(application, f"UPDATE chats SET openai_thread_id = '{late}' WHERE id = 1")

    missed = scene.sync(GROWING)
    execute(engine, "UPDATE run_sync.discoveries SET whole_at = now() - interval '7 days'")
    found = scene.sync(GROWING)

    assert (missed.threads_found, found.threads_found) == (0, 1)
    assert scene.position == "2"


def test_a_changed_query_begins_at_the_start(
    scene: Scene, chats: Callable[..., None]
) -> None:
    a, b = WORLD.thread_ids[:2]
    chats(a, b)
    scene.sync(GROWING + " WHERE id > 1")

    report = scene.sync(GROWING)

    assert report.threads_found == 1


def test_a_thread_that_leaves_the_discovery_stays_and_one_that_was_untracked_stays_out(
    scene: Scene, engine: Engine, application: Engine, chats: Callable[..., None]
) -> None:
    a, b = WORLD.thread_ids[:2]
    chats(a, b)
    scene.sync()
    untrack(engine, scene.source_id, [ThreadId(b)])
    execute(application, f"DELETE FROM chats WHERE openai_thread_id = '{a}'")

    report = scene.sync()

    assert scene.tracked() == {a}
    assert (report.threads_found, report.threads) == (0, 1)


def test_a_sync_of_one_thread_discovers_nothing(
    scene: Scene, chats: Callable[..., None]
) -> None:
    a, b = WORLD.thread_ids[:2]
    chats(a)
    scene.sync()
    chats(b)

    scene.sync(thread=a)

    assert scene.tracked() == {a}


def test_more_rows_than_are_held_at_once_are_all_found(
    scene: Scene, engine: Engine, server: DemoServer
) -> None:
    scene.base_url = "http://127.0.0.1:9/v1"  # nobody is asked for their runs
    sql = (
        "SELECT n AS position, 'thread_' || n AS thread_id FROM generate_series(1, 25000) n"
    )

    report = scene.sync(sql)

    assert report.threads_found == 25_000
    assert scene.position == "25000"
    assert query(engine, "SELECT threads_due FROM run_sync.syncs") == [(25_000,)]


FAILURES = {
    "SELECT thread_id FROM nowhere": (
        "the database at {place} refused the query: relation \"nowhere\" does not exist;"
        " correct sql in [sources.discovery]"
    ),
    "SELECT pg_sleep(60)::text": (
        "the query took longer than 1 seconds; make it quicker, or raise timeout in"
        " [sources.discovery]"
    ),
    "SELECT write_down()::text": (
        "the database at {place} refused the query: cannot execute INSERT in a read-only"
        " transaction; correct sql in [sources.discovery]"
    ),
    "DELETE FROM chats RETURNING openai_thread_id": (
        "the database at {place} refused the query: syntax error at or near \"FROM\";"
        " correct sql in [sources.discovery]"
    ),
    "SELECT 1; DELETE FROM chats": (
        "the database at {place} refused the query: syntax error at or near \";\";"
        " correct sql in [sources.discovery]"
    ),
    "SELECT '' AS thread_id, true AS position": (
        "its column position is of a type (bool) that runtide cannot keep; return a number,"
        " an instant, a text or a uuid"
    ),
}  # fmt: skip


@pytest.mark.parametrize("sql", FAILURES)
def test_a_discovery_that_fails_is_one_sentence_and_the_tracked_threads_are_read(
    scene: Scene, application: Engine, chats: Callable[..., None], engine: Engine, sql: str
) -> None:
    chats(WORLD.thread_ids[0])
    execute(
        application,
        "CREATE OR REPLACE FUNCTION write_down() RETURNS int LANGUAGE sql AS"
        " 'INSERT INTO chats (openai_thread_id) VALUES (''x'') RETURNING 1'",
    )
    scene.sync()
    scene.told = {"timeout": "1s"}

    report = scene.sync(sql)

    place = as_text(application.url.set(drivername="postgresql"))
    sentence = FAILURES[sql].format(place=place)
    assert sole_failure(report).sentence == (
        f"demo: new threads were not discovered: {sentence}"
    )
    assert (report.outcome, report.threads) == (Outcome.PARTIAL, 1)
    assert query(application, "SELECT count(*) FROM chats") == [(1,)]


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        (
            "",
            (
                "the environment variable APP_DATABASE_URL, which holds the URL of the"
                " database that knows the threads of source 'demo', is not set; set it"
            ),
        ),
        (
            f"mysql://app:{SECRET}@host/chats",
            (
                "the URL in APP_DATABASE_URL begins with mysql://, but threads are"
                " discovered in Postgres and SQLite only; write it as"
                " postgresql://user@host/name or sqlite:////path/of/the/file.db"
            ),
        ),
        (
            f"{SECRET}",
            (
                "the URL in APP_DATABASE_URL cannot be read; write it as"
                " postgresql://user@host/name or sqlite:////path/of/the/file.db"
            ),
        ),
        (
            f"postgresql://app:{SECRET}@127.0.0.1:9/chats",
            (
                "the database at postgresql://app:***@127.0.0.1:9/chats cannot be reached:"
                ' connection failed: connection to server at "127.0.0.1", port 9 failed:'
                " Connection refused; check that it runs and that the variable of url_env"
                " is right"
            ),
        ),
        (
            "sqlite:////nowhere/chats.db",
            (
                "the database at sqlite:////nowhere/chats.db cannot be reached: unable to"
                " open database file; check that it runs and that the variable of url_env"
                " is right"
            ),
        ),
        (
            "sqlite://",
            ("the URL names no file of SQLite; write it as sqlite:////path/of/the/file.db"),
        ),
    ],
)
def test_a_database_that_cannot_be_asked_is_named_without_its_secret(
    scene: Scene, engine: Engine, url: str, sentence: str, caplog: pytest.LogCaptureFixture
) -> None:
    scene.variables = {"APP_DATABASE_URL": url}

    report = scene.sync()

    assert sole_failure(report).sentence == (
        f"demo: new threads were not discovered: {sentence}"
    )
    assert report.outcome is Outcome.FAILED  # for nothing was read
    written = query(engine, "SELECT error FROM run_sync.syncs")
    assert SECRET not in f"{written} {report} {caplog.text}"


class TestSQLite:
    """The same over a file of SQLite."""

    @pytest.fixture
    def file(self, tmp_path: Path, scene: Scene) -> Path:
        path = tmp_path / "chats.db"
        scene.variables = {"APP_DATABASE_URL": f"sqlite:///{path}"}
        with closing(sqlite3.connect(path)) as connection, connection:
            connection.execute("CREATE TABLE chats (id INTEGER, openai_thread_id TEXT)")
        return path

    def add(self, path: Path, id_: Any, thread_id: str | None) -> None:
        with closing(sqlite3.connect(path)) as connection, connection:
            connection.execute("INSERT INTO chats VALUES (?, ?)", (id_, thread_id))

    def test_threads_are_found_behind_the_position(self, file: Path, scene: Scene) -> None:
        a, b, c = WORLD.thread_ids[:3]
        found = []
        for number, thread_id in ((9, a), (10, b), (11, c)):
            self.add(file, number, thread_id)
            found.append(scene.sync(GROWING).threads_found)

        assert found == [1, 1, 1]
        assert scene.tracked() == {a, b, c}
        assert scene.position == "11"

    def test_a_text_is_a_position_too(self, file: Path, scene: Scene) -> None:
        a, b = WORLD.thread_ids[:2]
        sql = "SELECT 'it''s ' || id AS position, openai_thread_id AS thread_id FROM chats"
        self.add(file, 1, a)
        scene.sync(sql)
        self.add(file, 2, b)

        assert scene.sync(sql).threads_found == 1
        assert scene.position == '"it\'s 2"'

    @pytest.mark.parametrize(
        ("sql", "said"),
        [
            (
                "SELECT x FROM nowhere",
                (
                    "the database at sqlite:///{path} refused the query: no such table:"
                    " nowhere; correct sql in [sources.discovery]"
                ),
            ),
            (
                (
                    "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n)"
                    " SELECT count(*) FROM n"
                ),
                (
                    "the query took longer than 1 seconds; make it quicker, or raise"
                    " timeout in [sources.discovery]"
                ),
            ),
        ],
    )
    def test_what_fails_is_one_sentence(
        self, file: Path, scene: Scene, sql: str, said: str
    ) -> None:
        scene.told = {"timeout": "1s"}

        report = scene.sync(sql)

        told = said.format(path=file)
        assert sole_failure(report).message == f"new threads were not discovered: {told}"

    def test_a_file_that_is_no_database_is_not_blamed_on_the_query(
        self, file: Path, scene: Scene
    ) -> None:
        file.write_text("no database" * 100)

        report = scene.sync("SELECT id FROM chats")

        assert sole_failure(report).message == (
            f"new threads were not discovered: the database at sqlite:///{file} cannot be"
            " reached: file is not a database; check that it runs and that the variable of"
            " url_env is right"
        )


def test_rows_without_a_position_come_along_with_all_and_move_nothing(
    scene: Scene, chats: Callable[..., None]
) -> None:
    a, b, c = WORLD.thread_ids[:3]
    chats(a, b, c)
    sql = "SELECT nullif(id, 3) AS position, openai_thread_id AS thread_id FROM chats"

    first = scene.sync(sql)
    again = scene.sync(sql)

    assert (first.threads_found, again.threads_found) == (3, 0)
    assert scene.position == "2"


def test_a_query_that_fails_moves_no_position(
    scene: Scene, application: Engine, chats: Callable[..., None]
) -> None:
    a, b = WORLD.thread_ids[:2]
    chats(a)
    scene.sync(GROWING)
    chats(b)
    execute(application, "ALTER TABLE chats RENAME TO hidden")
    failed = scene.sync(GROWING)
    kept = scene.position
    execute(application, "ALTER TABLE hidden RENAME TO chats")

    assert (len(failed.away), kept) == (1, "1")
    assert scene.sync(GROWING).threads_found == 1


SLEEPERS = """
    SELECT count(*) FROM pg_stat_activity
    WHERE datname = current_database() AND query LIKE 'FETCH%runtide_discovery%'
        AND state = 'active' AND pid <> pg_backend_pid()
"""


def test_who_asks_to_stop_does_not_wait_for_the_query(
    scene: Scene, application: Engine
) -> None:
    stop = threading.Event()
    reports: list[SyncReport] = []
    scene.told = {"timeout": "1h"}
    sql = "SELECT pg_sleep(3000)::text"
    syncing = threading.Thread(target=lambda: reports.append(scene.sync(sql, stop=stop)))

    syncing.start()
    while query(application, SLEEPERS) == [(0,)]:
        assert syncing.is_alive()
    stop.set()
    syncing.join()

    while query(application, SLEEPERS) != [(0,)]:  # it is cancelled at the server
        pass
    assert [(each.outcome, each.errors) for each in reports] == [(Outcome.INTERRUPTED, [])]
