"""Credentials of tools go no further, whatever the settings, however they are written."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from etl.domain.bookmark import Bookmark
from etl.domain.page import Page, Payload
from etl.domain.run import Instant, Reject, RunId, ThreadId
from etl.extract.client import Traffic
from etl.extract.envelope import open_envelope
from etl.transform import flatten
from etl.transform.privacy import Privacy
from etl.transform.secrets import may_hold_secret, without_secrets
from etl.wiring.privacy import kept_private
from tests.unit.builders import a_payload

Json = Any
SECRET = "sk-mcp-0123456789"
HEADERS = {"Authorization": f"Bearer {SECRET}", "X-Api-Key": SECRET}
SERVER = {"server_label": "crm", "require_approval": "always"}
ESCAPED = "".join(f"\\u{ord(letter):04x}" for letter in "headers")


def encoded(**fields: Json) -> bytes:
    return json.dumps(a_payload(**fields)).encode()


def cleaned(**fields: Json) -> dict[str, Json]:
    text = without_secrets(encoded(**fields))
    assert SECRET.encode() not in text
    assert without_secrets(text) == text
    found: dict[str, Json] = json.loads(text)
    return found


def test_the_headers_of_mcp_servers_are_taken_out_and_their_neighbours_stay() -> None:
    found = cleaned(tool_resources={"mcp": [{**SERVER, "headers": HEADERS}]})

    assert found == a_payload(tool_resources={"mcp": [SERVER]})


@pytest.mark.parametrize(
    ("tool", "left"),
    [
        ({"type": "mcp", "headers": HEADERS}, {"type": "mcp"}),
        ({"type": "mcp", "authorization": SECRET}, {"type": "mcp"}),
        ({"type": "mcp", "mcp": {"headers": HEADERS}}, {"type": "mcp", "mcp": {}}),
        ({"type": "mcp", "Headers": HEADERS, "httpHeaders": SECRET}, {"type": "mcp"}),
        (
            {"type": "openapi", "openapi": {"auth": {"type": "key", "value": SECRET}}},
            {"type": "openapi", "openapi": {"auth": {"type": "key"}}},
        ),
        (
            {"openapi": {"auth": {"security_scheme": {"connection_id": "c", "k": SECRET}}}},
            {"openapi": {"auth": {"security_scheme": {"connection_id": "c"}}}},
        ),
    ],
)
def test_look_alikes_have_credentials_in_tools_too(tool: Json, left: Json) -> None:
    assert cleaned(tools=[tool])["tools"] == [left]


def test_credentials_in_members_that_nobody_knows_are_taken_out_too() -> None:
    found = cleaned(mcp_servers=[{"headers": HEADERS, "url": "u"}], authorization=SECRET)

    assert found == a_payload(mcp_servers=[{"url": "u"}])


def test_an_approval_says_which_tool_waits_and_with_what() -> None:
    call = {"id": "c", "type": "mcp", "name": "find", "arguments": '{"headers": 1}'}
    action = {
        "type": "submit_tool_approval",
        "submit_tool_approval": {"tool_calls": [{**call, "headers": HEADERS}]},
    }

    found = cleaned(required_action=action)["required_action"]

    assert found["submit_tool_approval"] == {"tool_calls": [call]}


@pytest.mark.parametrize(
    "fields",
    [
        {"instructions": "Set the headers, and the Authorization."},
        {"metadata": {"headers": "h", "authorization": "a"}},
        {"tools": [{"type": "function", "function": {"parameters": {"headers": {}}}}]},
        {"tools": [{"type": "openapi", "openapi": {"spec": {"headers": {"a": 1}}}}]},
        {"tools": [{"type": "openapi", "openapi": {"auth": {"type": "anonymous"}}}]},
        {"response_format": {"type": "json_schema", "json_schema": {"headers": 1}}},
    ],
)
def test_what_is_no_credential_comes_back_byte_for_byte(fields: Json) -> None:
    text = encoded(**fields)

    assert without_secrets(text) is text


def test_a_name_in_escapes_is_a_name_all_the_same() -> None:
    text = encoded(tool_resources={"mcp": [{"headers": HEADERS}]})
    hidden = text.replace(b'"headers"', f'"{ESCAPED}"'.encode())

    assert SECRET.encode() not in without_secrets(hidden)
    assert may_hold_secret(Payload(hidden, RunId("run_1")))


def test_of_a_member_that_is_told_twice_the_first_is_not_left_behind() -> None:
    text = encoded().replace(
        b'"tools":', b'"tools": [{"headers": "%s"}], "tools":' % SECRET.encode(), 1
    )
    assert SECRET.encode() in text

    assert SECRET.encode() not in without_secrets(text)


@pytest.mark.parametrize("end", [b'"', b"\xff", b'": {{{', b""])
def test_a_damaged_payload_that_names_headers_is_withheld_as_a_whole(end: bytes) -> None:
    text = encoded(tool_resources={"mcp": [{"headers": HEADERS}]})[:-200] + end
    damaged = text if SECRET.encode() in text else SECRET.encode() + b'"headers"' + end

    found = without_secrets(damaged)

    assert found.startswith(
        b"withheld because it may hold a secret: %d bytes that are no valid JSON, sha256:"
        % len(damaged)
    )
    assert without_secrets(found) == found
    reject = flatten(Payload(found, RunId("run_1")), thread_id=ThreadId("thread_1"))
    assert isinstance(reject, Reject)
    assert SECRET not in reject.payload + reject.detail


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["headers", "mcp", "auth", "Authorization", "a", "type"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(st.sampled_from(["tools", "tool_resources", "required_action", "more"]), JSON)
def test_nothing_below_headers_is_ever_left(name: str, value: Json) -> None:
    planted = {"inner": value, "headers": {"deep": [value, SECRET]}}

    found = cleaned(**{name: [planted, value]})

    assert "headers" not in json.dumps(found[name])


# A source --------------------------------------------------------------------


def page_of(text: bytes) -> Page:
    payloads, _ = open_envelope(b'{"data": [%s], "has_more": false}' % text)
    return Page(
        thread_id=ThreadId("thread_1"),
        after=None,
        payloads=tuple(payloads),
        has_more=False,
        observed_at=Instant(0),
    )


class OnePage:
    """A source of one page, which is also what it retrieves."""

    def __init__(self, **fields: Json) -> None:
        self.traffic = Traffic()
        plain: Json = {"required_action": None, "tool_choice": "auto"}
        self.page = page_of(encoded(**plain | fields))

    def pages(self, thread_id: ThreadId, *, bookmark: Bookmark) -> Iterator[Page]:
        assert (thread_id, bookmark) == ("thread_1", Bookmark())
        yield self.page

    def retrieve(self, thread_id: ThreadId, run_id: RunId) -> tuple[Payload, Instant]:
        assert (thread_id, run_id) == ("thread_1", "run_1")
        return self.page.payloads[0], Instant(0)


def passed_on(source: OnePage) -> Page:
    kept = kept_private(source, Privacy())
    return next(kept.pages(ThreadId("thread_1"), bookmark=Bookmark()))


def passes_untouched(source: OnePage) -> bool:
    pairs = zip(passed_on(source).payloads, source.page.payloads, strict=True)
    return all(passed is sent for passed, sent in pairs)


def test_payloads_that_name_no_credential_are_passed_on_as_they_are() -> None:
    assert passes_untouched(OnePage())


def test_a_published_payload_is_looked_into_for_its_tools_alone() -> None:
    source = OnePage(instructions="headers", metadata={"headers": "h"})

    assert source.page.payloads[0].published is not None
    assert passes_untouched(source)


@pytest.mark.parametrize("name", ["headers", ESCAPED])
def test_credentials_in_published_tools_are_taken_out(name: str) -> None:
    source = OnePage(tools=[{"type": "mcp", "headers": HEADERS}])
    text = source.page.payloads[0].text.replace(b'"headers"', f'"{name}"'.encode())
    source.page = page_of(text)
    assert source.page.payloads[0].published is not None

    [found] = passed_on(source).payloads

    assert SECRET.encode() not in found.text
    assert found.published is None


def test_a_run_that_is_retrieved_is_cleaned_too() -> None:
    source = kept_private(OnePage(mcp={"headers": HEADERS}), Privacy())

    payload, _ = source.retrieve(ThreadId("thread_1"), RunId("run_1"))

    assert SECRET.encode() not in payload.text
