"""Connections: one for each thread, and the proxy that the environment names."""

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import httpx
import pytest

from etl.extract.transports import ThreadTransports
from etl.wiring.sources import proxy_for

REQUEST = httpx.Request("GET", "https://api.example.com/v1")


class Transport(httpx.BaseTransport):
    """Counts its requests, and knows whether it was closed."""

    def __init__(self) -> None:
        self.requests = 0
        self.is_closed = False

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        self.requests += 1
        return httpx.Response(200)

    def close(self) -> None:
        self.is_closed = True


def test_each_thread_has_its_own_transport_and_all_are_closed() -> None:
    made: list[Transport] = []
    together = Barrier(2, timeout=10)

    def make() -> Transport:
        made.append(Transport())
        return made[-1]

    def ask(_: int) -> None:
        together.wait()
        for _ in range(3):
            transports.handle_request(REQUEST)
        together.wait()

    with ThreadTransports(make) as transports, ThreadPoolExecutor(2) as pool:
        list(pool.map(ask, range(2)))
        assert not any(each.is_closed for each in made)

    assert [each.requests for each in made] == [3, 3]
    assert all(each.is_closed for each in made)


@pytest.fixture
def _no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for scheme in ("http", "https", "all", "no"):
        monkeypatch.delenv(f"{scheme}_proxy", raising=False)
        monkeypatch.delenv(f"{scheme.upper()}_PROXY", raising=False)


@pytest.mark.usefixtures("_no_proxies")
@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, None),
        ({"HTTPS_PROXY": "http://proxy:1"}, "http://proxy:1"),
        ({"ALL_PROXY": "http://proxy:2"}, "http://proxy:2"),
        ({"HTTP_PROXY": "http://proxy:3"}, None),
        ({"HTTPS_PROXY": "http://proxy:1", "NO_PROXY": "example.com"}, None),
        ({"HTTPS_PROXY": "http://proxy:1", "NO_PROXY": "*"}, None),
    ],
    ids=lambda value: ",".join(value) if isinstance(value, dict) else "",
)
def test_the_proxy_is_the_one_that_the_environment_names(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], expected: str | None
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)

    assert proxy_for("https://api.example.com/v1") == expected
