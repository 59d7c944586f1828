"""The real command against a Foundry: one sentence for a failure, and no dump beside it."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme

from tests.e2e.conftest import Command
from tests.integration.certificates import as_context
from tests.integration.entra import CLIENT, CLIENT_SECRET, TENANT, Issuer
from tests.integration.foundry import Project, a_run
from tests.integration.json_serving import json_serving

CONFIG = f"""\
[[sources]]
name = "foundry"
kind = "foundry"
base_url = "{{address}}"
requests_per_minute = 600000

[sources.entra]
credential = "client_secret"
tenant_id = "{TENANT}"
client_id = "{CLIENT}"
client_secret_env = "FOUNDRY_SECRET"
"""
REFUSED = (
    "runtide: foundry: Microsoft Entra refuses the client secret: AADSTS7000215: Invalid"
    " client secret provided. Ensure the secret being sent in the request is the client"
    " secret value; check tenant_id, client_id and the variable that client_secret_env"
    " names"
)


@pytest.fixture
def foundry(runtide: Command, tmp_path: Path) -> Iterator[Command]:
    """The command, with one thread of a project tracked."""
    authority, issuer = trustme.CA(), Issuer(requests_each=2)
    authority.cert_pem.write_to_path(str(tmp_path / "roots.pem"))
    tls = as_context(authority.issue_cert("127.0.0.1"))
    project = Project(issuer, {"thread_1": [a_run("thread_1", each) for each in range(9)]})
    with json_serving(issuer.respond, tls=tls) as entra, project.serving() as address:
        runtide.environment |= {
            "SSL_CERT_FILE": str(tmp_path / "roots.pem"),
            "AZURE_AUTHORITY_HOST": entra,
            "FOUNDRY_SECRET": CLIENT_SECRET,
        }
        (tmp_path / "config.toml").write_text(CONFIG.format(address=address))
        assert runtide("track", "thread_1").code == 0
        yield runtide


def test_a_sync_gets_its_tokens_and_prints_none(foundry: Command) -> None:
    answer = foundry("sync", "--log-format", "json", "--log-level", "debug")

    assert answer.code == 0
    assert "planted" not in answer.out + answer.err
    assert foundry("verify").out == "1 thread compared; 0 differences in 0 threads.\n"


def test_a_refused_secret_is_one_sentence_and_nothing_else(foundry: Command) -> None:
    answer = foundry("sync", "--quiet", FOUNDRY_SECRET="planted-and-wrong")

    assert answer.code == 1
    assert answer.err == f"{REFUSED}\n"
    assert "planted" not in answer.out + answer.err
