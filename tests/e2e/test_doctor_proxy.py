"""`runtide doctor` where HTTPS goes through a proxy: names are the proxy's to find."""

from email.utils import formatdate
from time import time

import pytest
import trustme

from tests.e2e.conftest import KEY, Command
from tests.e2e.findings import lines
from tests.integration.certificates import as_context, expired
from tests.integration.proxying import Proxy
from tests.integration.raw_serving import Answer, Request, an_answer, raw_serving

HERE, HOST, REST = "127.0.0.1", "api.example.test", " connections"
NO_THREAD = {"error": {"message": "No thread found.", "type": "invalid_request_error"}}


@pytest.mark.parametrize(
    ("days_left", "certificate", "key", "keys_sent"),
    [
        (
            100,
            "ok        source demo, certificate: trusted, and good for 100 more days",
            "ok        source demo, API key: the server takes the key in DEMO_KEY",
            [f"Bearer {KEY}"],
        ),
        (
            -3,
            (
                f"failed    source demo, certificate: https://{HOST}/v1 has no valid"
                " certificate: certificate has expired; correct base_url or the server, or"
                " name the file of an authority of your own in SSL_CERT_FILE"
            ),
            "left out  source demo, API key: needs an answer",
            [],
        ),
    ],
)
def test_the_certificate_behind_a_proxy_is_the_servers(
    ready: Command, days_left: int, certificate: str, key: str, keys_sent: list[str]
) -> None:
    authority, keys = trustme.CA(), list[str]()
    roots = ready.directory / "roots.pem"
    authority.cert_pem.write_to_path(str(roots))
    tls = as_context(expired(authority, HOST, days_left=days_left))

    def respond(request: Request) -> Answer:
        keys.append(request.headers["authorization"])
        return an_answer(NO_THREAD, status=404, date=formatdate(time(), usegmt=True))

    with raw_serving(respond, tls=tls) as base_url:
        proxy = Proxy(int(base_url.split(":")[2].removesuffix("/v1")))
        with proxy.listening() as address:
            ready.configure(f"https://{HOST}/v1")
            variables = {"HTTPS_PROXY": address, "SSL_CERT_FILE": str(roots)}
            answer = ready("doctor", **variables)

    port = address.rpartition(":")[2]
    assert lines(answer.out, "source demo").splitlines()[:4] == [
        "ok        source demo, name: the proxy 127.0.0.1 is an address itself",
        f"ok        source demo, connection: the proxy {HERE} port {port} takes{REST}",
        certificate,
        key,
    ]
    assert keys == keys_sent
    assert proxy.asked == [f"CONNECT {HOST}:443 HTTP/1.1"]
