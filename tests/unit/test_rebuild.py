"""Rebuilding: what was flattened is given back, absent and null counted as equal."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from etl.domain.run import Reject, RejectReason
from etl.transform import flatten
from etl.transform.rebuild import rebuild
from tests.unit.builders import (
    CREATED_SECONDS,
    RECORDED_RUNS,
    THREAD,
    Json,
    a_payload,
    changed_payloads,
    exactly,
    flattened,
    keys,
    received,
    storable_json,
)


def assert_given_back(payload: Json) -> None:
    assert exactly(rebuild(flattened(payload))) == exactly(payload)


@pytest.mark.parametrize("payload", RECORDED_RUNS, ids=lambda payload: str(payload["id"]))
def test_a_recorded_run_is_given_back(payload: Json) -> None:
    assert_given_back(payload)


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"thread_id": None},
        {"thread_id": 5},
        {"thread_id": "thread_other"},
        {"object": "run"},
        {"object": None},
        {"id": 17},
        {"assistant_id": 4, "status": 5, "model": 6},
        {"created_at": CREATED_SECONDS + 0.25},
        {"created_at": CREATED_SECONDS * 1000},
        {"created_at": "2026-01-02T03:04:05Z"},
        {"completed_at": 0, "failed_at": -1, "expires_at": 10**400},
        {"completed_at": 1e-9},
        {"usage": {}},
        {"usage": {"prompt_tokens": None}},
        {"usage": {"prompt_tokens": 1, "prompt_token_details": {}}},
        {"usage": {"prompt_tokens": {"cached_tokens": 1}, "total_tokens": True}},
        {"usage": {"prompt_tokens": 2**63, "completion_tokens": 3.0, "total_tokens": 1.5}},
        {"usage": {"prompt_token_details": {"cached_tokens": 1, "audio": {"n": None}}}},
        {"usage": [1, {"prompt_tokens": 2}]},
        {"last_error": "a text", "incomplete_details": [], "truncation_strategy": 5},
        {"last_error": {"code": 5, "message": {"code": 6}}},
        {"truncation_strategy": {"type": 5, "last_messages": "3"}},
        {"response_format": "auto", "tool_choice": "none"},
        {"response_format": 5, "tool_choice": True},
        {"response_format": ["a"], "tool_choice": {}},
        {"response_format": {"type": 5, "x": None}, "tool_choice": {"function": "f"}},
        {"tool_choice": {"type": {"type": "x"}, "function": {"name": ["x"]}}},
        {"required_action": "approve"},
        {"required_action": {"type": "submit_tool_approval", "calls": [{"x": None}]}},
        {"tool_resources": {}},
        {"tool_resources": {"code_interpreter": {"file_ids": ["a", 1]}, "mcp": [{}]}},
        {"tool_resources": {"file_search": {"vector_store_ids": [], "x": {"y": {}}}}},
        {"metadata": []},
        {"metadata": {"extra": {"id": 1}, "n": None}},
        {"file_ids": []},
        {"instructions": 5, "tools": "none"},
        {"instructions": "", "tools": []},
        {"instructions": {"body": "x"}, "tools": {"0": {"type": "x"}}},
        {"tools": ["retrieval", 5, None, [], {}, True]},
        {"tools": [{"type": None}, {"type": 5}, {"type": {"type": "x"}}]},
        {"tools": [{"function": "f"}, {"function": {}}, {"function": {"name": {}}}]},
        {"tools": [{"type": "function", "function": {"name": "f", "arguments": {"a": 1}}}]},
        {"tools": [{"function": {"strict": 1, "parameters": [], "description": 5}}]},
        {"tools": [{"type": "mcp", "settings": {"position": 1}, "position": 9}]},
        {"temperature": 1, "top_p": 2**53 + 1},
        {"temperature": -0.0, "top_p": 5e-324},
        {"extra": {"extra": 1}, "run_id": "x", "tool_set": []},
        {"": {"": [{"": None}]}},
    ],
    ids=str,
)
def test_an_odd_payload_is_given_back(fields: dict[str, Json]) -> None:
    assert_given_back(a_payload() | fields)


def test_the_last_of_two_equal_keys_is_given_back() -> None:
    text = b'{"id":"run_1","created_at":5,"status":"a","status":"b"}'

    assert rebuild(flattened(text))["status"] == "b"


def test_a_payload_nested_as_deep_as_can_be_read_is_given_back() -> None:
    assert_given_back(a_payload(x=nested(300)))


def nested(levels: int) -> Json:
    value: Json = {}
    for _ in range(levels):
        value = {"usage": value}
    return value


def is_given_back(payload: Json) -> bool:
    """Whether it is; payloads that tell too little of themselves are no runs."""
    entry = flatten(received(payload), thread_id=THREAD)
    if isinstance(entry, Reject):
        return entry.reason in {
            RejectReason.NO_ID,
            RejectReason.NO_CREATED_AT,
            RejectReason.NO_STATUS,
        }
    return exactly(rebuild(entry)) == exactly(payload)


@given(changed_payloads(storable_json))
@settings(max_examples=250)
def test_any_change_to_a_valid_payload_is_given_back(payload: Json) -> None:
    assert is_given_back(payload)


identities = st.fixed_dictionaries(
    {"id": st.just("run_1"), "status": st.just("queued"), "created_at": st.just(5)}
)


@given(st.dictionaries(keys, storable_json, max_size=8), identities)
@settings(max_examples=150)
def test_any_object_that_is_a_run_is_given_back(
    members: dict[str, Json], identity: dict[str, Json]
) -> None:
    assert_given_back(members | identity)


@given(st.lists(storable_json, max_size=4))
@settings(max_examples=120)
def test_any_tool_list_is_given_back(tools: list[Json]) -> None:
    assert_given_back(a_payload(tools=tools))
