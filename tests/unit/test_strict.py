"""The strict way gives what the lenient way gives, or nothing."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from etl.domain.page import Payload
from etl.domain.published import is_plain
from etl.domain.run import Run
from etl.transform.flatten import flatten_leniently
from etl.transform.strict import flatten_strictly
from tests.unit.builders import (
    DATA,
    THREAD,
    Json,
    a_plain_payload,
    any_json,
    changed_payloads,
)

RECORDED = [
    json.loads(line) for line in (DATA / "recorded_runs.jsonl").read_text().splitlines()
]
JSON_COLUMNS = ("response_format", "tool_choice", "required_action", "metadata", "extra")


def values_of(run: object) -> dict[str, Any]:
    """A run's values, JSON texts decoded: their spelling does not matter."""
    assert isinstance(run, Run)
    values = run._asdict()
    return values | {
        name: json.loads(values[name]) for name in JSON_COLUMNS if values[name] is not None
    }


def to_ascii(payload: Json) -> bytes:
    return json.dumps(payload).encode()


def to_utf_8(payload: Json) -> bytes:
    return json.dumps(payload, ensure_ascii=False).encode("utf-8", "surrogatepass")


def assert_same_both_ways(text: bytes) -> None:
    strictly = flatten_strictly(text) if is_plain(text) else None
    if strictly is not None:
        leniently = flatten_leniently(Payload(text, None), thread_id=THREAD)
        assert values_of(strictly) == values_of(leniently)


@pytest.mark.parametrize("payload", RECORDED, ids=lambda payload: payload["id"][-6:])
def test_a_recorded_run_is_the_same_both_ways(payload: Json) -> None:
    assert_same_both_ways(to_utf_8(payload))


def test_an_ordinary_payload_goes_the_strict_way() -> None:
    assert flatten_strictly(json.dumps(a_plain_payload()).encode()) is not None


def test_members_that_the_schema_does_not_know_go_the_strict_way_too() -> None:
    payload = a_plain_payload(service_tier={"a": [1.50]}, tool_resources={}, none=None)

    run = flatten_strictly(json.dumps(payload).encode())

    assert run
    assert run.extra == '{"tool_resources":{},"service_tier":{"a":[1.5]}}'
    assert_same_both_ways(json.dumps(payload).encode())


@pytest.mark.parametrize(
    "odd",
    [
        {"created_at": 1750000000.5},
        {"created_at": 1750000000000},
        {"started_at": 0},
        {"usage": {"prompt_tokens": 1}},
        {"metadata": {"n": 1}},
        {"temperature": 2**60},
        {"tool_resources": {"code_interpreter": None}},
        {"object": "run"},
        {"last_error": {"code": None, "message": None}},
        {"tools": {}},
        {"id": 17},
        {"max_prompt_tokens": 2**63},
    ],
)
def test_what_is_unusual_goes_the_lenient_way(odd: dict[str, Json]) -> None:
    assert flatten_strictly(json.dumps(a_plain_payload(**odd)).encode()) is None


@given(changed_payloads(any_json), st.sampled_from([to_ascii, to_utf_8]))
@settings(max_examples=400, deadline=None)
def test_any_changed_payload_is_the_same_both_ways(
    payload: Json, encode: Callable[[Json], bytes]
) -> None:
    assert_same_both_ways(encode(payload))


def test_tool_lists_are_told_apart_by_their_bytes() -> None:
    one = a_plain_payload(tools=[{"type": "function", "function": {"name": "a"}}])
    other = a_plain_payload(tools=[{"type": "function", "function": {"name": "b"}}])

    names = [
        run.tool_set.tools[0].function_name
        for payload in (one, other, one)
        if (run := flatten_strictly(json.dumps(payload).encode())) and run.tool_set
    ]
    assert names == ["a", "b", "a"]
