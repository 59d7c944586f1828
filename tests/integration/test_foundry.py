"""A Foundry, from its tokens to its rows: the real command, real HTTP, real Postgres."""

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme
from sqlalchemy.engine import Engine

from etl.config import read_settings
from etl.domain.errors import DiscoveryError
from etl.domain.run import Instant
from etl.wiring.sources import http_source
from tests.conftest import as_text
from tests.integration.builders import query, rows
from tests.integration.certificates import as_context
from tests.integration.commands import Printed, Runtide
from tests.integration.entra import (
    CLIENT,
    CLIENT_SECRET,
    IDENTITY_HEADER,
    TENANT,
    Issuer,
)
from tests.integration.foundry import SECRET, Project, a_run
from tests.integration.json_serving import Answer, json_serving

Json = Any
NAMES = [f"thread_{number}" for number in range(6)]
BY_SECRET = f"""\
credential = "client_secret"
tenant_id = "{TENANT}"
client_id = "{CLIENT}"
client_secret_env = "FOUNDRY_SECRET"
"""
FILE = """\
[database]
url = "{url}"

[[sources]]
name = "foundry"
kind = "foundry"
base_url = "{address}"
requests_per_minute = 10000000
{source}

{entra}
[sync]
workers = 2
page_size = {page_size}
"""
RUN_ROWS = (
    "SELECT s.name, r.run_id, r.total_tokens FROM run_history.runs r"
    " JOIN run_sync.sources s USING (source_id) ORDER BY 1, 2"
)


class Foundry:
    """The command, configured for one project."""

    def __init__(
        self,
        folder: Path,
        engine: Engine,
        project: Project,
        address: str,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        self.path = folder / "config.toml"
        self.engine, self.project, self.address = engine, project, address
        self._run = Runtide(folder, engine, capsys)

    def configure(
        self,
        entra: str | None = None,
        *,
        source: str = "",
        page_size: int = 100,
        more: str = "",
    ) -> None:
        table = "" if entra is None else f"[sources.entra]\n{entra}"
        text = FILE.format(
            url=as_text(self.engine.url),
            address=self.address,
            source=source,
            entra=table,
            page_size=page_size,
        )
        self.path.write_text(text + more)

    def __call__(self, *arguments: str) -> Printed:
        return self._run(*arguments)

    def sync(self) -> dict[str, Json]:
        """Track all threads and sync them; answers the report."""
        assert self("track", *self.project.threads).code == 0
        printed = self("sync", "--json")
        report: dict[str, Json] = json.loads(printed.out)
        return report

    def listed(self) -> list[tuple[str, ...]]:
        """What the server's list of threads gives, page by page."""
        settings = read_settings(self.path, {"FOUNDRY_TOKEN": self.project.issuer.issue()})
        [source] = settings.sources()
        with http_source(
            settings, source, now=lambda: Instant(0), stop=threading.Event()
        ) as opened:
            assert opened.lister is not None
            return list(opened.lister.thread_pages())


@pytest.fixture
def issuer() -> Issuer:
    return Issuer()


@pytest.fixture
def project(issuer: Issuer) -> Project:
    return Project(
        issuer, {name: [a_run(name, number) for number in range(4)] for name in NAMES}
    )


@pytest.fixture
def foundry(
    tmp_path: Path, engine: Engine, project: Project, capsys: pytest.CaptureFixture[str]
) -> Iterator[Foundry]:
    with project.serving() as address:
        yield Foundry(tmp_path, engine, project, address, capsys)


@pytest.fixture
def token(issuer: Issuer, monkeypatch: pytest.MonkeyPatch) -> str:
    """A ready token, in the variable that the settings name."""
    made = issuer.issue()
    monkeypatch.setenv("FOUNDRY_TOKEN", made)
    return made


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def entra(
    issuer: Issuer,
    authority: trustme.CA,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[str]:
    """Entra over TLS, as the environment names it."""
    roots = tmp_path / "roots.pem"
    authority.cert_pem.write_to_path(str(roots))
    tls = as_context(authority.issue_cert("127.0.0.1"))
    with json_serving(issuer.respond, tls=tls) as address:
        monkeypatch.setenv("SSL_CERT_FILE", str(roots))
        monkeypatch.setenv("AZURE_AUTHORITY_HOST", address)
        monkeypatch.setenv("FOUNDRY_SECRET", CLIENT_SECRET)
        yield address


READY = 'api_key_env = "FOUNDRY_TOKEN"'


@pytest.mark.usefixtures("token")
@pytest.mark.parametrize("trusted", ["true", "false"])
def test_every_run_becomes_a_row_over_many_pages(foundry: Foundry, trusted: str) -> None:
    foundry.project.threads["thread_0"] = [a_run("thread_0", each) for each in range(23)]
    foundry.configure(source=f"{READY}\ntrusted = {trusted}", page_size=10)

    report = foundry.sync()

    assert (report["outcome"], report["runs_created"]) == ("succeeded", 23 + 5 * 4)
    expected = [
        ("foundry", run["id"], run["usage"]["total_tokens"])
        for runs in foundry.project.threads.values()
        for run in runs
    ]
    assert [tuple(each) for each in query(foundry.engine, RUN_ROWS)] == sorted(expected)
    assert query(foundry.engine, "SELECT * FROM run_sync.drift") == []


@pytest.mark.usefixtures("token")
def test_no_credential_is_in_any_table_nor_in_the_logs(foundry: Foundry) -> None:
    damaged = a_run("thread_0", 7, status=None)
    odd = a_run("thread_1", 8, tools=[{"type": "mcp", "headers": {"x": SECRET}}])
    foundry.project.threads["thread_0"].append(damaged)
    foundry.project.threads["thread_1"].append(odd)
    foundry.configure(source=READY)

    assert foundry("track", *NAMES).code == 0
    printed = foundry("sync", "--log-format", "json", "--log-level", "debug")

    assert printed.code == 0
    assert query(foundry.engine, "SELECT count(*) FROM run_sync.rejects") == [(1,)]
    assert query(foundry.engine, "SELECT count(*) FROM run_history.runs") == [(25,)]
    assert tables_with(foundry.engine, SECRET) == set()
    assert tables_with(foundry.engine, "planted-token") == set()
    assert SECRET not in printed.out + printed.err
    assert "planted-token" not in printed.out + printed.err
    assert foundry("verify").code == 0


def tables_with(engine: Engine, text: str) -> set[str]:
    """The tables in which any row holds a text, in whatever column."""
    return {
        table
        for table, found in rows(engine).items()
        if any(text in each for each in found)
    }


def test_a_client_secret_gets_a_token_and_a_sync_outlives_it(
    foundry: Foundry, issuer: Issuer, entra: str
) -> None:
    issuer.requests_each = 4
    foundry.configure(BY_SECRET)

    report = foundry.sync()

    assert (report["outcome"], report["runs_created"]) == ("succeeded", 24)
    assert issuer.given > 1
    assert foundry.project.refused >= 1
    tokens = {each.headers["authorization"] for each in foundry.project.asked}
    assert len(tokens) == issuer.given
    assert {each.headers["host"] for each in issuer.asked} == {entra[len("https://") :]}


@pytest.mark.usefixtures("entra")
def test_a_token_that_has_ended_is_replaced_before_anybody_refuses_it(
    foundry: Foundry, issuer: Issuer
) -> None:
    issuer.seconds = 0
    foundry.configure(BY_SECRET)

    assert foundry.sync()["outcome"] == "succeeded"

    assert issuer.given > 1
    assert foundry.project.refused == 0


@pytest.mark.usefixtures("entra")
def test_the_default_credential_finds_an_application_in_the_environment(
    foundry: Foundry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AZURE_TENANT_ID", TENANT)
    monkeypatch.setenv("AZURE_CLIENT_ID", CLIENT)
    monkeypatch.setenv("AZURE_CLIENT_SECRET", CLIENT_SECRET)
    monkeypatch.setenv("AZURE_TOKEN_CREDENTIALS", "EnvironmentCredential")
    foundry.configure()

    assert foundry.sync()["runs_created"] == 24


def test_a_managed_identity_gets_its_token_from_the_machine(
    foundry: Foundry, issuer: Issuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    foundry.configure('credential = "managed_identity"')
    with json_serving(issuer.respond) as address:
        monkeypatch.setenv("IDENTITY_ENDPOINT", f"{address}/msi/token")
        monkeypatch.setenv("IDENTITY_HEADER", IDENTITY_HEADER)

        assert foundry.sync()["runs_created"] == 24

    assert issuer.given == 1


WRONG_SECRET = (
    "Microsoft Entra refuses the client secret: AADSTS7000215: Invalid client secret"
    " provided. Ensure the secret being sent in the request is the client secret value;"
    " check tenant_id, client_id and the variable that client_secret_env names"
)


@pytest.mark.usefixtures("entra")
def test_a_wrong_secret_is_one_sentence(
    foundry: Foundry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FOUNDRY_SECRET", "some-other-secret")
    foundry.configure(BY_SECRET)
    assert foundry("track", *NAMES).code == 0

    printed = foundry("sync", "--log-format", "json")

    assert printed.code == 1
    assert WRONG_SECRET in printed.out + printed.err
    assert "some-other-secret" not in printed.out + printed.err
    assert "Trace" not in printed.out + printed.err
    assert foundry.project.asked == []
    told = [json.loads(line) for line in printed.err.splitlines() if line.startswith("{")]
    assert all("traceback" not in each for each in told)


def test_an_entra_that_is_out_of_reach_is_one_sentence(
    foundry: Foundry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AZURE_AUTHORITY_HOST", "https://127.0.0.1:1")
    monkeypatch.setenv("FOUNDRY_SECRET", CLIENT_SECRET)
    foundry.configure(BY_SECRET)

    [error] = foundry.sync()["errors"]

    assert error["message"] == (
        "Microsoft Entra cannot be reached: Connection refused; check the network and"
        " HTTPS_PROXY, and AZURE_AUTHORITY_HOST where it is set"
    )


def test_a_machine_without_an_identity_is_one_sentence(
    foundry: Foundry, issuer: Issuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    foundry.configure('credential = "managed_identity"')
    with json_serving(issuer.respond) as address:
        monkeypatch.setenv("IDENTITY_ENDPOINT", f"{address}/msi/token")
        monkeypatch.setenv("IDENTITY_HEADER", "wrong")
        [error] = foundry.sync()["errors"]

    assert error["message"].startswith(
        "this machine gets no access token for its managed identity: "
    )
    assert error["message"].endswith(
        "; give it one in Azure, and check client_id in [sources.entra]"
    )
    assert "\n" not in error["message"]


@pytest.mark.usefixtures("token")
def test_who_is_throttled_waits_as_long_as_told_and_loses_nothing(
    foundry: Foundry,
) -> None:
    foundry.project.throttled = {2, 3}
    foundry.configure(source=READY)

    report = foundry.sync()

    assert (report["outcome"], report["runs_created"]) == ("succeeded", 24)
    assert report["retries"] == 2


def test_a_ready_token_that_ended_says_what_to_do(
    foundry: Foundry, issuer: Issuer, token: str
) -> None:
    issuer.requests_each = 0
    foundry.configure(source=READY)

    report = foundry.sync()

    assert report["errors"][0]["message"] == (
        "the server refuses the access token: HTTP 401 The token [API key] is not valid."
        " (request id req_of_test); set the variable that api_key_env names anew (an access"
        " token lives about an hour), or leave it out and let runtide ask for tokens itself"
    )
    assert token not in json.dumps(report)


@pytest.mark.usefixtures("token")
def test_a_foundry_and_a_server_of_the_protocol_stand_side_by_side(
    foundry: Foundry, issuer: Issuer
) -> None:
    other = Project(issuer, {"thread_0": [a_run("thread_0", 1)]})
    with json_serving(lambda request: other.respond(as_foundry(request))) as address:
        foundry.configure(
            source=READY,
            more=(
                f'\n[[sources]]\nname = "plain"\nbase_url = "{address}/v1"\n'
                f"{READY}\nrequests_per_minute = 100000\n"
            ),
        )
        assert foundry("track", *NAMES, "--source", "foundry").code == 0
        assert foundry("track", "thread_0", "--source", "plain").code == 0
        report = json.loads(foundry("sync", "--json").out)

    assert report["outcome"] == "succeeded"
    by_name = "SELECT name, count(*) FROM ({}) AS r GROUP BY 1 ORDER BY 1"
    assert query(foundry.engine, by_name.format(RUN_ROWS)) == [
        ("foundry", 24),
        ("plain", 1),
    ]
    kinds = "SELECT name, kind FROM run_sync.sources ORDER BY 1"
    assert query(foundry.engine, kinds) == [("foundry", "foundry"), ("plain", "openai")]


def as_foundry(request: Any) -> Any:
    """A request in OpenAI's words, as the project takes it."""
    assert request.headers["openai-beta"] == "assistants=v2"
    assert "api-version" not in request.query
    headers = {each: v for each, v in request.headers.items() if each != "openai-beta"}
    return type(request)(
        ("api", "projects", "demo-project", *request.path[1:]),
        {**request.query, "api-version": "v1"},
        headers,
        request.form,
    )


# The list of threads ---------------------------------------------------------


def test_all_threads_are_listed_newest_first(foundry: Foundry) -> None:
    foundry.project.threads = {f"thread_{number:03}": [] for number in range(250)}
    foundry.configure(source=READY)

    pages = foundry.listed()

    assert list(map(len, pages)) == [100, 100, 50]
    assert [each for page in pages for each in page] == [
        f"thread_{number:03}" for number in reversed(range(250))
    ]
    assert {each.query["api-version"] for each in foundry.project.asked} == {"v1"}


def test_a_wrong_project_has_no_list_of_threads(foundry: Foundry) -> None:
    foundry.address = foundry.address.replace("demo-project", "another")
    foundry.configure(source=READY)

    with pytest.raises(DiscoveryError) as caught:
        foundry.listed()

    assert str(caught.value) == (
        "the server has no list of threads: HTTP 404 Project not found (request id"
        " req_of_test); check base_url, which ends in /api/projects/ and the project's"
        " name, or set list_threads = false"
    )


@pytest.mark.usefixtures("token")
def test_listed_threads_are_read_at_once_and_who_is_untracked_stays_out(
    foundry: Foundry,
) -> None:
    project = foundry.project
    project.threads = {
        name: [a_run(name, 1)] for name in map("thread_{:03}".format, range(250))
    }
    foundry.configure(source=READY)

    first = json.loads(foundry("sync", "--json").out)
    foundry("untrack", "thread_249", "thread_000")
    project.threads["thread_new"] = [a_run("thread_new", 1)]
    asked = len(project.asked)
    second = json.loads(foundry("sync", "--json").out)

    assert (first["threads_found"], first["runs_created"]) == (250, 250)
    assert (second["threads_found"], second["runs_created"]) == (1, 1)
    lists = [each for each in project.asked[asked:] if each.path[-1] == "threads"]
    assert len(lists) == 2  # the page with the new thread, and one without
    tracked = query(foundry.engine, "SELECT thread_id FROM run_sync.threads")
    assert not {("thread_249",), ("thread_000",)} & set(tracked)


@pytest.mark.usefixtures("token")
def test_a_token_that_is_refused_is_told_once_and_asks_nothing_more(
    foundry: Foundry, issuer: Issuer
) -> None:
    foundry.configure(source=READY)
    foundry("track", *NAMES)
    issuer.given = 0

    report = json.loads(foundry("sync", "--json").out)

    assert (report["outcome"], len(report["errors"]), report["requests"]) == (
        "failed",
        1,
        1,
    )


@pytest.mark.usefixtures("token")
def test_a_list_that_breaks_the_rules_says_that_no_threads_were_discovered(
    foundry: Foundry,
) -> None:
    listed = [{"id": name, "created_at": at} for at, name in enumerate(NAMES, 1)]

    def respond(request: Any) -> Answer:
        if request.path[-1] == "threads":
            return Answer(200, {"data": listed, "has_more": False})
        return foundry.project.respond(request)

    with json_serving(respond) as address:
        foundry.address = f"{address}/api/projects/demo-project"
        foundry.configure(source=READY)
        foundry("track", NAMES[0])
        printed = foundry("sync")

    assert printed.code == 3
    assert printed.err == (
        "runtide: foundry: new threads were not discovered: thread thread_1 is out of"
        " order: the server does not list the newest threads first (request id"
        " req_of_test); set list_threads = false if it stays like this\n"
    )
    assert query(foundry.engine, "SELECT count(*) FROM run_history.runs") == [(4,)]
