"""Which database URLs get a verified TLS, and whose authorities count."""

from pathlib import Path

import certifi
import pytest
from psycopg.conninfo import conninfo_to_dict

from etl.load.database import for_libpq, for_psql, parse_url
from etl.load.trust import tls_settings


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home without certificates, on a machine that has none either."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "none"))
    return tmp_path


def settings(url: str, **environment: str) -> dict[str, str]:
    return tls_settings(parse_url(url), environment)


@pytest.mark.parametrize(
    "place",
    [
        "me@localhost/db",
        "me@127.0.0.1:6543/db",
        "me@127.8.8.8/db",
        "me@[::1]/db",
        "/db",
        "/db?host=/run/postgresql",
        "/db?host=%40abstract",
        "/db?host=localhost:5432&host=127.0.0.1:5433",
    ],
)
def test_a_server_on_this_machine_is_left_as_the_url_says(place: str) -> None:
    assert settings(f"postgresql://{place}") == {}


@pytest.mark.parametrize(
    "place",
    [
        "me@db.example.test/db",
        "me@10.0.0.7/db",
        "me@[2001:db8::1]/db",
        "me@localhost.example.test/db",
        "me@db.example.test/db?hostaddr=127.0.0.1",
        "/db?host=db.example.test",
        "/db?host=localhost,db.example.test",
        "/db?host=localhost:5432&host=db.example.test:5432",
        "/db?hostaddr=10.0.0.7",
    ],
)
def test_a_server_elsewhere_must_prove_its_name(place: str) -> None:
    assert settings(f"postgresql://{place}")["sslmode"] == "verify-full"


def test_the_environments_host_counts_where_the_url_names_none() -> None:
    assert settings("postgresql:///db", PGHOST="db.example.test") != {}
    assert settings("postgresql:///db", PGHOST="/run/postgresql") == {}


@pytest.mark.parametrize("mode", ["disable", "allow", "prefer", "require"])
def test_a_url_that_names_a_lesser_sslmode_is_obeyed(mode: str) -> None:
    assert settings(f"postgresql://me@db.example.test/db?sslmode={mode}") == {}
    assert settings("postgresql://me@db.example.test/db", PGSSLMODE=mode) == {}


def test_a_service_file_is_left_alone() -> None:
    assert settings("postgresql:///db?service=prod") == {}


def test_a_machine_without_authorities_trusts_those_that_come_with_the_package() -> None:
    url = "postgresql://me@db.example.test/db"

    assert settings(url)["sslrootcert"] == certifi.where()


def test_the_authorities_of_ssl_cert_file_are_trusted(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (home / "mine.pem").touch()
    monkeypatch.setenv("SSL_CERT_FILE", str(home / "mine.pem"))

    for mode in ("", "?sslmode=verify-full", "?sslmode=verify-ca"):
        found = settings(f"postgresql://me@db.example.test/db{mode}")
        assert found["sslrootcert"] == str(home / "mine.pem")


def test_authorities_that_a_person_chose_for_postgres_are_left_to_libpq(
    home: Path,
) -> None:
    url = "postgresql://me@db.example.test/db"

    assert "sslrootcert" not in settings(f"{url}?sslrootcert=/mine.pem")
    assert "sslrootcert" not in settings(url, PGSSLROOTCERT="/mine.pem")
    (home / ".postgresql").mkdir()
    (home / ".postgresql/root.crt").touch()
    assert settings(url) == {"sslmode": "verify-full"}


def test_psql_gets_the_password_by_its_environment_and_the_same_tls(home: Path) -> None:
    url = "postgresql+psycopg://a%20b:p%40ss@db.example.test:6543/runs?x=1"

    address, variables = for_psql(url)

    assert variables == {"PGPASSWORD": "p@ss"}
    assert address.startswith("postgresql://a%20b@db.example.test:6543/runs?")
    assert "sslmode=verify-full" in address
    assert "p%40ss" not in address


def test_psql_on_this_machine_gets_the_url_as_it_is() -> None:
    url = "postgresql://postgres@/runs?host=%2Frun%2Fpostgresql&port=5432"

    assert for_psql(url) == (url, {})


@pytest.mark.parametrize(
    ("hosts", "host", "port"),
    [
        ("host=one:5432&host=two:5433", "one,two", "5432,5433"),
        ("host=one:5433", "one", "5433"),
        ("host=/run/postgres&port=5432", "/run/postgres", "5432"),
    ],
)
def test_hosts_in_a_query_are_listed_as_libpq_wants_them(
    hosts: str, host: str, port: str
) -> None:
    text = f"postgresql://someone@/history?{hosts}"

    for address in (for_libpq(parse_url(text)), for_psql(text)[0]):
        found = conninfo_to_dict(address)
        assert (found["host"], found["port"]) == (host, port)
