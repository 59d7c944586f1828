"""Secrets of tools: taken out of every payload before anything else looks at it.

A run repeats the headers that its MCP servers are called with, credentials included
(`tool_resources.mcp[].headers`; look-alikes have them in `tools` as well). Whatever the
privacy settings say, they go no further.
"""

import re
from typing import Any

from msgspec import UNSET

from etl.domain.page import Payload
from etl.transform.cleaning import Cleaner, Rule
from etl.transform.json_text import load
from etl.transform.private_shapes import KNOWN
from etl.transform.treatments import Leaf, Shape, trimmed
from etl.transform.withheld import FOR_A_SECRET

Json = Any
"""A decoded JSON value: None, bool, int, float, str, list or dict."""

SECRETIVE = ("headers", "authorization")
"""How the names of members end that hold credentials, with a capital or without."""

TOOLS = {"tools", "tool_resources", "required_action"}
"""The known members in which tools are described."""

SCHEMAS = {"arguments", "parameters", "spec", "schema", "input_schema", "inputSchema"}
"""Members in which names are not the protocol's: a function's own arguments, or what an
OpenAPI description says of headers."""

AUTH: Shape = {
    "type": Leaf.PLAIN,
    "security_scheme": {"connection_id": Leaf.PLAIN, "audience": Leaf.PLAIN},
}
"""What is published of an OpenAPI tool's `auth`; what else stands there may be a key."""

WORDS = HEADERS, AUTHORIZATION, AUTH_MEMBER = (b"eaders", b"uthorization", b'"auth"')
"""One of them stands in every text that names such a member, unless letters are escaped."""

_find_escaped_letter = re.compile(
    rb"\\u00(?:[46][1-9a-fA-F]|[57][0-9aA])"  # not the backtick, which .NET escapes
).search

MOST_REMEMBERED = 4096
LARGEST_REMEMBERED = 16_384  # bytes; 64 MB at the very most
_suspicions: dict[bytes, bool] = {}


def may_hold_secret(payload: Payload) -> bool:
    """Whether a payload has to be looked into; quick, for most have not.

    What is just as published can hold a secret in its tools alone.
    """
    if payload.published is None:
        return _is_suspicious(payload.text)
    tools = payload.published.tools
    if tools is UNSET:
        return False
    text = bytes(tools)
    known = _suspicions.get(text)
    if known is None:
        known = _is_suspicious(text)
        if len(_suspicions) >= MOST_REMEMBERED:
            _suspicions.clear()
        if len(text) <= LARGEST_REMEMBERED:
            _suspicions[text] = known
    return known


def without_secrets(text: bytes) -> bytes:
    """The text of a payload without credentials; the same bytes where it holds none.

    Never fails: in the place of a damaged text that names such a member stands a
    sentence that tells its size and digest.
    """
    if not _is_suspicious(text):
        return text
    cleaned = _cleaner.clean(text)
    return text if _tells_as_much(text, cleaned) else cleaned


def _is_suspicious(text: bytes) -> bool:
    if HEADERS in text or AUTHORIZATION in text or AUTH_MEMBER in text:
        return True
    return b"\\u00" in text and _find_escaped_letter(text) is not None


def _tells_as_much(text: bytes, cleaned: bytes) -> bool:
    """Whether nothing was taken out, be it a member that the text tells twice."""
    if _find_escaped_letter(text):
        return False
    if any(text.count(word) != cleaned.count(word) for word in WORDS):
        return False
    try:
        return bool(load(text) == load(cleaned))
    except (ValueError, RecursionError):
        return False


def _stripped(value: Json) -> Json:
    """A value without the members that hold credentials, however deep."""
    if isinstance(value, list):
        return [_stripped(each) for each in value]
    if not isinstance(value, dict):
        return value
    return {
        name: _stripped_member(name, member)
        for name, member in value.items()
        if not name.lower().endswith(SECRETIVE)
    }


def _stripped_member(name: str, member: Json) -> Json:
    if name in SCHEMAS:
        return member
    if name == "auth" and isinstance(member, dict):
        return trimmed(member, AUTH, lambda _: UNSET)
    return _stripped(member)


def _omitted(_: Json) -> Json:
    return UNSET


def _rule_of(name: str) -> Rule | None:
    """What is done to a member of a payload; what people write into a run stays theirs."""
    if name in KNOWN and name not in TOOLS:
        return None
    return _omitted if name.lower().endswith(SECRETIVE) else _stripped


_cleaner = Cleaner(_rule_of, key=b"", because=FOR_A_SECRET)
