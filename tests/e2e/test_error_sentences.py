"""What goes wrong is told in one sentence, with what to do, and nothing half-done."""

import socket
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Engine

from etl.demo.server import DemoServer
from tests.e2e.conftest import KEY, Command


def test_without_a_configuration_the_way_to_one_is_named(runtide: Command) -> None:
    answer = runtide("sync")

    assert answer.code == 2
    assert answer.err == (
        "runtide: There is no config.toml; run `runtide init` to write one, or name"
        " another file with --config.\n"
    )


def test_a_database_that_is_down_is_named_without_its_password(
    ready: Command, closed_port: int
) -> None:
    url = f"postgresql://me:secret@127.0.0.1:{closed_port}/runs"

    answer = ready("sync", RUNTIDE_DATABASE_URL=url)

    assert answer.code == 1
    assert answer.err == (
        f"runtide: The database at postgresql://me:***@127.0.0.1:{closed_port}/runs cannot"
        ' be reached: connection failed: connection to server at "127.0.0.1", port'
        f" {closed_port} failed: Connection refused. Check that it runs and that"
        " [database] url or RUNTIDE_DATABASE_URL is right.\n"
    )


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        (
            "mysql://me:secret@host/runs",
            (
                "The database URL begins with mysql://, but runtide needs Postgres;"
                " write it as postgresql://user@host/name."
            ),
        ),
        (
            "nonsense",
            "The database URL cannot be read; write it as postgresql://user@host/name.",
        ),
    ],
)
def test_a_wrong_database_url_is_refused(ready: Command, url: str, sentence: str) -> None:
    answer = ready("status", RUNTIDE_DATABASE_URL=url)

    assert (answer.code, answer.err) == (2, f"runtide: {sentence}\n")


def test_a_missing_key_names_its_variable(ready: Command) -> None:
    answer = ready("sync", DEMO_KEY="")

    assert answer.code == 2
    assert answer.err == (
        "runtide: The environment variable DEMO_KEY, which holds the API key of source"
        " 'demo', is not set; set it, or leave api_key_env out of"
        f" {ready.directory}/config.toml where no key is needed.\n"
    )


def test_a_refused_key_stops_the_source_and_writes_no_run(
    ready: Command, engine: Engine
) -> None:
    answer = ready("sync", "--quiet", DEMO_KEY="sk-wrong")

    assert answer.code == 1
    assert answer.err.startswith(
        "runtide: demo: the server refuses the API key: HTTP 401 Incorrect API key provided"
    )
    assert answer.err.endswith("; check the variable that api_key_env names\n")
    assert "request id req_" in answer.err
    assert count(engine, "run_history.runs") == 0


def test_an_unknown_host_is_named(ready: Command) -> None:
    ready.configure("http://nowhere.invalid/v1")

    answer = ready("sync", "--quiet")

    assert answer.code == 1
    assert answer.err.startswith(
        "runtide: demo: http://nowhere.invalid/v1 cannot be reached: "
    )
    assert answer.err.endswith("; check base_url and the network\n")
    assert answer.err.count("\n") == 1


def test_a_malformed_thread_id_fails_alone_with_the_servers_words(
    ready: Command, api: DemoServer
) -> None:
    ready("untrack", *api.thread_ids[1:])
    ready("track", "not-a-thread")

    answer = ready("sync", "--quiet")

    assert answer.code == 3
    assert answer.err.startswith(
        "runtide: demo, thread not-a-thread: the server refuses the request: HTTP 400"
        " Invalid 'thread_id': 'not-a-thread'. Expected an ID that begins with 'thread'."
    )
    assert answer.err.count("\n") == 1


def test_a_port_in_use_is_told_by_the_demo(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        answer = Command(tmp_path)("demo", "--port", str(port))

    assert answer.code == 2
    assert f"cannot listen on port {port}" in answer.err
    assert answer.err.endswith("; choose another with --port.\n")
    assert not (tmp_path / ".runtide").exists()


def test_a_database_without_the_schema_says_how_to_make_it(
    ready: Command, empty_database_url: str
) -> None:
    answer = ready("sync", RUNTIDE_DATABASE_URL=empty_database_url)

    assert (answer.code, answer.out) == (1, "")
    assert answer.err == (
        "runtide: The database has no runtide schema yet; run `runtide db upgrade`.\n"
    )


def test_a_schema_newer_than_the_program_says_so(ready: Command, engine: Engine) -> None:
    with engine.begin() as connection:
        connection.execute(sa.text("UPDATE run_sync.alembic_version SET version_num = '9'"))

    for command in (["sync"], ["db", "upgrade"]):
        answer = ready(*command)
        assert answer.code == 1
        assert answer.err == (
            "runtide: The schema is at revision 9, newer than this program, which knows"
            " 0010; install a newer runtide.\n"
        )


def test_a_data_directory_that_cannot_be_written_is_named(runtide: Command) -> None:
    runtide.configure("http://127.0.0.1:1/v1", '[database]\ndata_dir = "file/postgres"\n')
    (runtide.directory / "file").write_text("in the way")

    answer = runtide("sync", RUNTIDE_DATABASE_URL="")

    assert answer.code == 1
    assert f"cannot use {runtide.directory}/file: it is not a directory" in answer.err
    assert answer.err.count("\n") == 1
    assert "Traceback" not in answer.err


@pytest.mark.parametrize(
    "arguments",
    [["sync", "--bogus"], ["bogus"], ["sync", "--source", "nobody"], ["track"], []],
)
def test_wrong_arguments_end_with_code_2_and_no_traceback(
    ready: Command, arguments: list[str]
) -> None:
    answer = ready(*arguments)

    assert (answer.code, answer.out) == (2, "")
    assert answer.err
    assert "Traceback" not in answer.err


def test_debug_shows_the_traceback_before_the_sentence(ready: Command) -> None:
    answer = ready("--debug", "sync", DEMO_KEY="")

    assert "Traceback (most recent call last):" in answer.err
    assert KEY not in answer.err
    assert answer.err.splitlines()[-1].startswith("runtide: The environment variable")


def count(engine: Engine, table: str) -> int:
    with engine.connect() as connection:
        return connection.scalar(sa.text(f"SELECT count(*) FROM {table}")) or 0
