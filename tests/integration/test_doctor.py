"""What the doctor says of roles, of TLS to a database, and of what nobody foresaw."""

import os
from pathlib import Path

import pytest
import trustme

from etl.load import inspection
from etl.load.database import shown
from etl.operations.doctor import contact, database, disk
from etl.operations.doctor import sources as of_sources
from tests.conftest import as_text
from tests.e2e.findings import lines
from tests.integration.certificates import HOST, as_context
from tests.integration.raw_serving import Answer, raw_serving
from tests.integration.role_server import PASSWORD, Call, OwnedDatabase, granted
from tests.integration.tls_postgres import serving_tls

SECRET = "s3cret"
VERIFIED = "ok        database, TLS: encrypted, and the server is verified (verify-full)"
AS_OWNER = "run `runtide db grant writer NAME` as the tables' owner, and sync as NAME"


@pytest.fixture
def authority(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> trustme.CA:
    """Who is trusted on this machine."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "roots.pem"))
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "roots.pem"))
    return authority


def test_the_owner_and_a_writer_may_do_all_that_a_sync_does(
    as_role: Call, owned: OwnedDatabase, name: str
) -> None:
    granted(as_role, "writer", name)

    for role in (owned.owner, name):
        code, out, _ = as_role("doctor", role=role)
        assert code == 0
        assert lines(out, "database").splitlines()[-1] == (
            f"ok        database, rights: {role} may do all that a sync does"
        )


def test_a_reader_is_told_that_it_is_only_a_reader(
    as_role: Call, owned: OwnedDatabase, name: str
) -> None:
    granted(as_role, "reader", name)

    code, out, _ = as_role("doctor", role=name)

    assert code == 0
    assert lines(out, "database").splitlines()[-2:] == [
        "left out  database, schema: run_sync is not this user's to read",
        (
            f"warning   database, rights: {name} is only a reader: it can query the run"
            f" history, and not sync; to sync, {AS_OWNER}"
        ),
    ]


def test_each_right_that_is_lacking_is_named(
    as_role: Call, owned: OwnedDatabase, name: str
) -> None:
    granted(as_role, "writer", name)
    owned.run(
        f"REVOKE INSERT, UPDATE ON run_history.runs FROM {name}",
        f"REVOKE DELETE ON run_sync.threads FROM {name}",
        f"REVOKE EXECUTE ON FUNCTION run_sync.make_month FROM {name}",
    )

    code, out, _ = as_role("doctor", role=name)

    assert code == 1
    assert lines(out, "database").splitlines()[-1] == (
        f"failed    database, rights: {name} lacks INSERT on run_history.runs, UPDATE on"
        " run_history.runs, DELETE on run_sync.threads, EXECUTE on"
        f" run_sync.make_month(date); {AS_OWNER}"
    )


@pytest.mark.parametrize(
    ("more", "line"),
    [
        (
            "",
            "ok        database, TLS: encrypted, and the server is verified (verify-full)",
        ),
        (
            "&sslmode=require",
            (
                "warning   database, TLS: encrypted, but whoever answers is trusted"
                " (require); write sslmode=verify-full in the database's URL"
            ),
        ),
    ],
)
def test_tls_to_a_database_elsewhere_is_told(
    as_role: Call,
    owned: OwnedDatabase,
    authority: trustme.CA,
    more: str,
    line: str,
) -> None:
    tls = as_context(authority.issue_cert(HOST))

    with serving_tls(owned.address, tls) as port:
        there = owned.address.set(host=HOST, port=port).update_query_string(
            f"hostaddr=127.0.0.1{more}"
        )
        url = as_text(there.set(username=owned.owner, password=PASSWORD))
        code, out, _ = as_role("doctor", url=url)

    assert code == 0
    assert lines(out, "database").splitlines()[2] == line
    assert PASSWORD not in out


def test_a_database_elsewhere_that_is_not_trusted_is_told(
    as_role: Call, owned: OwnedDatabase
) -> None:
    tls = as_context(trustme.CA().issue_cert(HOST))

    with serving_tls(owned.address, tls) as port:
        url = f"postgresql://me:{SECRET}@{HOST}:{port}/db?hostaddr=127.0.0.1"
        code, out, _ = as_role("doctor", url=url)

    assert code == 1
    assert lines(out, "database").splitlines()[0] == (
        "failed    database, connection: The certificate of the database at"
        f" postgresql://me:***@{HOST}:{port}/db?hostaddr=127.0.0.1 has expired, or nobody"
        " who is trusted here vouches for it; write sslrootcert=/path/of/its/authority.pem,"
        " or sslmode=require to trust whoever answers: add it to the query of [database]"
        " url or RUNTIDE_DATABASE_URL"
    )


def test_a_server_that_holds_its_answer_back_is_not_waited_for_long(
    as_role: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(contact, "SECONDS", 0.2)
    with raw_serving(lambda _: Answer([], "hold")) as base_url:
        path = tmp_path / "config.toml"
        path.write_text(f'[[sources]]\nname = "demo"\nbase_url = "{base_url}"\n')
        code, out, _ = as_role("doctor")

    assert code == 1
    assert lines(out, "source demo").splitlines()[3:5] == [
        "left out  source demo, API key: needs an answer",
        (
            f"failed    source demo, list call: {base_url} did not answer: timed out; see"
            " what the server's own log says"
        ),
    ]


def test_a_table_that_somebody_holds_is_not_waited_for_long(
    as_role: Call, owned: OwnedDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "PATIENCE", "200ms")
    with owned.connected() as holder:
        holder.execute("LOCK TABLE run_sync.threads")
        code, out, _ = as_role("doctor")

    place = owned.address.set(username=owned.owner, password="***")
    assert code == 1
    assert lines(out, "database").splitlines()[-1] == (
        f"failed    database, threads: The database at {shown(place)} refused: canceling"
        " statement due to statement timeout"
    )


def test_an_error_that_nobody_foresaw_is_a_failed_line_without_its_text(
    as_role: Call, owned: OwnedDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise LookupError(SECRET)

    monkeypatch.setattr(inspection, "version", fail)
    monkeypatch.setattr(inspection, "now", fail)
    monkeypatch.setattr(of_sources, "contact", fail)

    code, out, err = as_role("doctor")

    rest = "the check itself failed with LookupError; report it as a defect in runtide"
    assert (code, err) == (1, "")
    assert [line for line in out.splitlines() if line.startswith("failed")] == [
        f"failed    database, version: {rest}",
        f"failed    database, threads: {rest}",
        f"failed    source demo, request: {rest}",
    ]
    assert SECRET not in out


def test_a_data_directory_that_is_open_or_full_is_a_warning(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    allowed = "710" if os.geteuid() == 0 else "700"

    opened = disk.permissions(tmp_path)
    full = disk.free_space(tmp_path / "not/yet", least=2**80)
    tmp_path.chmod(0o700)
    closed = disk.permissions(tmp_path)

    assert (opened.told, opened.advice) == (
        f"{tmp_path} is open to other users of this machine (0755)",
        f"run `chmod {allowed} {tmp_path}`",
    )
    assert (full.told, full.advice) == (
        f"less than 1,125,899,906,842,624 GiB is left at {tmp_path}",
        "make room, or set [database] data_dir to a larger disk",
    )
    assert closed.told == f"{tmp_path} is closed to other users"


def test_what_goes_wrong_between_checks_ends_one_place_alone(
    as_role: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", f"http://me:{SECRET}@proxy:port")
    monkeypatch.setenv("NO_PROXY", "")

    code, out, err = as_role("doctor")

    assert (code, err) == (1, "")
    assert lines(out, "database").count("ok  ") == 5
    assert lines(out, "source demo") == (
        "failed    source demo, examination: the check itself failed with InvalidURL;"
        " report it as a defect in runtide\n"
    )
    assert SECRET not in out


def test_a_configuration_without_sources_is_told(as_role: Call, tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text("")

    code, out, _ = as_role("doctor")

    assert code == 1
    assert lines(out, "configuration").splitlines()[-1] == (
        f"failed    configuration, sources: {tmp_path}/config.toml names no [[sources]];"
        " add one to it"
    )
