"""The demo server over real HTTP on loopback, read by httpx and OpenAI's SDK."""

import socket
import struct
from collections import Counter
from collections.abc import Iterator

import httpx
import openai
import pytest

from etl.demo.life import Payload
from etl.demo.server import DemoServer
from etl.demo.world import World

WORLD = World()
NOW = WORLD.now
HOUR = 3600
KEY = "sk-demo"
LONGEST = WORLD.thread_ids[0]
EMPTY = WORLD.thread_ids[-1]


@pytest.fixture
def server() -> Iterator[DemoServer]:
    with DemoServer(WORLD, now=NOW) as server:
        yield server


@pytest.fixture
def guarded() -> Iterator[DemoServer]:
    with DemoServer(WORLD, now=NOW, api_key=KEY) as server:
        yield server


@pytest.fixture
def api(server: DemoServer) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server.base_url) as client:
        yield client


def list_runs(api: httpx.Client, thread_id: str, **query: str | int) -> httpx.Response:
    return api.get(f"/threads/{thread_id}/runs", params=query)


def all_pages(
    api: httpx.Client, thread_id: str, *, limit: int, order: str
) -> list[Payload]:
    """Page by page to the end, as any plain client would."""
    runs: list[Payload] = []
    query: dict[str, str | int] = {"limit": limit, "order": order}
    while True:
        page = list_runs(api, thread_id, **query).json()
        runs += page["data"]
        if not page["has_more"]:
            return runs
        query["after"] = page["last_id"]


def message_of(answer: httpx.Response) -> str:
    error = answer.json()["error"]
    assert list(error) == ["message", "type", "param", "code"]
    assert error["type"] == "invalid_request_error"
    return str(error["message"])


@pytest.mark.filterwarnings("ignore:The Assistants API is deprecated")
@pytest.mark.parametrize("thread_id", [LONGEST, WORLD.thread_ids[1], EMPTY])
def test_the_official_sdk_reads_the_same_runs_as_plain_paging_and_the_world(
    server: DemoServer, api: httpx.Client, thread_id: str
) -> None:
    with openai.OpenAI(base_url=server.base_url, api_key=KEY) as client:
        runs = client.beta.threads.runs.list(thread_id, order="asc", limit=100)
        read = [run.model_dump(mode="json", exclude_unset=True) for run in runs]

    assert read == WORLD.payloads(thread_id, at=NOW)
    assert read == all_pages(api, thread_id, limit=100, order="asc")


@pytest.mark.filterwarnings("ignore:The Assistants API is deprecated")
def test_the_official_sdk_retrieves_a_run(server: DemoServer) -> None:
    run = WORLD.payloads(LONGEST, at=NOW)[-1]

    with openai.OpenAI(base_url=server.base_url, api_key=KEY) as client:
        read = client.beta.threads.runs.retrieve(run["id"], thread_id=LONGEST)

    assert read.model_dump(mode="json", exclude_unset=True) == run


@pytest.mark.parametrize("limit", [1, 2, 7])
def test_equal_seconds_at_a_page_border_are_neither_lost_nor_doubled(
    api: httpx.Client, limit: int
) -> None:
    expected = WORLD.payloads(LONGEST, at=NOW)
    seconds = Counter(run["created_at"] for run in expected)
    assert max(seconds.values()) > 1

    assert all_pages(api, LONGEST, limit=limit, order="asc") == expected
    assert all_pages(api, LONGEST, limit=limit, order="desc") == expected[::-1]


def test_without_parameters_the_twenty_newest_runs_come_newest_first(
    api: httpx.Client,
) -> None:
    page = list_runs(api, LONGEST).json()

    newest = WORLD.payloads(LONGEST, at=NOW)[:-21:-1]
    assert list(page) == ["object", "data", "first_id", "last_id", "has_more"]
    assert page["object"] == "list"
    assert page["data"] == newest
    assert (page["first_id"], page["last_id"]) == (newest[0]["id"], newest[-1]["id"])
    assert page["has_more"] is True


def test_an_empty_thread_answers_an_empty_list_with_null_ids(
    api: httpx.Client,
) -> None:
    assert list_runs(api, EMPTY).json() == {
        "object": "list",
        "data": [],
        "first_id": None,
        "last_id": None,
        "has_more": False,
    }


def test_before_gives_the_page_next_to_its_run(api: httpx.Client) -> None:
    ids = [run["id"] for run in WORLD.payloads(LONGEST, at=NOW)]

    page = list_runs(api, LONGEST, order="asc", limit=3, before=ids[10]).json()
    between = list_runs(
        api, LONGEST, order="asc", limit=3, after=ids[2], before=ids[5]
    ).json()

    assert [run["id"] for run in page["data"]] == ids[7:10]
    assert page["has_more"] is True
    assert [run["id"] for run in between["data"]] == ids[3:5]
    assert between["has_more"] is False


def test_time_passes_when_the_server_advances(
    server: DemoServer, api: httpx.Client
) -> None:
    thread_id = next(
        run["thread_id"]
        for run in WORLD.all_payloads(at=NOW)
        if run["status"] == "in_progress"
    )
    newest = list_runs(api, thread_id, limit=1).json()["data"][0]

    server.advance(HOUR)
    later = api.get(f"/threads/{thread_id}/runs/{newest['id']}").json()
    server.now = newest["created_at"] - 1
    earlier = api.get(f"/threads/{thread_id}/runs/{newest['id']}")

    assert (newest["usage"], newest["status"]) == (None, "in_progress")
    assert later["usage"] is not None
    assert earlier.status_code == 404


@pytest.mark.parametrize(
    ("authorization", "words"),
    [
        (None, "You didn't provide an API key"),
        ("Bearer sk-other", "Incorrect API key provided"),
        (KEY, "Incorrect API key provided"),
    ],
)
def test_a_missing_or_wrong_key_is_refused_and_never_repeated(
    guarded: DemoServer, authorization: str | None, words: str
) -> None:
    headers = {"Authorization": authorization} if authorization else {}
    with httpx.Client(base_url=guarded.base_url, headers=headers) as api:
        answer = list_runs(api, LONGEST)

    assert answer.status_code == 401
    assert words in message_of(answer)
    assert "sk-" not in answer.text


def test_the_right_key_is_let_in_and_only_its_presence_is_remembered(
    guarded: DemoServer,
) -> None:
    headers = {"Authorization": f"Bearer {KEY}"}
    with httpx.Client(base_url=guarded.base_url, headers=headers) as api:
        assert list_runs(api, EMPTY, limit=5).status_code == 200

    (seen,) = guarded.requests.recent
    assert guarded.requests.count == 1
    assert seen.line == f"GET /v1/threads/{EMPTY}/runs?limit=5 HTTP/1.1"
    assert seen.has_authorization
    assert KEY not in repr(guarded.requests)


@pytest.mark.parametrize(
    ("path", "status", "words"),
    [
        ("threads/thread_x/runs", 404, "No thread found with id 'thread_x'."),
        (f"threads/{LONGEST}/runs/run_x", 404, "No run found with id 'run_x'."),
        (f"threads/{LONGEST}/runs?after=run_x", 404, "No run found with id 'run_x'."),
        (f"threads/{LONGEST}/runs?before=run_x", 404, "No run found with id 'run_x'."),
        (
            "threads/undefined/runs",
            400,
            "'thread_id': 'undefined'. Expected an ID that begins with 'thread'.",
        ),
        (
            f"threads/{LONGEST}/runs/undefined",
            400,
            "'run_id': 'undefined'. Expected an ID that begins with 'run'.",
        ),
        (f"threads/{LONGEST}/runs?limit=0", 400, "below minimum value"),
        (f"threads/{LONGEST}/runs?limit=101", 400, "above maximum value"),
        (f"threads/{LONGEST}/runs?limit=many", 400, "expected an integer"),
        (f"threads/{LONGEST}/runs?order=newest", 400, "'asc' and 'desc'"),
        ("threads", 404, "Invalid URL (GET /v1/threads)"),
    ],
)
def test_a_request_that_makes_no_sense_gets_the_error_envelope(
    api: httpx.Client, path: str, status: int, words: str
) -> None:
    answer = api.get(f"/{path}")

    assert answer.status_code == status
    assert words in message_of(answer)


def test_a_run_of_another_thread_is_no_cursor(api: httpx.Client) -> None:
    other = WORLD.payloads(WORLD.thread_ids[1], at=NOW)[0]

    assert list_runs(api, LONGEST, after=other["id"]).status_code == 404


def test_writing_is_refused_in_the_envelope_too(api: httpx.Client) -> None:
    answer = api.post(f"/threads/{LONGEST}/runs", json={"assistant_id": "asst_x"})

    assert answer.status_code == 405
    assert "Not allowed to POST" in message_of(answer)


def test_every_answer_carries_the_headers_that_openai_sends(
    api: httpx.Client,
) -> None:
    answers = [list_runs(api, LONGEST), list_runs(api, "thread_x")]

    for answer in answers:
        assert answer.headers["content-type"] == "application/json"
        assert answer.headers["openai-version"] == "2020-10-01"
        assert answer.headers["openai-processing-ms"].isdigit()
        assert "date" in answer.headers
    assert len({answer.headers["x-request-id"] for answer in answers}) == 2


@pytest.mark.parametrize(("accepted", "used"), [("gzip", "gzip"), ("identity", None)])
def test_an_answer_is_compressed_only_if_asked(
    api: httpx.Client, accepted: str, used: str | None
) -> None:
    api.headers["Accept-Encoding"] = accepted

    answer = list_runs(api, LONGEST, limit=100)

    assert answer.headers.get("content-encoding") == used
    assert len(answer.json()["data"]) == 100


def test_a_connection_is_kept_for_the_next_request(api: httpx.Client) -> None:
    streams = {
        list_runs(api, LONGEST).extensions["network_stream"].get_extra_info("socket")
        for _ in range(3)
    }

    assert len(streams) == 1


def test_a_port_in_use_is_an_error_that_names_it(server: DemoServer) -> None:
    port = httpx.URL(server.base_url).port
    assert port is not None

    with (
        pytest.raises(OSError, match=rf"cannot listen on 127\.0\.0\.1:{port}: "),
        DemoServer(WORLD, now=NOW, port=port),
    ):
        pass


def test_a_stopped_server_hangs_up_and_its_port_can_be_used_again() -> None:
    with httpx.Client() as client:
        with DemoServer(WORLD, now=NOW) as server:
            client.base_url = httpx.URL(server.base_url)
            list_runs(client, LONGEST)

        with pytest.raises(httpx.TransportError):
            list_runs(client, LONGEST)

        with DemoServer(WORLD, now=NOW, port=client.base_url.port or 0):
            assert list_runs(client, LONGEST).status_code == 200


def test_a_request_that_is_no_http_gets_the_envelope_and_a_closed_connection(
    server: DemoServer,
) -> None:
    url = httpx.URL(server.base_url)
    with socket.create_connection((url.host, url.port or 0), timeout=5) as connection:
        connection.sendall(b"GET one two three\r\n\r\n")
        answer = b"".join(iter(lambda: connection.recv(4096), b""))

    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b'{"error":{"message":"Bad request version' in answer


def test_a_head_request_is_refused_without_a_body(api: httpx.Client) -> None:
    answer = api.head(f"/threads/{LONGEST}/runs")

    assert (answer.status_code, answer.content) == (405, b"")


def test_a_client_that_hangs_up_early_is_no_news(
    server: DemoServer, capfd: pytest.CaptureFixture[str]
) -> None:
    url = httpx.URL(server.base_url)
    reset_on_close = struct.pack("ii", 1, 0)
    line = f"GET /v1/threads/{LONGEST}/runs?limit=100 HTTP/1.1\r\n\r\n".encode()
    for _ in range(20):
        with socket.create_connection((url.host, url.port or 0)) as connection:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, reset_on_close)
            connection.sendall(line)

    with httpx.Client(base_url=server.base_url) as api:
        assert list_runs(api, LONGEST).status_code == 200
    assert capfd.readouterr().err == ""
