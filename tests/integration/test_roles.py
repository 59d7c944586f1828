"""Roles that can do less than the owner: what each can do, and that it can do no more."""

from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
from sqlalchemy.engine import URL

from etl.cli.entry import run
from etl.demo.server import DemoServer
from etl.demo.world import World
from tests.conftest import as_text
from tests.integration.builders import NOW_SECONDS
from tests.integration.role_server import (
    PASSWORD,
    OwnedDatabase,
    a_server_on_tcp,
    an_owned_database,
)

CONFIG = """\
[[sources]]
name = "demo"
base_url = "{base_url}"
requests_per_minute = 600000
"""
ADD_REJECT = """
    INSERT INTO run_sync.rejects (source_id, thread_id, run_id, payload, payload_id,
                                  reason, first_seen_at, last_seen_at)
    SELECT source_id, 'thread_x', 'run_x', 'PAYLOAD', gen_random_uuid(), 'made up',
           now(), now()
    FROM run_sync.sources
"""
EVIL = 'a "role"; DROP TABLE run_history.runs; -- %s {owner} :name'

Call = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def tcp_server() -> Iterator[URL]:
    with a_server_on_tcp() as url:
        yield url


@pytest.fixture
def owned(tcp_server: URL) -> Iterator[OwnedDatabase]:
    with an_owned_database(tcp_server) as owned:
        yield owned


@pytest.fixture
def name(owned: OwnedDatabase) -> str:
    """A role that nobody else uses: roles belong to the whole server."""
    return f"role_of_{owned.address.database}"


@pytest.fixture
def world() -> World:
    return World(threads=6, runs=40)


@pytest.fixture
def api(world: World) -> Iterator[DemoServer]:
    with DemoServer(world, now=world.now) as server:
        yield server


@pytest.fixture
def runtide(
    tmp_path: Path,
    owned: OwnedDatabase,
    api: DemoServer,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> Call:
    """The command, as a role; the owner unless told otherwise."""
    path = tmp_path / "config.toml"
    path.write_text(CONFIG.format(base_url=api.base_url))
    monkeypatch.setenv("ROLE_PASSWORD", PASSWORD)

    def call(
        *arguments: str, role: str | None = None, url: str = ""
    ) -> tuple[int, str, str]:
        monkeypatch.setenv("RUNTIDE_DATABASE_URL", url or owned.url(role))
        capsys.readouterr()
        code = run([*arguments, "--config", str(path)])
        return code, *capsys.readouterr()

    return call


def granted(runtide: Call, kind: str, name: str) -> tuple[int, str, str]:
    return runtide("db", "grant", kind, name, "--password-env", "ROLE_PASSWORD")


def refused(owned: OwnedDatabase, role: str, statement: str) -> str:
    with pytest.raises(psycopg.errors.InsufficientPrivilege) as caught:
        owned.run(statement, role=role)
    return str(caught.value).partition("\n")[0]


def test_a_writer_does_everything_that_syncing_needs(
    runtide: Call, owned: OwnedDatabase, api: DemoServer, name: str
) -> None:
    assert granted(runtide, "writer", name) == (
        0,
        (
            f"Role {name} is made and may track threads and sync, and change no table's"
            " shape.\n"
        ),
        "",
    )

    assert runtide("track", *api.thread_ids, "thread_x", role=name)[0] == 0
    assert runtide("untrack", "thread_x", role=name)[0] == 0
    assert runtide("sync", "--quiet", role=name) == (0, "", "")
    api.advance(3_600)
    assert runtide("sync", "--quiet", role=name) == (0, "", "")
    assert runtide("backfill", "--quiet", role=name) == (0, "", "")
    owned.run("UPDATE run_history.runs SET model = 'x' WHERE status = 'completed'")
    code, out, err = runtide("verify", "--repair", role=name)
    assert (code, err) == (3, "")
    assert " mended, 0 left.\n" in out
    assert runtide("verify", role=name)[0] == 0
    assert runtide("status", role=name)[0] == 0
    assert runtide("threads", role=name)[0] == 0


def test_a_writer_replays_and_makes_months_that_belong_to_the_owner(
    runtide: Call, owned: OwnedDatabase, api: DemoServer, name: str
) -> None:
    granted(runtide, "writer", name)
    runtide("track", "thread_x", role=name)
    payload = f'{{"id": "run_x", "status": "completed", "created_at": {NOW_SECONDS}}}'
    owned.run(ADD_REJECT.replace("PAYLOAD", payload))

    code, out, _ = runtide("replay", role=name)

    assert code == 0
    assert out == (
        "1 reject looked at; 1 now in the tables (1 created, 0 updated), 0 still in"
        " quarantine.\n"
    )
    assert owned.run(
        "SELECT runs.tableoid::regclass::text, pg_get_userbyid(relowner)"
        " FROM run_history.runs JOIN pg_class ON pg_class.oid = runs.tableoid"
    ) == [("run_history.runs_2026_11", owned.owner)]


@pytest.mark.parametrize(
    ("statement", "complaint"),
    [
        ("DROP TABLE run_history.runs", "must be owner of table runs"),
        (
            "ALTER TABLE run_sync.threads ADD COLUMN x int",
            "must be owner of table threads",
        ),
        (
            "CREATE TABLE run_history.mine (x int)",
            "permission denied for schema run_history",
        ),
        ("CREATE TABLE run_sync.mine (x int)", "permission denied for schema run_sync"),
        ("DELETE FROM run_history.runs", "permission denied for table runs"),
        ("TRUNCATE run_history.runs", "permission denied for table runs"),
        (
            "UPDATE run_sync.alembic_version SET version_num = '1'",
            "permission denied for table alembic_version",
        ),
        (
            "UPDATE run_history.instructions SET body = ''",
            "permission denied for table instructions",
        ),
        ("DELETE FROM run_sync.rejects", "permission denied for table rejects"),
        ("INSERT INTO run_sync.erasures DEFAULT VALUES", "permission denied"),
    ],
)
def test_a_writer_can_do_no_more_than_that(
    runtide: Call, owned: OwnedDatabase, name: str, statement: str, complaint: str
) -> None:
    granted(runtide, "writer", name)

    assert complaint in refused(owned, name, statement)


def test_a_reader_reads_runs_and_views_and_what_comes_later(
    runtide: Call, owned: OwnedDatabase, api: DemoServer, name: str
) -> None:
    assert granted(runtide, "reader", name) == (
        0,
        f"Role {name} is made and may read the run history, and write nothing.\n",
        "",
    )
    runtide("track", *api.thread_ids)
    runtide("sync")
    owned.run("CREATE TABLE run_history.later AS SELECT 1 AS one")

    [(runs,)] = owned.run("SELECT count(*) FROM run_history.runs", role=name)
    [(tools,)] = owned.run("SELECT count(*) FROM run_history.run_tools", role=name)
    owned.run("SELECT count(*) FROM run_history.run_resources", role=name)
    months = owned.run(
        "SELECT inhrelid::regclass::text FROM pg_inherits"
        " WHERE inhparent = 'run_history.runs'::regclass",
        role=name,
    )
    held = [owned.run(f"TABLE {month}", role=name) for (month,) in months]

    assert runs == sum(map(len, held)) > 0
    assert isinstance(tools, int)
    assert tools > 0
    assert len(months) > 1
    assert owned.run("SELECT one FROM run_history.later", role=name) == [(1,)]


@pytest.mark.parametrize(
    ("statement", "complaint"),
    [
        ("SELECT * FROM run_sync.rejects", "permission denied for schema run_sync"),
        ("SELECT * FROM run_sync.threads", "permission denied for schema run_sync"),
        (
            "SELECT run_sync.make_month('2026-01-01')",
            "permission denied for schema run_sync",
        ),
        ("DELETE FROM run_history.runs", "permission denied for table runs"),
        ("UPDATE run_history.runs SET status = 'x'", "permission denied for table runs"),
        (
            (
                "INSERT INTO run_history.tools (tool_set_id, position)"
                " VALUES (gen_random_uuid(), 0)"
            ),
            "permission denied for table tools",
        ),
        ("DROP VIEW run_history.run_tools", "must be owner of view run_tools"),
        ("ALTER TABLE run_history.runs ADD COLUMN x int", "must be owner of table runs"),
        (
            "CREATE TABLE run_history.mine (x int)",
            "permission denied for schema run_history",
        ),
        ("CREATE TABLE public.mine (x int)", "permission denied for schema public"),
    ],
)
def test_a_reader_sees_nothing_else_and_writes_nothing(
    runtide: Call, owned: OwnedDatabase, name: str, statement: str, complaint: str
) -> None:
    granted(runtide, "reader", name)

    assert complaint in refused(owned, name, statement)


def test_a_reader_of_analytics_sees_them_once_they_are_there(
    runtide: Call, owned: OwnedDatabase, name: str
) -> None:
    granted(runtide, "reader", name)
    owned.run("CREATE SCHEMA run_analytics CREATE VIEW run_facts AS SELECT 1 AS one")
    refused(owned, name, "SELECT * FROM run_analytics.run_facts")

    again = granted(runtide, "reader", name)

    assert again == (
        0,
        f"Role {name} may now read the run history, and write nothing.\n",
        "",
    )
    assert owned.run("SELECT one FROM run_analytics.run_facts", role=name) == [(1,)]


def test_a_writer_that_becomes_a_reader_keeps_no_right_of_a_writer(
    runtide: Call, owned: OwnedDatabase, name: str
) -> None:
    granted(runtide, "writer", name)
    owned.run("SELECT * FROM run_sync.threads", role=name)

    granted(runtide, "reader", name)
    owned.run("CREATE TABLE run_history.later (one int)")

    refused(owned, name, "SELECT * FROM run_sync.threads")
    refused(owned, name, "UPDATE run_history.runs SET status = 'x'")
    refused(owned, name, "INSERT INTO run_history.later VALUES (1)")


def test_a_name_is_a_name_whatever_stands_in_it(
    runtide: Call, owned: OwnedDatabase
) -> None:
    assert granted(runtide, "reader", EVIL)[0] == 0
    assert granted(runtide, "writer", EVIL)[0] == 0

    owned.run("SELECT count(*) FROM run_sync.threads", role=EVIL)


def test_a_role_without_a_password_is_told_so_and_gets_one_later(
    runtide: Call, owned: OwnedDatabase, name: str
) -> None:
    first = runtide("db", "grant", "reader", name)
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        owned.run("SELECT 1", role=name)
    granted(runtide, "reader", name)

    assert first == (
        0,
        (
            f"Role {name} is made and may read the run history, and write nothing.\n"
            "It has no password; --password-env VAR sets one.\n"
        ),
        "",
    )
    assert owned.run("SELECT 1", role=name) == [(1,)]


def test_a_variable_without_a_password_changes_nothing(
    runtide: Call, owned: OwnedDatabase, name: str
) -> None:
    answer = runtide("db", "grant", "reader", name, "--password-env", "NO_SUCH_VARIABLE")

    assert answer == (
        2,
        "",
        (
            "runtide: The environment variable NO_SUCH_VARIABLE, which holds the role's"
            " password, is not set; set it.\n"
        ),
    )
    assert (name,) not in owned.run("SELECT rolname::text FROM pg_roles")


def test_roles_that_may_do_everything_anyway_are_refused(
    runtide: Call, owned: OwnedDatabase, name: str, tcp_server: URL
) -> None:
    as_superuser = as_text(tcp_server.set(database=owned.address.database))
    with psycopg.connect(as_superuser) as admin:
        admin.execute(f"CREATE ROLE {name}".encode())
        admin.execute(f"GRANT {owned.owner} TO {name}".encode())

    sentences = [
        granted(runtide, "reader", owned.owner),
        granted(runtide, "reader", "postgres"),
        granted(runtide, "writer", name),
    ]

    rest = "and may do everything already; name another role.\n"
    assert sentences == [
        (2, "", f"runtide: {owned.owner} owns the tables {rest}"),
        (2, "", f"runtide: postgres is a superuser {rest}"),
        (
            2,
            "",
            f"runtide: {name} is a member of {owned.owner}, who owns the tables, {rest}",
        ),
    ]


@pytest.mark.parametrize("name", ["", "x" * 64, "ä" * 32, "a\nb"])
def test_a_name_that_postgres_would_change_is_refused(runtide: Call, name: str) -> None:
    code, out, err = granted(runtide, "reader", name)

    assert (code, out) == (2, "")
    assert err.endswith(
        " cannot be a role: its name needs 1 to 63 bytes without control characters.\n"
    )


def test_a_name_that_means_everybody_is_refused(
    runtide: Call, owned: OwnedDatabase
) -> None:
    code, _, err = granted(runtide, "reader", "public")

    assert code == 1
    assert err.endswith(' refused: role name "public" is reserved.\n')


def test_who_does_not_own_the_tables_cannot_give_rights(
    runtide: Call, owned: OwnedDatabase, name: str
) -> None:
    granted(runtide, "writer", name)

    answer = runtide("db", "grant", "reader", "somebody", role=name)

    assert answer == (
        1,
        "",
        (
            f"runtide: The tables belong to {owned.owner}, and {name} cannot give rights on"
            f" them away; connect as {owned.owner}.\n"
        ),
    )


def test_a_right_that_only_the_databases_owner_can_give_is_named(
    runtide: Call, owned: OwnedDatabase, name: str, tcp_server: URL
) -> None:
    database = owned.address.database
    as_superuser = as_text(tcp_server.set(database=database))
    with psycopg.connect(as_superuser) as admin:
        admin.execute(f"REVOKE TEMPORARY ON DATABASE {database} FROM PUBLIC".encode())

    by_owner = granted(runtide, "writer", name)
    by_superuser = runtide("db", "grant", "writer", name, url=as_superuser)

    assert by_owner == (
        1,
        "",
        (
            f"runtide: Role {name} lacks TEMPORARY on the database {database}, which only"
            f' its owner can give: GRANT TEMPORARY ON DATABASE "{database}" TO "{name}".\n'
        ),
    )
    assert by_superuser[0] == 0
    assert owned.run(
        f"SELECT has_database_privilege('{name}', '{database}', 'TEMPORARY')"
    ) == [(True,)]
