"""`runtide doctor` as a person reads it: every line, in sickness and in health."""

import json

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Engine

from etl.demo.server import DemoServer
from tests.e2e.conftest import Command
from tests.e2e.findings import lines
from tests.integration.builders import execute, row_versions

HERE = "127.0.0.1"
HEALTHY = """\
ok        configuration, file: {directory}/config.toml is read
ok        data directory, free space: unknown, the database is not the embedded one
ok        database, connection: {database} answers
ok        database, version: PostgreSQL {version}
ok        database, TLS: not needed, the server is on this machine
ok        database, schema: revision 0010, as this program needs it
ok        database, rights: postgres may do all that a sync does
ok        source demo, name: 127.0.0.1 is an address itself
ok        source demo, connection: 127.0.0.1 port {port} takes connections
ok        source demo, certificate: not needed, the server is on this machine
ok        source demo, API key: the server takes the key in DEMO_KEY
ok        source demo, list call: thread {thread} is listed
ok        source demo, clock of this machine: agrees with the server's to the minute
ok        source demo, clock of the database: agrees with the server's to the minute
ok        source demo, budget: 600,000 requests a minute; one for each of 12 tracked\
 threads takes a second
15 checks: 15 ok, 0 warning, 0 failed, 0 left out.
"""


@pytest.fixture
def version(engine: Engine) -> str:
    with engine.connect() as connection:
        told = connection.exec_driver_sql("SHOW server_version").scalar_one()
    return str(told).partition(" ")[0]


def test_where_all_is_well_every_check_says_so_and_nothing_is_changed(
    ready: Command, api: DemoServer, engine: Engine, version: str
) -> None:
    before = row_versions(engine, "run_history", "run_sync"), api.requests.count

    answer = ready("doctor")

    url = ready.environment["RUNTIDE_DATABASE_URL"].replace("+psycopg", "")
    assert (answer.code, answer.err) == (0, "")
    assert answer.out == HEALTHY.format(
        directory=ready.directory,
        database=url,
        version=version,
        port=api.base_url.rpartition(":")[2].removesuffix("/v1"),
        thread=min(api.thread_ids),
    )
    assert row_versions(engine, "run_history", "run_sync") == before[0]
    assert api.requests.count == before[1] + 1


def test_programs_get_one_object(ready: Command) -> None:
    answer = ready("doctor", "--json")
    found = json.loads(answer.out)

    assert (answer.code, answer.err, found["healthy"]) == (0, "", True)
    assert len(found["checks"]) == 15
    assert found["checks"][6] == {
        "place": "database",
        "check": "rights",
        "verdict": "ok",
        "told": "postgres may do all that a sync does",
        "advice": None,
    }


def test_without_a_configuration_all_the_rest_is_left_out(runtide: Command) -> None:
    answer = runtide("doctor")

    assert (answer.code, answer.err) == (1, "")
    assert answer.out == (
        "failed    configuration, file: There is no config.toml; run `runtide init` to"
        " write one, or name another file with --config\n"
        "left out  database, connection: needs the configuration\n"
        "left out  sources, connection: needs the configuration\n"
        "3 checks: 0 ok, 0 warning, 1 failed, 2 left out.\n"
    )


def test_a_source_that_is_not_configured_is_wrong_usage(ready: Command) -> None:
    answer = ready("doctor", "--source", "nobody")

    assert (answer.code, answer.out) == (2, "")
    assert answer.err == (
        f"runtide: {ready.directory}/config.toml has no source 'nobody'; it has demo.\n"
    )


def test_a_password_that_others_can_read_is_a_warning(
    ready: Command, api: DemoServer
) -> None:
    url = ready.environment["RUNTIDE_DATABASE_URL"]
    path = ready.directory / "config.toml"
    ready.configure(api.base_url, f'[database]\nurl = "{url}&password=s3cret"\n')
    path.chmod(0o644)
    seen = ready("doctor", RUNTIDE_DATABASE_URL="")
    path.chmod(0o600)
    closed = ready("doctor", RUNTIDE_DATABASE_URL="")

    assert (seen.code, closed.code) == (0, 0)
    assert lines(seen.out, "configuration") == (
        "warning   configuration, file: every user of this machine can read the database's"
        f" password in {path}; run `chmod 600 {path}`\n"
    )
    assert lines(closed.out, "configuration") == (
        f"ok        configuration, file: {path} is read\n"
    )
    assert "s3cret" not in seen.out + closed.out


def test_what_alerts_and_metrics_need_is_checked(ready: Command, api: DemoServer) -> None:
    more = """
[metrics]
address = "127.0.0.1:70000"
file = "missing/runtide.prom"
[[alerts]]
command = ["no-such-program", "now"]
[[alerts]]
command = ["/bin/sh", "-c", "true"]
[[alerts]]
url_env = "HOOK"
[[alerts]]
url_env = "OTHER_HOOK"
"""
    ready.configure(api.base_url, more)

    answer = ready("doctor", HOOK="https://hooks.example.test/s3cret")

    assert answer.code == 1
    assert lines(answer.out, "configuration").splitlines()[1:] == [
        (
            "failed    configuration, alerts[0]: the command no-such-program is not there,"
            " or may not be executed; correct its path, or run `chmod +x` on it"
        ),
        "ok        configuration, alerts[1]: the command /bin/sh can be executed",
        "ok        configuration, alerts[2]: HOOK holds a URL",
        (
            "failed    configuration, alerts[3]: The environment variable OTHER_HOOK, which"
            " holds the URL that alerts are posted to, is not set to one that begins with"
            " https:// or http://; set it"
        ),
        (
            "failed    configuration, metrics.address: 70000 is not a port; choose one from"
            " 1 to 65535"
        ),
        (
            f"failed    configuration, metrics.file: {ready.directory}/missing is not"
            " there, or cannot be written; make it, or name another file"
        ),
    ]
    assert "s3cret" not in answer.out


def test_a_database_that_is_down_leaves_out_what_needs_it(
    ready: Command, closed_port: int, api: DemoServer
) -> None:
    url = f"postgresql://me:s3cret@{HERE}:{closed_port}/runs"

    answer = ready("doctor", RUNTIDE_DATABASE_URL=url)

    assert answer.code == 1
    assert lines(answer.out, "database") == (
        "failed    database, connection: The database at"
        f" postgresql://me:***@{HERE}:{closed_port}/runs cannot be reached: connection"
        f' failed: connection to server at "{HERE}", port {closed_port} failed: Connection'
        " refused. Check that it runs and that [database] url or RUNTIDE_DATABASE_URL is"
        " right\n"
        "left out  database, version: needs the database\n"
        "left out  database, TLS: needs the database\n"
        "left out  database, schema: needs the database\n"
        "left out  database, rights: needs the database\n"
    )
    assert lines(answer.out, "source demo").splitlines()[-5:] == [
        "ok        source demo, API key: the server takes the key in DEMO_KEY",
        "ok        source demo, list call: a thread that nobody has is answered as one",
        (
            "ok        source demo, clock of this machine: agrees with the server's to the"
            " minute"
        ),
        "left out  source demo, clock of the database: needs the database",
        "ok        source demo, budget: 600,000 requests a minute",
    ]
    assert answer.out.endswith("\n15 checks: 9 ok, 0 warning, 1 failed, 5 left out.\n")


@pytest.mark.parametrize(
    ("revision", "told"),
    [
        (
            None,
            "The database has no runtide schema yet; run `runtide db upgrade`",
        ),
        (
            "0009",
            (
                "The schema is at revision 0009, this program needs 0010; run `runtide db"
                " upgrade`"
            ),
        ),
        (
            "9999",
            (
                "The schema is at revision 9999, newer than this program, which knows 0010;"
                " install a newer runtide"
            ),
        ),
    ],
)
def test_a_schema_of_another_revision_is_told_with_the_way_to_this_one(
    ready: Command, engine: Engine, revision: str | None, told: str
) -> None:
    if revision is None:
        execute(engine, "DROP SCHEMA run_sync CASCADE", "DROP SCHEMA run_history CASCADE")
    else:
        set_revision(engine, revision)

    answer = ready("doctor")

    assert answer.code == 1
    assert lines(answer.out, "database").splitlines()[-2:] == [
        f"failed    database, schema: {told}",
        "left out  database, rights: needs the schema of this program",
    ]


def test_an_embedded_database_that_was_never_made_is_not_made_now(
    ready: Command,
) -> None:
    answer = ready("doctor", RUNTIDE_DATABASE_URL="")

    place = ready.directory / ".runtide/postgres"
    assert answer.code == 1
    assert lines(answer.out, "data directory") == (
        f"left out  data directory, permissions: there is no {place} yet\n"
        "ok        data directory, free space: more than 1 GiB is left\n"
    )
    assert lines(answer.out, "database").splitlines()[0] == (
        f"failed    database, connection: there is no embedded database in {place} yet;"
        " run `runtide init`"
    )
    assert not place.parent.exists()


def set_revision(engine: Engine, revision: str) -> None:
    with engine.begin() as connection:
        update = sa.text("UPDATE run_sync.alembic_version SET version_num = :revision")
        connection.execute(update, {"revision": revision})
