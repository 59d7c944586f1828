"""The embedded server, with real processes in temporary directories."""

import contextlib
import os
import pwd
import re
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import pytest

from etl.domain.errors import DatabaseError
from etl.load.embedded import EmbeddedPostgres, cluster, programs
from etl.load.embedded import account as accounts
from etl.load.embedded.account import SYSTEM_PATH, SYSTEM_USER, Account, account
from etl.load.embedded.folder import Folder
from etl.load.embedded.locks import polls
from etl.load.embedded.socket_dir import socket_dir

REPOSITORY = Path(__file__).parents[2]
PATIENCE = 60  # never decides a test, ends one that hangs
IS_ROOT = os.geteuid() == 0
root_only = pytest.mark.skipif(not IS_ROOT, reason="root alone can be somebody else")
not_as_root = pytest.mark.skipif(IS_ROOT, reason="root may write anywhere")

HOLD = """
import sys
from pathlib import Path
from etl.load.embedded import EmbeddedPostgres

with EmbeddedPostgres(Path(sys.argv[1])).hold() as url:
    print(url, flush=True)
    sys.stdin.read()
"""
START = """
import sys
from pathlib import Path
from etl.load.embedded import EmbeddedPostgres

EmbeddedPostgres(Path(sys.argv[1])).start()
"""


# Not pytest's tmp_path: every other session of root's pytest closes the parent
# of all those to root's group again, and with it to the server.
def a_directory() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="runtide-test-", dir="/tmp") as path:
        yield Path(path).resolve()


@pytest.fixture
def new_dir() -> Iterator[Path]:
    """For a cluster of a test's own."""
    yield from a_directory()


@pytest.fixture(scope="module")
def data_dir() -> Iterator[Path]:
    """One cluster for all tests that leave it as it was."""
    for path in a_directory():
        yield path / "postgres"


@pytest.fixture
def temporary(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A short directory for temporary files, as sockets need one."""
    for path in a_directory():
        monkeypatch.setattr(tempfile, "tempdir", str(path))
        yield path


@pytest.fixture
def server_in() -> Iterator[Callable[[Path], EmbeddedPostgres]]:
    servers: list[EmbeddedPostgres] = []

    def make(path: Path) -> EmbeddedPostgres:
        servers.append(EmbeddedPostgres(path))
        return servers[-1]

    yield make
    for server in servers:
        with contextlib.suppress(DatabaseError):
            server.stop_now()


@pytest.fixture
def server(
    data_dir: Path, server_in: Callable[[Path], EmbeddedPostgres]
) -> EmbeddedPostgres:
    return server_in(data_dir)


@contextlib.contextmanager
def a_command(data_dir: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds the server until its input ends."""
    with starting_command(data_dir) as command:
        await_url(command)
        yield command


@contextlib.contextmanager
def starting_command(data_dir: Path) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(data_dir)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=REPOSITORY,
        start_new_session=True,
    ) as command:
        yield command


def await_url(command: subprocess.Popen[str]) -> str:
    assert command.stdout
    url = command.stdout.readline().strip()
    assert url.startswith("postgresql://")
    return url


def leave(command: subprocess.Popen[str]) -> None:
    command.communicate(timeout=PATIENCE)


def answer(url: str, query: str) -> object:
    with psycopg.connect(url) as connection:
        row = connection.execute(query.encode()).fetchone()
    return row[0] if row else None


def postmaster(data_dir: Path) -> int:
    return int((data_dir / "cluster/postmaster.pid").read_text().split()[0])


def kill_postmaster(server: EmbeddedPostgres, data_dir: Path) -> int:
    """Kill it and wait until it is gone, as a signal takes its time."""
    killed = postmaster(data_dir)
    os.kill(killed, signal.SIGKILL)
    for _ in polls(PATIENCE, complaint="the killed server still answers"):
        if not server.running():
            break
    return killed


def starts(data_dir: Path) -> int:
    return (data_dir / "log").read_text().count("starting PostgreSQL")


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def a_free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@contextlib.contextmanager
def as_nobody() -> Iterator[None]:
    """Be another local user; root's groups are put away too."""
    nobody = pwd.getpwnam("nobody")
    groups = os.getgroups()
    os.setgroups([])
    os.setegid(nobody.pw_gid)
    os.seteuid(nobody.pw_uid)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)
        os.setgroups(groups)


# Commands come and go


def test_the_server_is_up_inside_the_block_only(server: EmbeddedPostgres) -> None:
    with server.hold() as url:
        assert answer(url, "SELECT current_database()") == "runtide"
        assert server.running()

    assert not server.running()


def test_the_last_of_several_processes_stops_the_server(
    server: EmbeddedPostgres, data_dir: Path
) -> None:
    with a_command(data_dir) as first:
        before = postmaster(data_dir)
        with a_command(data_dir) as second:
            leave(first)
            assert server.running()
            assert postmaster(data_dir) == before
            leave(second)

    assert not server.running()


def test_one_process_may_hold_it_several_times(server: EmbeddedPostgres) -> None:
    with server.hold():
        with server.hold():
            pass
        assert server.running()

    assert not server.running()


def test_processes_that_begin_together_make_one_cluster_and_one_server(
    new_dir: Path, server_in: Callable[[Path], EmbeddedPostgres]
) -> None:
    path = new_dir / "postgres"
    server = server_in(path)

    with contextlib.ExitStack() as stack:
        commands = [stack.enter_context(starting_command(path)) for _ in range(4)]
        urls = {await_url(command) for command in commands}
        assert answer(urls.pop(), "SELECT 1") == 1
        assert not urls
        for command in commands:
            leave(command)

    assert starts(path) == 1
    assert not server.running()


def test_after_a_killed_command_the_next_one_stops_the_server(
    server: EmbeddedPostgres, data_dir: Path
) -> None:
    with a_command(data_dir) as command:
        command.kill()
    assert server.running()

    with server.hold():
        pass

    assert not server.running()


def test_a_killed_server_is_started_again_by_the_next_command(
    server: EmbeddedPostgres, data_dir: Path
) -> None:
    with server.hold() as url:
        answer(url, "SELECT 1")
        killed = kill_postmaster(server, data_dir)

        with server.hold() as url_again:
            assert answer(url_again, "SELECT 1") == 1
            assert postmaster(data_dir) != killed

    assert not server.running()


def test_a_reused_process_id_does_not_pass_for_the_server(
    server: EmbeddedPostgres, data_dir: Path
) -> None:
    pid_file = data_dir / "cluster/postmaster.pid"
    with server.hold():
        lines = pid_file.read_text().splitlines()
    pid_file.write_text("\n".join([str(os.getpid()), *lines[1:]]))
    assert not server.running()

    with server.hold() as url:
        assert answer(url, "SELECT 1") == 1


def test_an_interrupt_from_the_terminal_does_not_reach_the_server(
    server: EmbeddedPostgres, data_dir: Path
) -> None:
    with a_command(data_dir) as command, server.hold() as url:
        before = postmaster(data_dir)
        os.killpg(command.pid, signal.SIGINT)
        command.wait(timeout=PATIENCE)

        assert answer(url, "SELECT 1") == 1
        assert postmaster(data_dir) == before


def test_the_pipes_of_a_command_close_when_it_ends(
    server: EmbeddedPostgres, data_dir: Path
) -> None:
    subprocess.run(
        [sys.executable, "-c", START, str(data_dir)],
        capture_output=True,
        check=True,
        cwd=REPOSITORY,
        timeout=PATIENCE,
    )

    assert server.running()


def test_the_block_ends_with_the_error_that_was_raised_in_it(
    server: EmbeddedPostgres,
) -> None:
    with pytest.raises(FileNotFoundError, match="the caller's own"), server.hold():
        raise FileNotFoundError("the caller's own")

    assert not server.running()


# Kept up


def test_a_kept_server_outlives_commands_until_it_is_stopped(
    server: EmbeddedPostgres,
) -> None:
    server.start()
    with server.hold():
        pass
    assert server.running()

    server.stop()

    assert not server.running()


def test_a_kept_server_that_was_killed_is_kept_again(
    server: EmbeddedPostgres, data_dir: Path
) -> None:
    port = a_free_port()
    server.start(port=port)
    kill_postmaster(server, data_dir)

    with server.hold():
        pass

    assert f":{port}/" in server.tcp_url()


def test_a_server_in_use_is_not_stopped_before_its_last_holder_leaves(
    server: EmbeddedPostgres,
) -> None:
    server.start()
    with server.hold():
        with pytest.raises(DatabaseError, match="in use by another command"):
            server.stop()
        assert server.running()

    assert not server.running()


def test_a_server_in_use_can_be_stopped_by_force(server: EmbeddedPostgres) -> None:
    with server.hold():
        server.stop_now()
        assert not server.running()


def test_a_directory_without_a_server_has_nothing_to_stop(tmp_path: Path) -> None:
    server = EmbeddedPostgres(tmp_path / "postgres")

    server.stop()
    server.stop_now()

    assert not server.running()
    assert list(tmp_path.iterdir()) == []


# Who gets in


def test_it_listens_on_no_port(server: EmbeddedPostgres) -> None:
    with server.hold() as url:
        assert answer(url, "SHOW listen_addresses") == ""
        with pytest.raises(DatabaseError, match="does not listen on a port"):
            server.tcp_url()


def test_its_files_are_closed_to_others(server: EmbeddedPostgres, data_dir: Path) -> None:
    with server.hold():
        modes = {path.name: mode(path) for path in data_dir.iterdir()}

    assert mode(data_dir) == (0o710 if IS_ROOT else 0o700)
    assert modes["cluster"] == modes["socket"] == 0o700
    assert modes["password"] == 0o600
    assert not any(bits & 0o007 for bits in modes.values())


@root_only
def test_another_user_can_neither_read_nor_connect(
    server: EmbeddedPostgres, data_dir: Path
) -> None:
    with server.hold() as url, as_nobody():
        with pytest.raises(PermissionError):
            (data_dir / "password").read_text()
        with pytest.raises(psycopg.OperationalError, match="Permission denied"):
            psycopg.connect(url)
        with pytest.raises(DatabaseError, match="Permission denied"):
            EmbeddedPostgres(data_dir).running()


@root_only
def test_another_user_who_reaches_the_socket_is_still_turned_away(
    server: EmbeddedPostgres, data_dir: Path
) -> None:
    with server.hold() as url:
        way = [data_dir.parent, data_dir, data_dir / "socket"]
        way += way[-1].iterdir()
        modes = {path: mode(path) for path in way}
        try:
            for path in way:
                path.chmod(modes[path] | 0o007)
            with (
                as_nobody(),
                pytest.raises(psycopg.OperationalError, match="Peer authentication"),
            ):
                psycopg.connect(url)
        finally:
            for path, bits in modes.items():
                path.chmod(bits)


@root_only
def test_root_starts_it_as_a_system_user(server: EmbeddedPostgres, data_dir: Path) -> None:
    uid = pwd.getpwnam(SYSTEM_USER).pw_uid

    with server.hold():
        assert (data_dir / "cluster/postmaster.pid").stat().st_uid == uid


@root_only
def test_root_starts_it_from_a_private_directory_with_private_programs(
    new_dir: Path,
    server_in: Callable[[Path], EmbeddedPostgres],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clone = new_dir / "clone"
    package = clone / "site-packages" / programs.PACKAGE
    installed = programs.programs(account()).install
    unneeded = shutil.ignore_patterns("include", "*.a")
    shutil.copytree(installed, package / installed.name, ignore=unneeded)
    libraries = installed.parent.with_name(f"{programs.PACKAGE}.libs")
    shutil.copytree(libraries, package.with_name(libraries.name))
    (package / "__init__.py").touch()
    for path in (new_dir, clone, *clone.rglob("*")):
        path.chmod(mode(path) & 0o700)
    monkeypatch.syspath_prepend(package.parent)

    with server_in(clone / ".runtide/postgres").hold() as url:
        assert answer(url, "SELECT 1") == 1

    assert mode(clone) == 0o710
    assert not any(mode(path) & 0o007 for path in package.parent.rglob("*"))


# On a port


def test_with_a_port_it_takes_the_password_on_loopback(
    server: EmbeddedPostgres,
) -> None:
    server.start(port=a_free_port())

    url = server.tcp_url()

    assert answer(url, "SHOW listen_addresses") == "127.0.0.1"
    with pytest.raises(psycopg.OperationalError, match="password authentication"):
        psycopg.connect(url.replace("postgres:", "postgres:x"))
    with server.hold() as local:
        assert answer(local, "SELECT 1") == 1


def test_nobody_gets_in_over_tcp_without_the_password(server: EmbeddedPostgres) -> None:
    server.start(port=a_free_port())
    url = server.tcp_url()
    bare = re.sub(r"postgres:[^@]+@", "postgres@", url)

    for wrong in (bare, bare.replace("postgres@", "root@"), bare.replace("/runtide", "/")):
        with pytest.raises(psycopg.OperationalError, match="no password supplied"):
            psycopg.connect(wrong, passfile="/none")
    with pytest.raises(psycopg.OperationalError, match=r"no pg_hba\.conf entry"):
        psycopg.connect(url, replication="true", dbname="")


def test_no_rule_trusts_anybody(server: EmbeddedPostgres, data_dir: Path) -> None:
    server.start(port=a_free_port())

    with psycopg.connect(server.tcp_url()) as connection:
        rules = connection.execute(
            "SELECT type, database, user_name, address, netmask, auth_method"
            " FROM pg_hba_file_rules ORDER BY rule_number"
        ).fetchall()

    local = ("local", ["all"], ["all"], None, None, "peer")
    tcp = ("host", ["all"], ["all"], "127.0.0.1", "255.255.255.255", "scram-sha-256")
    assert rules == [local, tcp]
    assert "trust" not in (data_dir / "pg_hba.conf").read_text()


@root_only
def test_another_user_on_the_port_finds_no_password_to_use(
    server: EmbeddedPostgres, data_dir: Path
) -> None:
    server.start(port=a_free_port())
    bare = re.sub(r"postgres:[^@]+@", "postgres@", server.tcp_url())

    with as_nobody():
        with pytest.raises(psycopg.OperationalError, match="no password supplied"):
            psycopg.connect(bare, passfile="/none")
        for secret in ("password", "pg_hba.conf", "cluster/global/1260", "log"):
            with pytest.raises(PermissionError):
                (data_dir / secret).read_bytes()


def test_a_server_without_a_port_gets_one_by_a_restart(
    server: EmbeddedPostgres,
) -> None:
    server.start()
    with server.hold(), pytest.raises(DatabaseError, match="in use"):
        server.start(port=a_free_port())

    server.start(port=a_free_port())

    assert answer(server.tcp_url(), "SELECT 1") == 1


def test_a_port_in_use_is_a_sentence_and_is_not_kept(server: EmbeddedPostgres) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        with pytest.raises(DatabaseError, match=f"port {port} .another program"):
            server.start(port=port)

    with server.hold() as url:
        assert answer(url, "SHOW listen_addresses") == ""


def test_a_port_that_no_machine_has_is_a_sentence(server: EmbeddedPostgres) -> None:
    with pytest.raises(DatabaseError, match="ports go from 1 to 65535"):
        server.start(port=70_000)


# The database


def test_it_is_the_same_on_every_machine(
    server: EmbeddedPostgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGPORT", "1")
    monkeypatch.setenv("TZ", "Asia/Tokyo")

    with server.hold() as url:
        assert answer(url, "SHOW TimeZone") == "UTC"
        assert answer(url, "SHOW server_encoding") == "UTF8"
        assert answer(url, "SHOW data_checksums") == "on"
        letters = "SELECT string_agg(x, '' ORDER BY x) FROM unnest('{b,a,ä,B}'::text[]) x"
        assert answer(url, letters) == "Babä"


def test_a_cluster_whose_maker_was_killed_is_made_anew(
    new_dir: Path, server_in: Callable[[Path], EmbeddedPostgres]
) -> None:
    path = new_dir / "postgres"
    server = server_in(path)
    with starting_command(path) as command:
        for _ in polls(PATIENCE, complaint="nothing is made"):
            if (path / "cluster.new").exists():
                break
        command.kill()

    with server.hold() as url:
        assert answer(url, "SELECT 1") == 1

    assert not (path / "cluster.new").exists()


def test_a_path_too_long_for_a_socket_gets_a_short_private_one(
    new_dir: Path, temporary: Path, server_in: Callable[[Path], EmbeddedPostgres]
) -> None:
    path = new_dir / ("long, with a comma and 'quotes' $HOME %41 ä " * 2) / "postgres"

    with server_in(path).hold() as url:
        assert answer(url, "SELECT 1") == 1
        directory = Path(str(answer(url, "SHOW unix_socket_directories")).strip('"'))

    assert directory.parent == temporary
    assert mode(directory) == 0o700


def test_a_socket_directory_that_somebody_else_made_first_is_refused(
    tmp_path: Path, temporary: Path
) -> None:
    me = Account(uid=os.geteuid(), name="me")
    long = Folder(tmp_path / ("long" * 30))
    place = socket_dir(long, me)
    assert place.parent == temporary
    place.rmdir()
    place.symlink_to(tmp_path)

    with pytest.raises(DatabaseError, match="belongs to somebody else"):
        socket_dir(long, me)


# What a person has to put right


def test_a_parent_that_is_a_file_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    with (
        pytest.raises(DatabaseError, match="file: it is not a directory"),
        EmbeddedPostgres(tmp_path / "file/postgres").hold(),
    ):
        pass


def test_a_file_in_the_place_of_the_directory_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "postgres").touch()

    with (
        pytest.raises(DatabaseError, match="postgres: it is not a directory"),
        EmbeddedPostgres(tmp_path / "postgres").hold(),
    ):
        pass


def test_a_long_missing_path_is_a_sentence(tmp_path: Path) -> None:
    with (
        pytest.raises(DatabaseError, match="unmounted: No such file or directory"),
        EmbeddedPostgres(tmp_path / "disk/unmounted/postgres").hold(),
    ):
        pass


@not_as_root
def test_a_directory_that_cannot_be_written_is_a_sentence(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)

    with (
        pytest.raises(DatabaseError, match="Permission denied"),
        EmbeddedPostgres(tmp_path / "postgres").hold(),
    ):
        pass


def test_a_directory_with_other_files_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis").touch()
    before = mode(tmp_path)

    with (
        pytest.raises(DatabaseError, match="holds other files, such as thesis"),
        EmbeddedPostgres(tmp_path).hold(),
    ):
        pass

    assert mode(tmp_path) == before


@pytest.mark.parametrize(
    ("files", "sentence"),
    [
        pytest.param({"PG_VERSION": "17"}, "made by PostgreSQL 17", id="another major"),
        pytest.param({}, "is not a PostgreSQL cluster", id="no cluster"),
    ],
)
def test_a_cluster_that_is_not_ours_to_start_is_a_sentence(
    tmp_path: Path, files: dict[str, str], sentence: str
) -> None:
    cluster = tmp_path / "cluster"
    cluster.mkdir()
    (tmp_path / "gate.lock").touch()
    for name, text in files.items():
        (cluster / name).write_text(text)

    with (
        pytest.raises(DatabaseError, match=sentence),
        EmbeddedPostgres(tmp_path).hold(),
    ):
        pass


def test_a_server_that_does_not_start_says_why(
    server: EmbeddedPostgres, data_dir: Path
) -> None:
    with server.hold():
        settings = data_dir / "cluster/postgresql.conf"
        as_it_was = settings.read_text()
    try:
        settings.write_text(f"{as_it_was}\nshared_buffers = plenty\n")
        with (
            pytest.raises(DatabaseError, match="did not start: configuration file"),
            server.hold(),
        ):
            pass
    finally:
        settings.write_text(as_it_was)


def test_a_python_without_the_wheel_is_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(programs, "PACKAGE", "no_such_package")

    with (
        pytest.raises(DatabaseError, match="PostgreSQL 18 is not installed"),
        EmbeddedPostgres(tmp_path / "postgres").hold(),
    ):
        pass


def test_a_cluster_that_cannot_be_made_is_a_sentence_and_leaves_none(
    new_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(cluster.SETTINGS, "shared_buffers", "plenty")

    with (
        pytest.raises(DatabaseError, match=r"cannot be made \(initdb: configuration"),
        EmbeddedPostgres(new_dir / "postgres").hold(),
    ):
        pass

    assert not (new_dir / "postgres/cluster").exists()


@root_only
@pytest.mark.parametrize(
    ("closed", "sentence"),
    [
        pytest.param("theirs", "theirs is closed to runtide-postgres", id="parent"),
        pytest.param("theirs/postgres", "postgres belongs to user id", id="directory"),
    ],
)
def test_what_belongs_to_somebody_else_is_not_opened(
    tmp_path: Path, closed: str, sentence: str
) -> None:
    path = tmp_path / closed
    path.mkdir(parents=True)
    path.chmod(0o700)
    os.chown(path, pwd.getpwnam("nobody").pw_uid, -1)

    with (
        pytest.raises(DatabaseError, match=sentence),
        EmbeddedPostgres(tmp_path / "theirs/postgres").hold(),
    ):
        pass

    assert mode(path) == 0o700


@root_only
def test_a_system_user_that_cannot_be_added_is_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(accounts, "SYSTEM_USER", "runtide-no-such-user")
    monkeypatch.setattr(shutil, "which", lambda *_, **__: None)

    with (
        pytest.raises(DatabaseError, match="there is no useradd here"),
        EmbeddedPostgres(tmp_path / "postgres").hold(),
    ):
        pass


@root_only
@pytest.mark.skipif(not shutil.which("userdel", path=SYSTEM_PATH), reason="no userdel")
def test_many_that_add_the_system_user_at_once_add_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    name = f"runtide-many-{os.getpid()}"
    monkeypatch.setattr(accounts, "SYSTEM_USER", name)
    try:
        with ThreadPoolExecutor(8) as pool:
            found = set(pool.map(lambda _: account(), range(8)))

        assert found == {Account(uid=pwd.getpwnam(name).pw_uid, name=name)}
    finally:
        program = str(shutil.which("userdel", path=SYSTEM_PATH))
        subprocess.run([program, name], check=False)
