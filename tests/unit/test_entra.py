"""An access token: renewed in time by one worker, replaced once, never shown."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from etl.domain.errors import SourceUnavailableError
from etl.domain.run import Instant
from etl.extract.budget import Budget
from etl.extract.client import Client
from etl.extract.entra import AccessToken, EntraKey
from etl.extract.foundry import HEADERS, OF_A_READY_TOKEN, OF_ENTRA, query_of
from etl.extract.keys import ApiKey, Key
from etl.extract.retry import RetryPolicy
from tests.unit.test_client import OK, Script, error, saying

DOWN = SourceUnavailableError("Microsoft Entra cannot be reached")


class Entra:
    """Gives tokens that live for an hour and are to be renewed after half of it."""

    def __init__(self) -> None:
        self.now = 0.0
        self.given = 0
        self.fails = False

    def ask(self) -> AccessToken:
        self.given += 1
        if self.fails:
            raise DOWN
        return AccessToken(
            secret=f"secret-{self.given}", renew_at=self.now + 1800, ends_at=self.now + 3600
        )

    def key(self) -> EntraKey:
        return EntraKey(self.ask, OF_ENTRA, clock=lambda: self.now)


@pytest.fixture
def entra() -> Entra:
    return Entra()


def test_one_token_serves_many_requests(entra: Entra) -> None:
    key = entra.key()

    assert {key.header() for _ in range(100)} == {"Bearer secret-1"}
    assert entra.given == 1


def test_nothing_is_asked_before_the_first_request(entra: Entra) -> None:
    entra.key()

    assert entra.given == 0


@pytest.mark.parametrize(("now", "given"), [(1799.0, 1), (1800.0, 2), (9999.0, 2)])
def test_a_token_is_renewed_when_it_is_time(entra: Entra, now: float, given: int) -> None:
    key = entra.key()
    key.header()

    entra.now = now

    assert key.header() == f"Bearer secret-{given}"
    assert entra.given == given


def test_a_renewal_that_fails_says_nothing_while_the_old_token_is_good(
    entra: Entra,
) -> None:
    key = entra.key()
    key.header()
    entra.now, entra.fails = 1800.0, True

    assert {key.header() for _ in range(10)} == {"Bearer secret-1"}
    assert entra.given == 2  # and not once for each request

    entra.now = 1831.0
    key.header()
    assert entra.given == 3


def test_a_token_that_has_ended_is_not_used_again(entra: Entra) -> None:
    key = entra.key()
    key.header()
    entra.now, entra.fails = 3600.0, True

    with pytest.raises(SourceUnavailableError, match="cannot be reached"):
        key.header()


def test_workers_that_need_a_token_at_once_ask_for_one(entra: Entra) -> None:
    key, at_once = entra.key(), threading.Barrier(8)

    def header(_: int) -> str:
        at_once.wait()
        return key.header()

    with ThreadPoolExecutor(8) as workers:
        assert set(workers.map(header, range(8))) == {"Bearer secret-1"}
    assert entra.given == 1


def test_who_finds_a_renewal_under_way_goes_on_with_the_good_token() -> None:
    asked, answered = threading.Event(), threading.Event()
    now = [0.0]
    tokens = iter("12")

    def ask() -> AccessToken:
        secret = next(tokens)
        if secret == "2":
            asked.set()
            answered.wait()
        return AccessToken(secret=secret, renew_at=now[0] + 10, ends_at=now[0] + 20)

    key = EntraKey(ask, OF_ENTRA, clock=lambda: now[0])
    key.header()
    now[0] = 11.0
    with ThreadPoolExecutor(1) as workers:
        renewing = workers.submit(key.header)
        asked.wait()
        meanwhile = key.header()
        answered.set()

    assert (meanwhile, renewing.result()) == ("Bearer 1", "Bearer 2")


def test_of_workers_that_were_refused_together_one_gets_the_new_token(
    entra: Entra,
) -> None:
    key = entra.key()
    refused = key.header()

    assert key.renew(refused)
    assert key.renew(refused)
    assert key.header() == "Bearer secret-2"
    assert entra.given == 2


def test_the_same_token_once_more_is_no_other() -> None:
    same = AccessToken(secret="same", renew_at=10, ends_at=20)
    key = EntraKey(lambda: same, OF_ENTRA, clock=lambda: 0.0)

    assert not key.renew(key.header())


def test_tokens_of_before_and_now_are_taken_out_of_every_text(entra: Entra) -> None:
    key = entra.key()
    key.renew(key.header())

    assert key.redact("secret-1 and secret-2") == "[access token] and [access token]"
    assert "secret" not in repr(key) + repr(entra.ask())


# With a client ---------------------------------------------------------------


def a_client(server: Callable[[httpx.Request], httpx.Response], key: Key) -> Client:
    return Client(
        httpx.MockTransport(server),
        "https://res.services.ai.azure.com/api/projects/p",
        HEADERS,
        api_key=key,
        budget=Budget(60_000, sleep=lambda seconds: None, clock=lambda: 0.0),
        policy=RetryPolicy(jitter=0),
        now=lambda: Instant(0),
        sleep=lambda seconds: None,
        query=query_of("v1"),
    )


def test_the_version_stands_in_the_query_of_every_request(entra: Entra) -> None:
    server = Script(OK)
    client = a_client(server, entra.key())

    client.ask("threads", {"limit": 5})
    client.ask("threads/t/runs/r", {})

    assert [each.url.query.decode() for each in server.requests] == [
        "limit=5&api-version=v1",
        "api-version=v1",
    ]
    assert "openai-beta" not in server.requests[0].headers


def test_a_token_that_is_refused_is_replaced_once_and_the_request_goes_on(
    entra: Entra,
) -> None:
    server = Script(saying(401, error("expired")), OK)
    client = a_client(server, entra.key())

    client.ask("threads", {})

    shown = [each.headers["authorization"] for each in server.requests]
    assert shown == ["Bearer secret-1", "Bearer secret-2"]
    assert (client.traffic.requests, client.traffic.retries) == (2, 1)


def test_a_second_401_is_final_and_shows_no_token(entra: Entra) -> None:
    server = Script(saying(401, error("secret-1 and secret-2 are bad")))

    with pytest.raises(SourceUnavailableError) as caught:
        a_client(server, entra.key()).ask("threads", {})

    assert str(caught.value) == (
        "the server refuses the access token of Microsoft Entra: HTTP 401 [access token]"
        " and [access token] are bad; check tenant_id and scope in [sources.entra]"
    )
    assert len(server.requests) == 2


def test_a_403_is_not_asked_again_and_names_the_role(entra: Entra) -> None:
    server = Script(saying(403, error("lacks the data action agents/read")))

    with pytest.raises(SourceUnavailableError) as caught:
        a_client(server, entra.key()).ask("threads", {})

    assert str(caught.value) == (
        "the server refuses the access token of Microsoft Entra: HTTP 403 lacks the data"
        " action agents/read; give the identity the role Foundry User on the project"
    )
    assert len(server.requests) == 1


def test_a_ready_token_that_ended_is_told_with_what_to_do() -> None:
    server = Script(saying(401, error("Unauthorized")))

    with pytest.raises(SourceUnavailableError) as caught:
        a_client(server, ApiKey("ready", OF_A_READY_TOKEN)).ask("threads", {})

    assert str(caught.value) == (
        "the server refuses the access token: HTTP 401 Unauthorized; set the variable that"
        " api_key_env names anew (an access token lives about an hour), or leave it out and"
        " let runtide ask for tokens itself"
    )
    assert len(server.requests) == 1


def test_where_entra_fails_no_request_goes_out(entra: Entra) -> None:
    entra.fails = True
    server = Script(OK)

    with pytest.raises(SourceUnavailableError, match="Entra cannot be reached"):
        a_client(server, entra.key()).ask("threads", {})

    assert server.requests == []
