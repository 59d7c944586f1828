"""TLS to an API: a certificate that is not right is one sentence, and no key goes out."""

from pathlib import Path

import pytest
import trustme
from sqlalchemy.engine import Engine

from etl.domain.outcome import Failure, Outcome, SyncReport
from tests.integration.builders import THREAD, query
from tests.integration.certificates import as_context, expired
from tests.integration.raw_serving import Answer, Request, an_answer, raw_serving
from tests.integration.syncing import Syncer

KEY = "sk-test-0123456789abcdef"
HERE = "127.0.0.1"


@pytest.fixture
def authority(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> trustme.CA:
    """A private authority that SSL_CERT_FILE names."""
    authority = trustme.CA()
    roots = tmp_path / "roots.pem"
    authority.cert_pem.write_to_path(str(roots))
    monkeypatch.setenv("SSL_CERT_FILE", str(roots))
    return authority


class Asked:
    """An API of one empty thread, which writes down every request that it can read."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.keys: list[str | None] = []

    def sync(self, certificate: trustme.LeafCert) -> tuple[SyncReport, str]:
        """Sync with a server that shows this certificate; answers its address too."""
        with raw_serving(self._respond, tls=as_context(certificate)) as base_url:
            syncer = Syncer(self.engine, base_url, key=KEY)
            syncer.track([THREAD])
            return syncer.sync(), base_url

    def _respond(self, request: Request) -> Answer:
        self.keys.append(request.headers.get("authorization"))
        return an_answer({"object": "list", "data": [], "has_more": False})


@pytest.fixture
def asked(engine: Engine) -> Asked:
    return Asked(engine)


@pytest.mark.parametrize(
    ("kind", "flaw"),
    [
        ("of a stranger", "unable to get local issuer certificate"),
        ("expired", "certificate has expired"),
        (
            "of another name",
            "IP address mismatch, certificate is not valid for '127.0.0.1'",
        ),
    ],
)
def test_a_wrong_certificate_is_one_sentence_and_the_key_is_never_sent(
    asked: Asked, authority: trustme.CA, kind: str, flaw: str
) -> None:
    certificates = {
        "of a stranger": lambda: trustme.CA().issue_cert(HERE),
        "expired": lambda: expired(authority, HERE),
        "of another name": lambda: authority.issue_cert("other.example.test"),
    }

    report, base_url = asked.sync(certificates[kind]())

    assert report.outcome is Outcome.FAILED
    assert report.errors == [
        Failure(
            source="demo",
            thread=None,
            message=(
                f"{base_url} has no valid certificate: {flaw}; correct base_url or the"
                " server, or name the file of an authority of your own in SSL_CERT_FILE"
            ),
        )
    ]
    assert asked.keys == []
    assert query(asked.engine, "SELECT count(*) FROM run_history.runs") == [(0,)]


def test_an_authority_of_ones_own_is_trusted_where_ssl_cert_file_names_it(
    asked: Asked, authority: trustme.CA
) -> None:
    report, _ = asked.sync(authority.issue_cert(HERE))

    assert report.outcome is Outcome.SUCCEEDED
    assert set(asked.keys) == {f"Bearer {KEY}"}
