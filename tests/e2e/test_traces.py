"""OpenTelemetry traces of a sync, sent to a real receiver."""

import json
import socket
from collections.abc import Iterator
from importlib.metadata import version

import pytest

from tests.e2e.collector import Collector, collecting
from tests.e2e.conftest import KEY, Command
from tests.integration.raw_serving import an_answer
from tests.integration.raw_threads import RawThreads

MARKER = "what-a-user-wrote"

NOT_SENT = "runtide: Not all OpenTelemetry traces could be sent; check the collector.\n"


@pytest.fixture
def server() -> RawThreads:
    """A server of two threads, one of which it refuses."""
    server = RawThreads()
    server.fill("thread_a", 3, instructions=MARKER)
    refusal = {"error": {"message": f"No, {KEY}."}}
    server.interrupt = lambda request: (
        an_answer(refusal, status=400) if request.thread_id == "thread_b" else None
    )
    return server


@pytest.fixture
def command(runtide: Command, server: RawThreads) -> Iterator[Command]:
    """The command, configured for the server, with both threads tracked."""
    with server.listening() as base_url:
        runtide.configure(base_url)
        assert runtide("track", "thread_a", "thread_b").code == 0
        yield runtide


@pytest.fixture
def collector() -> Iterator[Collector]:
    """A collector that takes what comes."""
    with collecting(Collector()) as collector:
        yield collector


def test_a_sync_is_a_trace_of_its_passes_and_commits(
    command: Command, collector: Collector
) -> None:
    answer = command("sync", "--quiet", OTEL_EXPORTER_OTLP_ENDPOINT=collector.endpoint)

    refused = "the server refuses the request: HTTP 400 No, [API key]. "
    refused += "(request id req_of_test)"
    assert answer.code == 3
    assert answer.err == f"runtide: demo, thread thread_b: {refused}\n"
    (sync,) = collector.named("sync")
    assert {span.trace_id for span in collector.spans} == {sync.trace_id}
    assert sync.parent_id == b""
    seconds = sync.attributes.pop("runtide.seconds")
    assert isinstance(seconds, float)
    assert 0 < seconds <= sync.nanoseconds / 1e9
    assert not sync.is_error
    assert sync.attributes == {
        "runtide.sync_id": 1,
        "runtide.trigger": "sync",
        "runtide.outcome": "partial",
        "runtide.threads_due": 2,
        "runtide.threads_left": 0,
        "runtide.threads": 2,
        "runtide.threads_refused": 0,
        "runtide.threads_failed": 1,
        "runtide.threads_found": 0,
        "runtide.pages": 1,
        "runtide.requests": 2,
        "runtide.retries": 0,
        "runtide.runs_read": 3,
        "runtide.runs_created": 3,
        "runtide.runs_updated": 0,
        "runtide.runs_unchanged": 0,
        "runtide.rejects": 0,
        "runtide.errors": 1,
        "runtide.error": f"demo, thread thread_b: {refused}",
    }
    found = collector.named("pass")
    passes = {span.attributes["runtide.thread_id"]: span for span in found}
    assert {span.parent_id for span in passes.values()} == {sync.span_id}
    assert passes["thread_a"].attributes == {
        "runtide.source": "demo",
        "runtide.thread_id": "thread_a",
        "runtide.pages": 1,
        "runtide.runs": 3,
    }
    assert not passes["thread_a"].is_error
    assert passes["thread_b"].attributes["runtide.runs"] == 0
    assert (passes["thread_b"].is_error, passes["thread_b"].said) == (True, refused)
    commits = collector.named("commit")
    assert {span.parent_id for span in commits} == {sync.span_id}
    assert sum(int(span.attributes["runtide.runs"] or 0) for span in commits) == 3
    assert sum(int(span.attributes["runtide.rows"] or 0) for span in commits) == 3
    assert len(collector.spans) == 3 + len(commits)


def test_neither_key_nor_payload_is_in_any_trace(
    command: Command, collector: Collector
) -> None:
    command("sync", "--quiet", OTEL_EXPORTER_OTLP_ENDPOINT=collector.endpoint)

    sent = b"".join(collector.bodies)
    assert b"thread_a" in sent
    assert KEY.encode() not in sent
    assert MARKER.encode() not in sent


def test_the_service_is_runtide_unless_the_environment_names_it(
    command: Command, collector: Collector
) -> None:
    endpoint = {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": f"{collector.endpoint}/v1/traces"}

    command("sync", "--quiet", **endpoint)
    command("sync", "--quiet", OTEL_SERVICE_NAME="nightly", **endpoint)
    told = {"OTEL_RESOURCE_ATTRIBUTES": "service.name=ours,team=data"}
    command("sync", "--quiet", **told, **endpoint)

    names = [each["service.name"] for each in collector.resources]
    assert list(dict.fromkeys(names)) == ["runtide", "nightly", "ours"]
    assert collector.resources[0]["service.version"] == version("runtide")
    assert collector.resources[-1]["team"] == "data"


def test_headers_of_the_environment_go_along(
    command: Command, collector: Collector
) -> None:
    command(
        "sync",
        "--quiet",
        OTEL_EXPORTER_OTLP_ENDPOINT=collector.endpoint,
        OTEL_EXPORTER_OTLP_HEADERS="x-tenant=ours",
        OTEL_EXPORTER_OTLP_COMPRESSION="gzip",
    )

    assert collector.headers[0]["x-tenant"] == "ours"
    assert collector.headers[0]["content-encoding"] == "gzip"
    assert len(collector.named("sync")) == 1


@pytest.mark.parametrize(
    "told",
    [{"OTEL_TRACES_EXPORTER": "none"}, {"OTEL_SDK_DISABLED": "true"}],
    ids=["no exporter", "disabled"],
)
def test_what_switches_opentelemetry_off_switches_it_off(
    command: Command, collector: Collector, told: dict[str, str]
) -> None:
    told = told | {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.endpoint}

    assert "OpenTelemetry" not in command("sync", "--quiet", **told).err
    assert collector.bodies == []


def test_a_sync_that_fails_is_an_error_in_its_trace(
    command: Command, collector: Collector, server: RawThreads
) -> None:
    server.interrupt = lambda _: an_answer(b"Who?", status=401)

    answer = command("sync", "--quiet", OTEL_EXPORTER_OTLP_ENDPOINT=collector.endpoint)

    (sync,) = collector.named("sync")
    assert answer.code == 1
    assert (sync.is_error, sync.attributes["runtide.outcome"]) == (True, "failed")
    assert answer.err == f"runtide: {sync.said}\n"


# When traces cannot be sent ----------------------------------------------------------


def test_a_collector_that_is_down_costs_a_warning_and_nothing_else(
    command: Command,
) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        nobody = f"http://127.0.0.1:{taken.getsockname()[1]}"
        answer = command(
            "sync", "--source", "demo", "--json", OTEL_EXPORTER_OTLP_ENDPOINT=nobody
        )

    report = json.loads(answer.out)
    assert (answer.code, report["outcome"], report["runs_created"]) == (3, "partial", 3)
    assert answer.err == NOT_SENT


def test_a_collector_that_refuses_costs_a_warning_and_nothing_else(
    command: Command,
) -> None:
    with collecting(Collector(status=400)) as collector:
        told = {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.endpoint}
        quiet = command("sync", "--quiet", "--thread", "thread_a", **told)
        logged = command("sync", "--log-format", "json", "--log-level", "warning", **told)

    assert (quiet.code, quiet.err) == (0, NOT_SENT)
    lines = [json.loads(each) for each in logged.err.splitlines() if each.startswith("{")]
    (warning,) = (line for line in lines if line["logger"] == "etl.wiring.tracing")
    assert warning["level"] == "warning"
    assert warning["message"] == NOT_SENT.removeprefix("runtide: ").strip()
    assert warning["spans_lost"] >= 3


def test_a_collector_that_keeps_silent_is_not_waited_for(command: Command) -> None:
    with collecting(Collector(is_silent=True)) as collector:
        told = {
            "OTEL_EXPORTER_OTLP_ENDPOINT": collector.endpoint,
            "OTEL_EXPORTER_OTLP_TIMEOUT": "50",
        }
        answer = command("sync", "--quiet", "--thread", "thread_a", **told)

        assert not collector.released.is_set()
    assert (answer.code, answer.err) == (0, NOT_SENT)


def test_without_the_extra_one_warning_says_how_to_install_it(
    command: Command, collector: Collector
) -> None:
    shadow = command.directory / "opentelemetry"
    shadow.mkdir()
    (shadow / "__init__.py").touch()  # found before the installed one, and empty

    told = {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.endpoint}
    answer = command("sync", "--quiet", "--thread", "thread_a", **told)

    assert answer.code == 0
    assert answer.err == (
        "runtide: The environment asks for OpenTelemetry traces, but what sends them is not"
        " installed; run `pip install 'runtide[otel]'`.\n"
    )
    assert command("sync", "--quiet", "--thread", "thread_a").err == ""


def test_a_setting_that_cannot_be_used_costs_a_warning_and_nothing_else(
    command: Command, collector: Collector
) -> None:
    told = {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.endpoint}
    told["OTEL_BSP_MAX_QUEUE_SIZE"] = "-1"

    answer = command("sync", "--quiet", "--thread", "thread_a", **told)

    assert answer.code == 0
    assert answer.err == (
        "runtide: The environment asks for OpenTelemetry traces, but its OTEL_ variables"
        " cannot be used; nothing is traced.\n"
    )
