"""What a log never says, whatever a server says back or a payload holds."""

import json
from collections.abc import Iterator

import pytest
from sqlalchemy.engine import Engine

from tests.e2e.conftest import KEY, Command
from tests.integration.raw_serving import Answer, Request, Respond, an_answer
from tests.integration.raw_threads import RawThreads, a_run_of

MARKER = "what-a-user-wrote"


@pytest.fixture
def server() -> RawThreads:
    """A server of one thread with two runs."""
    server = RawThreads()
    server.fill("thread_a", 2)
    return server


@pytest.fixture
def command(runtide: Command, server: RawThreads) -> Iterator[Command]:
    """The command, configured for the server, with its thread tracked."""
    with server.listening() as base_url:
        runtide.configure(base_url)
        assert runtide("track", "thread_a").code == 0
        yield runtide


def echoing(request: Request, *, status: int = 500) -> Answer:
    """An answer that says the Authorization header back, wherever it can."""
    told = request.headers["authorization"]
    return an_answer(
        {"error": {"message": f"You said {told}.", "code": told}},
        status=status,
        x_request_id=f"req_{told}",
        retry_after_ms="1",
        x_echo=told,
        www_authenticate=told,
    )


def test_the_api_key_is_in_no_line_whatever_a_server_says_back(
    command: Command, server: RawThreads
) -> None:
    """Answers of every kind, on pages of every kind, hold the key."""
    damages = iter([True])
    bodies: dict[str, Respond] = {
        "thread_b": lambda request: echoing(request, status=400),
        "thread_c": lambda request: echoing(request, status=404),
        "thread_d": lambda request: an_answer(
            request.headers["authorization"].encode(), x_request_id=KEY
        ),
        "thread_e": lambda request: an_answer(
            {"error": {"message": request.headers["authorization"]}}, x_request_id=KEY
        ),
        "thread_f": lambda request: an_answer(
            {"data": [{"id": KEY, "thread_id": KEY}], "has_more": False}, x_request_id=KEY
        ),
        "thread_g": echoing,
        "thread_h": lambda request: (
            an_answer(b"no gzip", content_encoding="gzip", x_request_id=KEY)
            if next(damages, False)
            else echoing(request)
        ),
    }
    command("track", *bodies)
    server.interrupt = lambda request: (
        bodies[request.thread_id](request) if request.thread_id in bodies else None
    )
    wanted = ["--log-format", "json", "--log-level", "debug", "--debug"]

    answers = [command("sync", *wanted), command("verify", *wanted)]
    server.interrupt = lambda request: echoing(request, status=401)
    answers.append(command("sync", *wanted))

    lines = [line for each in answers for line in each.err.splitlines()]
    messages = [json.loads(line)["message"] for line in lines if line.startswith("{")]
    assert messages.count("pass failed") == len(bodies)
    assert messages.count("attempt failed") >= 4
    assert messages.count("source unavailable") == 1
    for answer in answers:
        assert KEY not in answer.out + answer.err
        assert "[API key]" in answer.err


@pytest.mark.parametrize("log_format", ["json", "text"])
def test_no_part_of_a_payload_is_in_any_line(
    command: Command, server: RawThreads, engine: Engine, log_format: str
) -> None:
    planted = {
        "instructions": MARKER,
        "metadata": {MARKER: MARKER},
        "last_error": {"code": MARKER, "message": MARKER},
        MARKER: [MARKER],
    }
    for number in range(3):
        run = a_run_of("thread_a", number, **planted)
        server.put("thread_a", run["id"], run)
    text = json.dumps(a_run_of("thread_a", 4, **planted)).encode()
    server.put("thread_a", "thread_a_run_4", text.replace(b'"model"', b'"model": NaN, "x"'))
    nul = a_run_of("thread_a", 5, **planted | {"instructions": MARKER + "\0"})
    server.put("thread_a", "thread_a_run_5", nul)
    cut_off = b'{"object":"list","data":[{"instructions":"%b' % MARKER.encode()
    bodies = {
        "thread_b": cut_off,
        "thread_c": b'{"instructions":"%b"}' % MARKER.encode(),
        "thread_d": b'[{"id":"run_1","metadata":{"a":"%b"}}]' % MARKER.encode(),
        "thread_e": json.dumps(
            {
                "data": [
                    a_run_of("thread_e", 2, **planted),
                    a_run_of("thread_e", 1, **planted),
                ]
            }
        ).encode(),
    }
    command("track", *bodies)
    server.interrupt = lambda request: (
        an_answer(bodies[request.thread_id]) if request.thread_id in bodies else None
    )

    wanted = ["--log-format", log_format, "--log-level", "debug", "--debug"]
    answers = [command("sync", *wanted), command("replay", *wanted)]

    assert answers[0].err.count("pass failed") == len(bodies)
    assert answers[0].err.count("pass ended") == 1
    with engine.connect() as connection:
        found = connection.exec_driver_sql(
            "SELECT count(*) FROM run_history.instructions WHERE body LIKE %s",
            (f"{MARKER}%",),
        ).scalar_one()
    assert found >= 1, "nothing was planted"
    for answer in answers:
        assert MARKER not in answer.out + answer.err
