"""The dictionaries: equal contents have one name, different contents another."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from etl.domain.digest import digest
from etl.transform.dictionaries import (
    LARGEST_REMEMBERED,
    instructions_of,
    tool_set_of,
    tools_of,
)
from tests.unit.builders import Json, exactly, storable_json

WEATHER = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "Tells the weather.",
        "strict": True,
        "parameters": {"type": "object", "properties": {"city": {}, "day": {}}},
    },
}


def reversed_keys(value: Json) -> Json:
    """The same value with every object's keys the other way round."""
    if isinstance(value, dict):
        return {key: reversed_keys(value[key]) for key in reversed(value)}
    return [reversed_keys(each) for each in value] if isinstance(value, list) else value


def named(tools: list[Any]) -> object:
    return tool_set_of(tools).tool_set_id


def test_equal_texts_have_one_digest_and_others_have_another() -> None:
    assert instructions_of("Be brief.") == instructions_of("Be brief.")
    assert instructions_of("Be brief.") != instructions_of("Be brief. ")


def test_the_digest_of_a_text_is_that_of_its_utf8_bytes() -> None:
    assert instructions_of("Größe").instructions_id == digest("Größe".encode())


def test_a_digest_is_the_start_of_a_sha256() -> None:
    assert digest(b"").hex == "e3b0c44298fc1c149afbf4c8996fb924"


@pytest.mark.parametrize("length", [0, LARGEST_REMEMBERED, LARGEST_REMEMBERED + 1, 10**6])
def test_a_text_of_any_length_is_kept_whole(length: int) -> None:
    body = "x" * length

    assert instructions_of(body) == (digest(body.encode()), body)


def test_a_tool_finds_its_columns() -> None:
    (tool,) = tool_set_of([WEATHER]).tools

    assert tool == (
        0,
        "function",
        "weather",
        "Tells the weather.",
        True,
        '{"properties":{"city":{},"day":{}},"type":"object"}',
        None,
    )


def test_what_no_column_holds_stays_in_the_settings() -> None:
    (tool,) = tool_set_of([{"type": "mcp", "server_url": "http://h", "x": None}]).tools

    assert (tool.tool_type, tool.settings) == ("mcp", '{"server_url":"http://h"}')


def test_a_tool_that_is_no_object_is_its_settings() -> None:
    text, nothing = tool_set_of(["retrieval", None]).tools

    assert (text.tool_type, text.settings) == (None, '"retrieval"')
    assert nothing.settings == "null"


def test_tools_keep_their_order() -> None:
    tools = tool_set_of([{"type": "b"}, {"type": "a"}]).tools

    assert [(tool.position, tool.tool_type) for tool in tools] == [(0, "b"), (1, "a")]
    assert named([{"type": "b"}, {"type": "a"}]) != named([{"type": "a"}, {"type": "b"}])


def test_an_empty_list_is_a_tool_set_of_its_own() -> None:
    assert tool_set_of([]).tools == ()
    assert named([]) != named([{}])


@pytest.mark.parametrize("other", [[1], [True], ["1"], [None], [[]], [{}], []], ids=str)
def test_different_kinds_of_entries_have_different_digests(other: list[Json]) -> None:
    assert (named(other) == named([1])) == (exactly(other) == exactly([1]))


def test_a_tool_list_larger_than_what_is_remembered_is_kept_whole() -> None:
    tools = [{"type": "x", "big": "y" * LARGEST_REMEMBERED}]

    assert tools_of(tool_set_of(tools)) == tools
    assert tool_set_of(tools) == tool_set_of(reversed_keys(tools))


@given(st.lists(storable_json, max_size=4))
@settings(max_examples=80)
def test_key_order_does_not_change_a_digest(tools: list[Json]) -> None:
    assert tool_set_of(reversed_keys(tools)) == tool_set_of(tools)


@given(st.lists(storable_json, max_size=3), st.lists(storable_json, max_size=3))
@settings(max_examples=80)
def test_lists_of_one_digest_are_equal(these: list[Json], those: list[Json]) -> None:
    if named(these) == named(those):
        assert exactly(these) == exactly(those)
