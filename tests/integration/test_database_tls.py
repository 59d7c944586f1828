"""TLS to a database elsewhere: a real Postgres behind certificates of every kind."""

import ssl
from pathlib import Path

import pytest
import sqlalchemy as sa
import trustme
from sqlalchemy.engine import URL

from etl.domain.errors import DatabaseError
from etl.load.database import connected, opened, parse_url
from etl.warehouse.reading import ArrowReader
from tests.integration.certificates import HOST, as_context, expired
from tests.integration.tls_postgres import serving_tls

ADDED = "add it to the query of [database] url or RUNTIDE_DATABASE_URL."


@pytest.fixture
def authority(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> trustme.CA:
    """Who is trusted on this machine, and nobody else is."""
    authority = trustme.CA()
    roots = tmp_path / "roots.pem"
    authority.cert_pem.write_to_path(str(roots))
    monkeypatch.setenv("SSL_CERT_FILE", str(roots))
    monkeypatch.setenv("HOME", str(tmp_path))
    return authority


def told(server_url: URL, tls: ssl.SSLContext | None, more: str = "") -> str:
    """How a connection to a server of this name went."""
    with serving_tls(server_url, tls) as port:
        url = f"postgresql://postgres@{HOST}:{port}/postgres?hostaddr=127.0.0.1{more}"
        try:
            with opened(url) as engine, connected(engine) as connection:
                connection.execute(sa.text("SELECT 1"))
                driver = connection.connection.driver_connection
                assert driver is not None
                return "over TLS" if driver.pgconn.ssl_in_use else "in the clear"
        except DatabaseError as error:
            return str(error).replace(f":{port}", ":PORT")


def test_a_server_with_a_trusted_certificate_of_its_name_is_talked_to_over_tls(
    authority: trustme.CA, server_url: URL
) -> None:
    assert told(server_url, as_context(authority.issue_cert(HOST))) == "over TLS"


def test_a_server_elsewhere_without_tls_is_refused(
    authority: trustme.CA, server_url: URL
) -> None:
    assert told(server_url, None) == (
        f"The database at postgresql://postgres@{HOST}:PORT/postgres?hostaddr=127.0.0.1"
        " does not offer TLS, and it is not on this machine; switch TLS on at the server,"
        f" or write sslmode=disable where nobody can listen in: {ADDED}"
    )


@pytest.mark.parametrize("kind", ["of a stranger", "expired"])
def test_a_certificate_that_is_not_trusted_is_refused(
    authority: trustme.CA, server_url: URL, kind: str
) -> None:
    stranger = trustme.CA().issue_cert(HOST)
    old = expired(authority, HOST)

    tls = as_context(stranger if kind == "of a stranger" else old)

    assert told(server_url, tls) == (
        "The certificate of the database at"
        f" postgresql://postgres@{HOST}:PORT/postgres?hostaddr=127.0.0.1 has expired, or"
        " nobody who is trusted here vouches for it; write"
        " sslrootcert=/path/of/its/authority.pem, or sslmode=require to trust whoever"
        f" answers: {ADDED}"
    )


def test_a_certificate_of_another_name_is_refused(
    authority: trustme.CA, server_url: URL
) -> None:
    tls = as_context(authority.issue_cert("other.example.test"))

    assert told(server_url, tls) == (
        "The certificate of the database at"
        f" postgresql://postgres@{HOST}:PORT/postgres?hostaddr=127.0.0.1 is for"
        f' "other.example.test", not for "{HOST}"; write the name that it is for, or'
        f" sslmode=verify-ca to accept any name: {ADDED}"
    )


def test_a_url_that_names_its_sslmode_is_obeyed(
    authority: trustme.CA, server_url: URL
) -> None:
    stranger = as_context(trustme.CA().issue_cert("other.example.test"))
    other_name = as_context(authority.issue_cert("other.example.test"))

    assert told(server_url, stranger, "&sslmode=require") == "over TLS"
    assert told(server_url, other_name, "&sslmode=verify-ca") == "over TLS"
    assert "has expired, or nobody" in told(server_url, stranger, "&sslmode=verify-ca")


def test_an_authority_that_the_url_names_is_trusted(
    authority: trustme.CA, server_url: URL, tmp_path: Path
) -> None:
    private = trustme.CA()
    private.cert_pem.write_to_path(str(tmp_path / "private.pem"))
    tls = as_context(private.issue_cert(HOST))

    trusted = told(server_url, tls, f"&sslrootcert={tmp_path}/private.pem")
    missing = told(server_url, tls, f"&sslrootcert={tmp_path}/none.pem")

    assert trusted == "over TLS"
    assert missing.startswith(f'The file "{tmp_path}/none.pem", which should vouch for')
    assert missing.endswith(
        f", does not exist; write sslrootcert= with the right path: {ADDED}"
    )


def test_a_password_in_the_query_of_a_url_is_not_shown(server_url: URL) -> None:
    answer = told(server_url, None, "&password=s3cret&sslpassword=s3cret&sslmode=require")

    assert "s3cret" not in answer
    assert "password=***" in answer


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("trusted", '"00000003-0000001B-1"'),
        ("of a stranger", "nobody who is trusted here vouches for it"),
        ("of another name", 'is for "other.example.test"'),
        ("none", "does not offer TLS"),
    ],
)
def test_the_driver_of_exports_verifies_by_itself(
    authority: trustme.CA, server_url: URL, kind: str, said: str
) -> None:
    """It has a libpq of its own, and connects a second time."""
    tls = {
        "trusted": as_context(authority.issue_cert(HOST)),
        "of a stranger": as_context(trustme.CA().issue_cert(HOST)),
        "of another name": as_context(authority.issue_cert("other.example.test")),
        "none": None,
    }[kind]
    with serving_tls(server_url, tls) as port:
        text = f"postgresql://postgres:s3cret@{HOST}:{port}/postgres?hostaddr=127.0.0.1"
        opening = ArrowReader.opened(parse_url(text), "00000003-0000001B-1")
        with pytest.raises(DatabaseError) as caught, opening:
            pass
    assert said in str(caught.value)
    assert "s3cret" not in str(caught.value)
