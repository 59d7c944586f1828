"""`runtide doctor` on sources: names, certificates, keys, clocks, budgets."""

import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from email.utils import formatdate
from pathlib import Path
from time import time

import pytest
import trustme

from etl.demo.listener import Reply
from etl.demo.server import DemoServer
from tests.e2e.conftest import KEY, Command
from tests.e2e.findings import lines
from tests.integration.certificates import as_context, expired
from tests.integration.raw_serving import Answer, Request, an_answer, raw_serving
from tests.integration.serving import listening

HERE = "127.0.0.1"
NO_THREAD = {"error": {"message": "No thread found.", "type": "invalid_request_error"}}


def test_a_wrong_key_is_told_in_the_servers_words(ready: Command) -> None:
    answer = ready("doctor", DEMO_KEY="sk-wrong")

    key, called = lines(answer.out, "source demo").splitlines()[3:5]
    assert answer.code == 1
    assert key.partition(" (request id ")[0] == (
        "failed    source demo, API key: the server refuses the API key: HTTP 401"
        " Incorrect API key provided."
    )
    assert key.endswith("); check the variable that api_key_env names")
    assert called == (
        "left out  source demo, list call: needs a certificate and a key that are taken"
    )
    assert "sk-wrong" not in answer.out


def test_a_key_that_is_not_set_names_its_variable(ready: Command) -> None:
    answer = ready("doctor", DEMO_KEY="")

    assert answer.code == 1
    assert lines(answer.out, "source demo").splitlines()[3] == (
        "failed    source demo, API key: The environment variable DEMO_KEY, which holds"
        " the API key of source 'demo', is not set; set it, or leave api_key_env out of"
        f" {ready.directory}/config.toml where no key is needed"
    )


UNREACHED = """\
left out  source demo, certificate: needs a connection
left out  source demo, API key: needs a connection
left out  source demo, list call: needs a connection
left out  source demo, clock of this machine: needs a connection
left out  source demo, clock of the database: needs a connection
ok        source demo, budget: 600,000 requests a minute; one for each of 12 tracked\
 threads takes a second
"""


def test_a_port_that_nobody_listens_on_is_told(ready: Command, closed_port: int) -> None:
    ready.configure(f"http://{HERE}:{closed_port}/v1")

    answer = ready("doctor")

    assert answer.code == 1
    assert lines(answer.out, "source demo") == (
        "ok        source demo, name: 127.0.0.1 is an address itself\n"
        f"failed    source demo, connection: 127.0.0.1 port {closed_port} refuses"
        " connections; check base_url, and that the server runs\n" + UNREACHED
    )


def test_a_host_that_nobody_knows_is_told(ready: Command) -> None:
    ready.configure("http://nowhere.invalid/v1")

    answer = ready("doctor")

    assert answer.code == 1
    assert lines(answer.out, "source demo").splitlines()[:3] == [
        (
            "failed    source demo, name: nowhere.invalid is not known; check base_url, and"
            " that the server runs"
        ),
        "left out  source demo, connection: needs the address of that name",
        "left out  source demo, certificate: needs a connection",
    ]


@contextmanager
def a_tls_api(
    make: Callable[[trustme.CA], ssl.SSLContext], command: Command
) -> Iterator[list[Request]]:
    """An API over TLS without threads; its authority is trusted."""
    authority, asked = trustme.CA(), list[Request]()
    roots = command.directory / "roots.pem"
    authority.cert_pem.write_to_path(str(roots))

    def respond(request: Request) -> Answer:
        asked.append(request)
        return an_answer(NO_THREAD, status=404, date=formatdate(time(), usegmt=True))

    with raw_serving(respond, tls=make(authority)) as base_url:
        command.configure(base_url)
        command.environment["SSL_CERT_FILE"] = str(roots)
        yield asked


@pytest.mark.parametrize(
    ("make", "line"),
    [
        (
            lambda authority: as_context(expired(authority, HERE, days_left=100)),
            "ok        source demo, certificate: trusted, and good for 100 more days",
        ),
        (
            lambda authority: as_context(expired(authority, HERE, days_left=13)),
            "warning   source demo, certificate: ends in 13 days; have it renewed",
        ),
    ],
)
def test_a_certificate_is_good_for_so_many_days(
    ready: Command, make: Callable[[trustme.CA], ssl.SSLContext], line: str
) -> None:
    with a_tls_api(make, ready) as asked:
        answer = ready("doctor")

    assert answer.code == 0
    assert lines(answer.out, "source demo").splitlines()[2] == line
    assert [request.headers["authorization"] for request in asked] == [f"Bearer {KEY}"]


@pytest.mark.parametrize(
    ("make", "flaw"),
    [
        (
            lambda _: as_context(trustme.CA().issue_cert(HERE)),
            "unable to get local issuer certificate",
        ),
        (
            lambda authority: as_context(expired(authority, HERE)),
            "certificate has expired",
        ),
        (
            lambda authority: as_context(authority.issue_cert("other.example.test")),
            "IP address mismatch, certificate is not valid for '127.0.0.1'",
        ),
    ],
)
def test_a_certificate_that_is_not_right_ends_before_the_key_is_sent(
    ready: Command, make: Callable[[trustme.CA], ssl.SSLContext], flaw: str
) -> None:
    with a_tls_api(make, ready) as asked:
        base_url = (ready.directory / "config.toml").read_text().split('"')[3]
        answer = ready("doctor")

    assert (answer.code, asked) == (1, [])
    assert lines(answer.out, "source demo").splitlines()[2:7] == [
        (
            f"failed    source demo, certificate: {base_url} has no valid certificate:"
            f" {flaw}; correct base_url or the server, or name the file of an authority of"
            " your own in SSL_CERT_FILE"
        ),
        "left out  source demo, API key: needs an answer",
        "left out  source demo, list call: needs a certificate and a key that are taken",
        (
            "left out  source demo, clock of this machine: the server's answer says nothing"
            " of the time"
        ),
        (
            "left out  source demo, clock of the database: the server's answer says nothing"
            " of the time"
        ),
    ]


@pytest.mark.parametrize(
    ("seconds", "told"), [(3_600, "60 minutes behind"), (-172_800, "2 days ahead of")]
)
def test_a_clock_that_is_wrong_is_told(ready: Command, seconds: int, told: str) -> None:
    date = formatdate(time() + seconds, usegmt=True)

    with raw_serving(lambda _: an_answer(NO_THREAD, status=404, date=date)) as base_url:
        ready.configure(base_url)
        answer = ready("doctor")

    rest = "the server's; set the clock that is wrong; runtide goes by the database's"
    assert answer.code == 0
    assert lines(answer.out, "source demo").splitlines()[5:7] == [
        f"warning   source demo, clock of this machine: {told} {rest}",
        f"warning   source demo, clock of the database: {told} {rest}",
    ]


def test_a_budget_beyond_what_the_server_allows_is_a_warning(ready: Command) -> None:
    limit = {"x_ratelimit_limit_requests": "500"}

    with raw_serving(lambda _: an_answer(NO_THREAD, status=404, **limit)) as base_url:
        ready.configure(base_url)
        answer = ready("doctor")

    assert lines(answer.out, "source demo").splitlines()[7] == (
        "warning   source demo, budget: 600,000 requests a minute, and the server allows"
        " 500; set requests_per_minute to 500 or less"
    )


def test_an_endpoint_that_was_switched_off_is_known_through_a_proxy_too(
    ready: Command,
) -> None:
    """The proxy is the only one that is asked: its answer is the server's."""
    asked: list[str] = []

    def respond(line: str, _target: str, _key: str | None) -> Reply:
        asked.append(line)
        return Reply(404, {"error": {"message": "Invalid URL (GET /v1/threads)"}})

    ready.configure("http://api.openai.com/v1")
    with listening(respond) as proxy:
        answer = ready("doctor", HTTP_PROXY=proxy.removesuffix("/v1"))

    port = proxy.split(":")[2].removesuffix("/v1")
    assert answer.code == 1
    assert lines(answer.out, "source demo").splitlines()[:5] == [
        f"ok        source demo, name: the proxy {HERE} is an address itself",
        (
            f"ok        source demo, connection: the proxy {HERE} port {port} takes"
            " connections"
        ),
        (
            "warning   source demo, certificate: what is sent can be read on its way, as"
            " base_url begins with http://; write https:// if the server knows it"
        ),
        "left out  source demo, API key: no runs came",
        (
            "failed    source demo, list call: api.openai.com switched this endpoint off on"
            " 2026-08-26; name a server that still answers: Azure AI Foundry classic (until"
            " 2027-03-31), a self-hosted one, or what was exported to files"
        ),
    ]
    [line] = asked
    assert line.startswith("GET http://api.openai.com/v1/threads/thread_")


def test_a_path_that_is_not_the_apis_is_told(ready: Command) -> None:
    with raw_serving(lambda _: an_answer(b"<h1>Not Found</h1>", status=404)) as base_url:
        ready.configure(base_url)
        answer = ready("doctor")

    assert answer.code == 1
    assert lines(answer.out, "source demo").splitlines()[3:5] == [
        "left out  source demo, API key: no runs came",
        (
            "failed    source demo, list call: HTTP 404, and not in the words of the API;"
            " check the path of base_url, which often ends in /v1"
        ),
    ]


def test_authorities_that_cannot_be_read_are_told(ready: Command, api: DemoServer) -> None:
    ready.configure(api.base_url.replace("http://", "https://"))
    answer = ready("doctor", SSL_CERT_FILE=str(Path("/none")))

    assert answer.code == 1
    assert lines(answer.out, "source demo").splitlines()[2] == (
        "failed    source demo, request: The authorities that SSL_CERT_FILE or"
        " SSL_CERT_DIR name cannot be read (No such file or directory); correct it, or"
        " unset it"
    )


def test_a_key_for_hashes_is_looked_for(ready: Command, api: DemoServer) -> None:
    privacy = '[sources.privacy]\nmetadata = "hash"\nhash_key_env = "HASH_KEY"\n'
    ready.configure(api.base_url, privacy)

    missing = ready("doctor")
    there = ready("doctor", HASH_KEY="s3cret")

    assert (missing.code, there.code) == (1, 0)
    assert lines(missing.out, "source demo").splitlines()[-1] == (
        "failed    source demo, hash key: The environment variable HASH_KEY, which holds"
        " the key of the hashes of source 'demo', is not set; set it to a long random text"
        " that stays the same"
    )
    assert lines(there.out, "source demo").splitlines()[-1] == (
        "ok        source demo, hash key: HASH_KEY holds one"
    )


DISCOVERY = """
[sources.discovery]
sql = "{sql}"
url_env = "APP_DATABASE_URL"
"""


@pytest.mark.parametrize(
    ("sql", "line"),
    [
        (
            "SELECT 'thread_a' AS thread_id, 7 AS position",
            (
                "ok        source demo, discovery: the query answers, and each sync asks"
                " for the rows behind its position"
            ),
        ),
        (
            "SELECT 'thread_a'",
            (
                "ok        source demo, discovery: the query answers, and each sync asks"
                " for all rows"
            ),
        ),
        (
            "SELECT 1 WHERE false",
            "ok        source demo, discovery: the query runs, and has no rows yet",
        ),
        (
            "SELECT now() > now() AS is_active, 'thread_a' AS thread",
            (
                "failed    source demo, discovery: the query's first row holds False, which"
                " is no id; return the ids first, or in a column named thread_id"
            ),
        ),
        (
            "SELECT thread FROM nowhere",
            (
                "failed    source demo, discovery: the database at {url} refused the query:"
                ' relation "nowhere" does not exist; correct sql in [sources.discovery]'
            ),
        ),
    ],
)
def test_the_query_of_a_discovery_is_run_for_one_row(
    ready: Command, api: DemoServer, database_url: str, sql: str, line: str
) -> None:
    ready.configure(api.base_url, DISCOVERY.format(sql=sql))

    answer = ready("doctor", APP_DATABASE_URL=database_url)

    shown = database_url.replace("postgresql+psycopg", "postgresql")
    told = lines(answer.out, "source demo").splitlines()[-1]
    assert told == line.format(url=shown)
    assert answer.code == (1 if line.startswith("failed") else 0)
