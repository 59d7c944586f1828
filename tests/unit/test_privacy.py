"""What goes no further: hashed, left out, and never in what is made of a payload."""

import hmac
import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from etl.domain.page import Payload
from etl.domain.run import Reject, RunId
from etl.transform import drift_of, flatten, rebuild
from etl.transform.privacy import Privacy
from etl.transform.secrets import may_hold_secret
from etl.transform.treatments import Treatment, hashed
from tests.unit.builders import (
    THREAD,
    Json,
    a_payload,
    a_plain_payload,
    any_json,
    changed_payloads,
    flattened,
    text_of,
)

KEEP, HASH, OMIT = Treatment
KEY = b"a long random text"
SECRET = "planted-by-the-test"  # and never to be found
SETTINGS = (
    "instructions",
    "tools",
    "tool_call_arguments",
    "error_messages",
    "unknown_fields",
    "metadata",
)


def everything(treatment: Treatment) -> Privacy:
    settings: dict[str, Any] = dict.fromkeys(SETTINGS, treatment)
    return Privacy(**settings, key=KEY)


def only(setting: str, treatment: Treatment) -> Privacy:
    settings: dict[str, Any] = {setting: treatment}
    return Privacy(**settings, key=KEY)


def cleaned(privacy: Privacy, **fields: Json) -> dict[str, Json]:
    """A payload with these fields, cleaned and decoded."""
    found: dict[str, Json] = json.loads(privacy.clean(text_of(a_payload(**fields))))
    return found


def a_hash(text: str) -> str:
    return "hmac-sha256:" + hmac.new(KEY, text.encode(), "sha256").hexdigest()


treatments = st.sampled_from([HASH, OMIT])


def test_what_is_hashed_is_the_text_itself_under_the_key() -> None:
    found = cleaned(only("instructions", HASH), instructions="Grüße, \u6f22")

    assert found == a_payload(instructions=a_hash("Grüße, \u6f22"))


def test_what_is_no_text_is_hashed_as_compact_json_with_sorted_keys() -> None:
    found = cleaned(only("metadata", HASH), metadata={"a": {"z": 1, "b": [True, None]}})

    assert found["metadata"] == {"a": a_hash('{"b":[true,null],"z":1}')}


def test_a_hash_without_a_key_is_refused() -> None:
    with pytest.raises(ValueError, match="a hash needs a key"):
        Privacy(tools=HASH)


def test_the_key_does_not_show_where_a_privacy_is_printed() -> None:
    assert KEY.decode() not in repr(everything(HASH))


@pytest.mark.parametrize("fields", [{"instructions": None}, {"metadata": None}])
def test_null_says_nothing_and_stays(fields: dict[str, Json]) -> None:
    assert cleaned(everything(HASH), **fields).items() >= fields.items()


def test_metadata_is_treated_key_by_key() -> None:
    by_key = {"ticket": KEEP, "email": OMIT}
    privacy = Privacy(metadata=HASH, metadata_keys=by_key, key=KEY)

    found = cleaned(privacy, metadata={"ticket": "T-1", "email": "a@b.c", "name": "Ada"})

    assert found["metadata"] == {"ticket": "T-1", "name": a_hash("Ada")}


def test_metadata_without_keys_is_treated_as_the_strictest_of_them_says() -> None:
    privacy = Privacy(metadata_keys={"email": OMIT, "name": HASH}, key=KEY)

    assert "metadata" not in cleaned(privacy, metadata=["a@b.c"])


MCP = {
    "type": "mcp",
    "server_label": "crm",
    "server_url": "https://user:pw@crm.example",
    "headers": {"Authorization": "Bearer 1"},
}
WEATHER = a_payload()["tools"][1]


def test_of_an_omitted_tool_its_type_stays_and_a_functions_name() -> None:
    tools = [{"type": "code_interpreter"}, WEATHER, MCP, "mcp", None]

    found = cleaned(only("tools", OMIT), tools=tools)

    assert found["tools"] == [
        {"type": "code_interpreter"},
        {"type": "function", "function": {"name": "weather"}},
        {"type": "mcp"},
        {},
        {},
    ]


def test_a_hashed_tool_shows_its_hash_as_its_description_whatever_its_type() -> None:
    run = flattened(cleaned(only("tools", HASH), tools=[WEATHER, MCP]))

    assert run.tool_set is not None
    shown = [
        (tool.tool_type, tool.function_name, tool.description)
        for tool in run.tool_set.tools
    ]
    told = (WEATHER, without_headers(MCP))
    compact = [json.dumps(t, sort_keys=True, separators=(",", ":")) for t in told]
    assert shown == [
        ("function", "weather", a_hash(compact[0])),
        ("mcp", None, a_hash(compact[1])),
    ]
    assert [tool.settings for tool in run.tool_set.tools] == [None, None]


def test_hashed_definitions_are_no_drift() -> None:
    fields: dict[str, Json] = {
        "tools": [WEATHER, {"type": "file_search", "file_search": {"a": 1}}]
    }
    run = flattened(cleaned(everything(HASH), **fields))

    assert list(drift_of([run])) == []


def test_headers_of_servers_go_with_the_tools() -> None:
    resources = a_payload()["tool_resources"]
    told = resources | {"mcp": [MCP]}

    assert cleaned(only("tools", OMIT), tool_resources=told)["tool_resources"] == resources
    kept = cleaned(only("tools", HASH), tool_resources=told)["tool_resources"]
    assert kept == resources | {"mcp": hashed([without_headers(MCP)], key=KEY)}


def without_headers(tool: Json) -> Json:
    """A tool as whoever hashes it sees it."""
    return {name: each for name, each in tool.items() if name != "headers"}


def test_of_a_call_it_stays_which_tool_waits() -> None:
    outputs = [
        {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "x"}}
    ]
    approval = [{"id": "c2", "type": "mcp", "server_label": "crm", "arguments": {"a": 1}}]
    action = {
        "type": "submit_tool_approval",
        "submit_tool_outputs": {"tool_calls": outputs},
        "submit_tool_approval": {"tool_calls": approval},
    }

    found = cleaned(only("tool_call_arguments", OMIT), required_action=action)

    assert found["required_action"] == {
        "type": "submit_tool_approval",
        "submit_tool_outputs": {
            "tool_calls": [{"id": "c1", "type": "function", "function": {"name": "f"}}]
        },
        "submit_tool_approval": {
            "tool_calls": [{"id": "c2", "type": "mcp", "server_label": "crm"}]
        },
    }


def test_of_an_error_its_code_stays() -> None:
    error = {"code": "server_error", "message": "no user Ada", "param": "Ada"}

    omitted = cleaned(only("error_messages", OMIT), last_error=error)
    kept = cleaned(only("error_messages", HASH), last_error=error)

    assert omitted["last_error"] == {"code": "server_error"}
    assert kept["last_error"]["message"] == a_hash("no user Ada")


def test_unknown_fields_are_treated_wherever_fields_are_looked_for() -> None:
    privacy = only("unknown_fields", OMIT)
    usage = a_payload()["usage"]

    found = cleaned(privacy, agent={"a": 1}, file_ids=["f"], usage=usage | {"who": "Ada"})

    assert found == a_payload(file_ids=["f"], usage=usage)


def test_of_a_member_that_is_told_twice_no_telling_passes() -> None:
    text = text_of(a_payload(instructions=SECRET))[:-1] + b',"instructions":"again"}'

    found = only("instructions", HASH).clean(text)

    assert json.loads(found)["instructions"] == a_hash("again")
    assert SECRET.encode() not in found


def test_a_name_written_with_escapes_is_the_same_name() -> None:
    text = text_of({"instructions": SECRET}).replace(b"inst", rb"\u0069nst")

    assert only("instructions", OMIT).clean(text) == b"{}"


UNCLEANED = {
    b"oops " + SECRET.encode(): "that are no valid JSON, ",
    text_of(a_payload(instructions=SECRET))[:-1]: "that are no valid JSON, ",
    text_of(a_payload(instructions="\xff")).replace(
        rb"\u00ff", b"\xff"
    ): "that are no valid JSON, ",
    text_of([SECRET]): "of JSON that are no object, ",
    text_of(SECRET): "of JSON that are no object, ",
    b"[" * 20_000 + b"]" * 20_000: "of JSON, nested too deep, ",
    b'{"new":' + b"[" * 20_000 + b"]" * 20_000 + b"}": "of JSON, nested too deep, ",
    b'{"new":' + b"9" * 5_000 + b"}": "of JSON with a number too long to be read, ",
}


@pytest.mark.parametrize("text", UNCLEANED)
def test_what_cannot_be_cleaned_is_withheld_with_its_size_and_digest(text: bytes) -> None:
    found = everything(HASH).clean(text)

    why = UNCLEANED[text]
    name = "hmac-sha256:" + hmac.new(KEY, text, "sha256").hexdigest()
    sentence = f"withheld by the privacy settings: {len(text)} bytes {why}{name}"
    assert found.strip(b'"') == sentence.encode()
    assert isinstance(flatten(Payload(found, None), thread_id=THREAD), Reject)


def test_without_a_key_the_digest_is_a_plain_one() -> None:
    found = Privacy(tools=OMIT).clean(b"oops")

    assert found == (
        b"withheld by the privacy settings: 4 bytes that are no valid JSON,"
        b" sha256:d13f2eadd4ed5b027fa773a29520cc0d65ce374365d641112de786f8a029c2fe"
    )


@given(st.binary() | changed_payloads(any_json).map(text_of))
def test_where_all_is_kept_a_text_stays_byte_for_byte(text: bytes) -> None:
    assume(not may_hold_secret(Payload(text, None)))

    assert Privacy(key=KEY).clean(text) is text


@given(
    st.binary() | changed_payloads(any_json).map(text_of), treatments, st.integers(0, 9_999)
)
def test_any_text_can_be_cleaned_and_once_is_enough(
    text: bytes, treatment: Treatment, length: int
) -> None:
    privacy = everything(treatment)
    for told in (text, text[:length]):
        found = privacy.clean(told)

        assert privacy.clean(found) == found


@given(changed_payloads(any_json), st.sampled_from(SETTINGS), treatments)
def test_what_no_setting_names_stays_as_it_was(
    payload: dict[str, Json], setting: str, treatment: Treatment
) -> None:
    text = text_of(payload)
    touched = {
        "tools": {"tools", "tool_resources"},
        "tool_call_arguments": {"required_action"},
        "error_messages": {"last_error"},
        "unknown_fields": {"usage", "truncation_strategy", "last_error"}
        | {"incomplete_details", "tool_resources", *(payload.keys() - a_payload().keys())},
    }.get(setting, {setting})

    found = json.loads(only(setting, treatment).clean(text))

    untouched = payload.keys() - touched
    assert text_of({name: found[name] for name in sorted(untouched)}) == text_of(
        {name: payload[name] for name in sorted(untouched)}
    )


within = st.recursive(
    st.sampled_from([SECRET, f"\ud800{SECRET}", f"a {SECRET}\0"]),
    lambda below: (
        st.lists(below | any_json, min_size=1, max_size=2).map(lambda each: [SECRET, *each])
        | st.dictionaries(st.sampled_from(["a", "type", SECRET]), below, min_size=1)
    ),
    max_leaves=4,
)
"""Values of any type that hold the secret, as a value or a name."""

texts_within = st.sampled_from([SECRET, [SECRET], [[SECRET]], [{"secret": SECRET}]])
"""Values of a type that nobody expects where names and ids stand."""


def a_call(secret: Json) -> dict[str, Json]:
    return {"id": "call_1", "type": "function", "arguments": secret, "function": secret}


def an_action(secret: Json) -> dict[str, Json]:
    calls = [a_call(secret), a_call({"name": "f", "arguments": secret, "output": secret})]
    return {"type": "a", "a": {"tool_calls": calls, "note": secret}}


PLACES: dict[str, Callable[[Json], dict[str, Json]]] = {
    "instructions": lambda secret: {"instructions": secret},
    "a function": lambda secret: {"tools": [{"type": "function", "function": secret}]},
    "parameters": lambda secret: {
        "tools": [{"type": "function", "function": {"name": "f", "parameters": secret}}]
    },
    "settings of a tool": lambda secret: {"tools": [{"type": "mcp", "headers": secret}]},
    "tool resources": lambda secret: {"tool_resources": {"mcp": secret}},
    "a value of the metadata": lambda secret: {"metadata": {"email": secret}},
    "a message": lambda secret: {"last_error": {"code": "c", "message": secret}},
    "more of an error": lambda secret: {"last_error": {"code": "c", "details": secret}},
    "an unknown field": lambda secret: {"customer": secret},
    "an unknown neighbour": lambda secret: {"usage": {"prompt_tokens": 1, "who": secret}},
}
ODD_PLACES: dict[str, Callable[[Json], dict[str, Json]]] = {
    "tools": lambda secret: {"tools": {"mcp": secret}},
    "a tool": lambda secret: {"tools": [secret]},
    "all metadata": lambda secret: {"metadata": secret},
    "an error": lambda secret: {"last_error": secret},
    "an action": lambda secret: {"required_action": secret},
    "parts of an action": an_action,
    "all calls": lambda secret: {"required_action": {"type": "a", "a": secret}},
    "usage": lambda secret: {"usage": secret},
}


def all_that_is_made_of(text: bytes) -> str:
    """Everything that could reach a table, as one text."""
    entry = flatten(Payload(text, RunId("run_1")), thread_id=THREAD)
    if isinstance(entry, Reject):
        return repr(entry)
    return repr((entry, rebuild(entry), list(drift_of([entry]))))


@settings(max_examples=400)
@given(
    place=st.sampled_from(list(PLACES)),
    payload=changed_payloads(any_json),
    secret=within,
    treatment=treatments,
)
def test_nothing_that_is_made_of_a_payload_holds_what_was_planted(
    place: str, payload: dict[str, Json], secret: Json, treatment: Treatment
) -> None:
    text = text_of(payload | PLACES[place](secret))

    assert SECRET not in all_that_is_made_of(everything(treatment).clean(text))


@settings(max_examples=300)
@given(
    place=st.sampled_from(list(ODD_PLACES)),
    payload=changed_payloads(any_json),
    secret=texts_within,
    treatment=treatments,
)
def test_nor_where_a_value_has_a_type_that_nobody_expects(
    place: str, payload: dict[str, Json], secret: Json, treatment: Treatment
) -> None:
    text = text_of(payload | ODD_PLACES[place](secret))

    assert SECRET not in all_that_is_made_of(everything(treatment).clean(text))


@pytest.mark.parametrize("place", PLACES | ODD_PLACES)
def test_without_privacy_it_would_be_found(place: str) -> None:
    planted = (PLACES | ODD_PLACES)[place]([SECRET])

    assert SECRET in all_that_is_made_of(text_of(a_plain_payload(**planted)))
