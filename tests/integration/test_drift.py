"""What the schema does not know is named, counted, and stops nothing."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.engine import Engine

from etl.domain.outcome import Outcome
from tests.integration.builders import comparable, execute, query
from tests.integration.commands import Runtide
from tests.integration.raw_threads import RawThreads, a_run_of
from tests.integration.syncing import Syncer

Json = Any
Case = tuple[dict[str, Json], str, str]
"""Fields of a run, and the path and value that the ledger should name."""

THREAD = "thread_1"
RUN = f"{THREAD}_run_0"


@pytest.fixture
def engine(swept_engine: Engine) -> Engine:
    return swept_engine


@pytest.fixture
def server() -> RawThreads:
    return RawThreads()


@pytest.fixture
def base_url(server: RawThreads) -> Iterator[str]:
    with server.listening() as base_url:
        yield base_url


@pytest.fixture
def syncer(engine: Engine, base_url: str) -> Syncer:
    """Of one thread, not read yet."""
    syncer = Syncer(engine, base_url)
    syncer.track([THREAD])
    return syncer


@pytest.fixture
def runtide(
    tmp_path: Path, engine: Engine, base_url: str, capsys: pytest.CaptureFixture[str]
) -> Runtide:
    runtide = Runtide(tmp_path, engine, capsys)
    runtide.configure(base_url)
    return runtide


def found_in(
    cases: Mapping[str, Case], engine: Engine, server: RawThreads, syncer: Syncer
) -> dict[str, list[tuple[Any, ...]]]:
    """Sync one run for each case, none of them a reject; what the ledger says of it."""
    for name, (fields, _, _) in cases.items():
        server.put(THREAD, name, a_run_of(THREAD, 0, id=name, **fields))
    report = syncer.sync()
    assert (report.outcome, report.rejects) == (Outcome.SUCCEEDED, 0)
    assert report.runs_created == len(cases)
    found: dict[str, list[tuple[Any, ...]]] = {name: [] for name in cases}
    for run_id, *drift in query(
        engine, "SELECT example_run_id, path, kind, value FROM run_sync.drift ORDER BY 2, 3"
    ):
        found[run_id].append(tuple(drift))
    return found


def drift(engine: Engine) -> list[tuple[Any, ...]]:
    """Path, kind and value of all that stands in the ledger."""
    return query(engine, "SELECT path, kind, value FROM run_sync.drift ORDER BY 1, 2, 3")


TOOL = {"type": "function", "function": {"name": "f", "parameters": {}}}
UNKNOWN_FIELDS: dict[str, Case] = {
    "run": ({"priority": 7}, "priority", "integer"),
    "usage": ({"usage": {"audio_tokens": 1.5}}, "usage.audio_tokens", "number"),
    "prompt token details": (
        {"usage": {"prompt_token_details": {"audio": 1}}},
        "usage.prompt_token_details.audio",
        "integer",
    ),
    "completion token details": (
        {"usage": {"completion_tokens_details": {"audio": 1}}},
        "usage.completion_tokens_details.audio",
        "integer",
    ),
    "prompt tokens details": (  # in no recorded run; the chat API writes it so
        {"usage": {"prompt_tokens_details": {"cached_tokens": 1}}},
        "usage.prompt_tokens_details",
        "object",
    ),
    "truncation strategy": (
        {"truncation_strategy": {"type": "auto", "keep": True}},
        "truncation_strategy.keep",
        "boolean",
    ),
    "last error": ({"last_error": {"param": "model"}}, "last_error.param", "string"),
    "incomplete details": (
        {"incomplete_details": {"at": []}},
        "incomplete_details.at",
        "array",
    ),
    "tool resources": (
        {"tool_resources": {"crm": [{"index": {}}]}},
        "tool_resources.crm",
        "array",
    ),
    "code interpreter resources": (
        {"tool_resources": {"code_interpreter": {"size": "small"}}},
        "tool_resources.code_interpreter.size",
        "string",
    ),
    "file search resources": (
        {"tool_resources": {"file_search": {"stores": {}}}},
        "tool_resources.file_search.stores",
        "object",
    ),
    "tool": ({"tools": [TOOL | {"cache": True}]}, "tools[].cache", "boolean"),
    "function": (
        {"tools": [{"type": "function", "function": {"name": "f", "cost": 1}}]},
        "tools[].function.cost",
        "integer",
    ),
    "file search": (
        {"tools": [{"type": "file_search", "file_search": {"filters": {}}}]},
        "tools[].file_search.filters",
        "object",
    ),
    "ranking options": (
        {
            "tools": [
                {
                    "type": "file_search",
                    "file_search": {"ranking_options": {"ranker": "auto", "seed": 1}},
                }
            ]
        },
        "tools[].file_search.ranking_options.seed",
        "integer",
    ),
}


def test_an_unknown_field_is_named_at_every_level(
    engine: Engine, server: RawThreads, syncer: Syncer
) -> None:
    found = found_in(UNKNOWN_FIELDS, engine, server, syncer)

    assert found == {
        name: [(path, "unknown_field", value)]
        for name, (_, path, value) in UNKNOWN_FIELDS.items()
    }
    assert syncer.payloads() == comparable(server.payloads())


UNKNOWN_VALUES: dict[str, Case] = {
    "status": ({"status": "paused"}, "status", "paused"),
    "object": ({"object": "run"}, "object", "run"),
    "truncation strategy": (
        {"truncation_strategy": {"type": "smart"}},
        "truncation_strategy.type",
        "smart",
    ),
    "incomplete details": (
        {"incomplete_details": {"reason": "content_filter"}},
        "incomplete_details.reason",
        "content_filter",
    ),
    "last error": (
        {"last_error": {"code": "invalid_image_url", "message": "No."}},
        "last_error.code",
        "invalid_image_url",
    ),
    "required action": (
        {"required_action": {"type": "submit_signature"}},
        "required_action.type",
        "submit_signature",
    ),
    "response format": (
        {"response_format": {"type": "grammar"}},
        "response_format",
        "grammar",
    ),
    "tool choice": ({"tool_choice": {"type": "crm"}}, "tool_choice", "crm"),
    "tool": (
        {"tools": [{"type": "crm", "crm": {"connections": []}}]},
        "tools[].type",
        "crm",
    ),
    "reasoning effort": (
        {"reasoning_effort": "extreme"},
        "reasoning_effort",
        "extreme",
    ),
    "one of a thousand letters": ({"status": "x" * 1_000}, "status", "x" * 80),
}


def test_an_unknown_value_of_a_closed_list_is_named(
    engine: Engine, server: RawThreads, syncer: Syncer
) -> None:
    found = found_in(UNKNOWN_VALUES, engine, server, syncer)

    assert found == {
        name: [(path, "unknown_value", value)]
        for name, (_, path, value) in UNKNOWN_VALUES.items()
    }


UNEXPECTED_TYPES: dict[str, Case] = {
    "an integer for a model": ({"model": 4}, "model", "integer"),
    "a text for a count": ({"max_prompt_tokens": "many"}, "max_prompt_tokens", "string"),
    "a count beyond bigint": ({"max_prompt_tokens": 2**63}, "max_prompt_tokens", "integer"),
    "a text for usage": ({"usage": "much"}, "usage", "string"),
    "a list for instructions": ({"instructions": ["Be", "brief"]}, "instructions", "array"),
    "an object for tools": ({"tools": {}}, "tools", "object"),
    "a text for a tool": ({"tools": ["code_interpreter"]}, "tools[]", "string"),
    "a text for a function": (
        {"tools": [{"type": "function", "function": "f"}]},
        "tools[].function",
        "string",
    ),
    "a flag for metadata": ({"metadata": True}, "metadata", "boolean"),
    "a number for a temperature's text": ({"temperature": "hot"}, "temperature", "string"),
}


def test_an_unexpected_type_is_named(
    engine: Engine, server: RawThreads, syncer: Syncer
) -> None:
    found = found_in(UNEXPECTED_TYPES, engine, server, syncer)

    assert found == {
        name: [(path, "unexpected_type", value)]
        for name, (_, path, value) in UNEXPECTED_TYPES.items()
    }
    assert syncer.payloads() == comparable(server.payloads())


KNOWN: dict[str, dict[str, Json]] = {
    "keys of metadata are the user's": {"metadata": {"new": 1, "type": {"a": [None]}}},
    "so are parameters of a function": {
        "tools": [{"type": "function", "function": {"name": "f", "parameters": {"new": 1}}}]
    },
    "settings of a file search": {
        "tools": [
            {
                "type": "file_search",
                "file_search": {
                    "max_num_results": 5,
                    "ranking_options": {"ranker": "auto", "score_threshold": 0.5},
                },
            }
        ]
    },
    "v1's field": {"file_ids": ["file_1"]},
    "nulls": {"new": None, "usage": None, "tools": None},
    "an empty object": {"usage": {}, "truncation_strategy": {}},
    "every word of a choice": {"tool_choice": "required", "response_format": "auto"},
}


def test_what_the_schema_knows_is_no_drift(
    engine: Engine, server: RawThreads, syncer: Syncer
) -> None:
    cases = {name: (fields, "", "") for name, fields in KNOWN.items()}

    assert found_in(cases, engine, server, syncer) == {name: [] for name in KNOWN}


def test_drift_is_counted_by_source_with_its_first_run_and_both_instants(
    engine: Engine, server: RawThreads, syncer: Syncer, base_url: str
) -> None:
    other = Syncer(engine, base_url, name="other")
    other.track([THREAD])
    server.fill(THREAD, 3, novelty="a")
    syncer.sync()
    other.sync()
    server.put(THREAD, "later", a_run_of(THREAD, 3, id="later", novelty="b"))

    other.sync()

    assert query(
        engine,
        "SELECT name, times_seen, example_run_id, last_seen_at > d.first_seen_at,"
        " d.first_seen_at < now() AND last_seen_at < now()"
        " FROM run_sync.drift d JOIN run_sync.sources USING (source_id) ORDER BY name",
    ) == [("demo", 3, RUN, False, True), ("other", 5, RUN, True, True)]


def test_drift_is_committed_with_the_runs_that_show_it_or_not_at_all(
    engine: Engine, server: RawThreads, syncer: Syncer
) -> None:
    """The bookmark cannot be moved, so the whole batch is undone."""
    server.fill(THREAD, 1, novelty=1)
    execute(
        engine,
        "ALTER TABLE run_sync.threads"
        " ADD CONSTRAINT no_move CHECK (synced_through IS NULL)",
    )

    failed = syncer.sync()
    in_between = drift(engine), syncer.runs()
    execute(engine, "ALTER TABLE run_sync.threads DROP CONSTRAINT no_move")
    report = syncer.sync()

    assert failed.outcome is Outcome.FAILED
    assert in_between == ([], {})
    assert report.outcome is Outcome.SUCCEEDED
    assert query(engine, "SELECT path, times_seen FROM run_sync.drift") == [("novelty", 1)]
    assert set(syncer.runs()) == {RUN}


def test_more_novelties_than_anybody_expects_stop_nothing(
    engine: Engine, server: RawThreads, syncer: Syncer
) -> None:
    novelties = {f"new_{number}" * 20: {"a": number} for number in range(2_000)}
    server.fill(THREAD, 2, **novelties)

    report = syncer.sync()

    assert (report.outcome, report.runs_created) == (Outcome.SUCCEEDED, 2)
    assert len(drift(engine)) == 2_000
    assert syncer.payloads() == comparable(server.payloads())


def test_status_names_what_is_new(
    server: RawThreads, syncer: Syncer, runtide: Runtide
) -> None:
    server.fill(THREAD, 2, status="paused", usage={"audio_tokens": 1}, model=4)
    syncer.sync()

    shown, told = runtide("status"), json.loads(runtide("status", "--json").out)

    lines = [line.split("  ") for line in shown.out.splitlines() if line.strip()]
    cells = [[cell.strip() for cell in line if cell.strip()] for line in lines]
    title = cells.index(["new to the schema"])
    headings = ["source", "place", "kind", "value", "seen", "first seen", "example"]
    assert cells[title + 1] == headings
    assert [line[:5] + line[6:] for line in cells if RUN in line] == [
        ["demo", "model", "unexpected type", "integer", "2", RUN],
        ["demo", "status", "unknown value", "paused", "2", RUN],
        ["demo", "usage.audio_tokens", "unknown field", "integer", "2", RUN],
    ]
    assert [
        (each["source"], each["path"], each["kind"], each["value"], each["times_seen"])
        for each in told["drift"]
    ] == [
        ("demo", "model", "unexpected_type", "integer", 2),
        ("demo", "status", "unknown_value", "paused", 2),
        ("demo", "usage.audio_tokens", "unknown_field", "integer", 2),
    ]
    assert {each["example_run_id"] for each in told["drift"]} == {RUN}


def test_status_says_nothing_of_drift_where_there_is_none(
    server: RawThreads, syncer: Syncer, runtide: Runtide
) -> None:
    server.fill(THREAD, 1)
    syncer.sync()

    assert "schema" not in runtide("status").out
    assert json.loads(runtide("status", "--json").out)["drift"] == []
