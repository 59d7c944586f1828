"""What an object is, by its first members: a thing of its own, or a box of things."""

import re
from enum import Enum
from typing import Any

import msgspec

from etl.domain.published import PublishedRun
from etl.extract.archive.grammar import COMPOSITE, HEAD, LAST_SCALAR


class Kind(Enum):
    """What to do with an object."""

    RECORD = "a thing of its own"
    BOX = "a list answer, or whatever else holds things"
    UNCLEAR = "to be looked at as a whole"


BOXES = frozenset(
    {"data", "runs", "items", "pages", "threads", "results", "records", "response", "body"}
)
"""Members that hold what is looked for, in list answers and in dumps of SDKs."""

RECORDS = frozenset(PublishedRun.__struct_fields__) | {
    "file_ids",
    "error",
    "detail",
    "content",
    "attachments",
    "step_details",
}
"""Members of runs, messages, run steps and errors that may come before their id."""

TELLING = frozenset({"id", "thread_id", "assistant_id", "run_id", "runtide_export"})
"""Members that a thing of its own begins with; the last is a manifest's."""

RUN = frozenset({"id", "status", "created_at"})
"""What tells a run from other things."""

_begins_with_id = re.compile(rb'\{\s*+"id"\s*+:\s*+"(?:run|msg|step|asst|file)_').match
_holds_runs = re.compile(rb'"(?:runs|data)"\s*+:\s*+[\[{]').search
_decode = msgspec.json.Decoder(dict[str, Any]).decode
_decode_members = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


def kind_at(buffer: bytes, place: int) -> Kind | None:
    """What the object at a place is; None where its first members are not all there."""
    if _begins_with_id(buffer, place):
        return Kind.RECORD
    head = HEAD.match(buffer, place)
    if head is None:
        return None
    composite = COMPOSITE.match(buffer, head.end())
    if composite is None:
        return Kind.RECORD if LAST_SCALAR.match(buffer, head.end()) else None
    return _judged(head.group(), composite[1])


def _judged(head: bytes, composite: bytes) -> Kind:
    try:
        told = _decode(head.rstrip(b", \t\r\n") + b"}")
        key = msgspec.json.decode(composite, type=str)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return Kind.RECORD  # damaged; whoever decodes it will say so
    if told.keys() >= RUN:
        return Kind.RECORD
    if key in BOXES or told.get("object") == "list":
        return Kind.BOX
    if told.get("object") == "thread":
        return Kind.UNCLEAR
    if "object" in told or key in RECORDS or TELLING & told.keys():
        return Kind.RECORD
    return Kind.UNCLEAR


def is_box(text: bytes) -> bool:
    """Whether a whole object, unclear by its first members, holds other things.

    What is damaged does: then the damage costs only one of them.
    """
    try:
        members = _decode_members(text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return True
    if members.keys() >= RUN:
        return False
    if "object" in members:
        return _holds_runs(text) is not None
    return any(bytes(value)[:1] in {b"[", b"{"} for value in members.values())
