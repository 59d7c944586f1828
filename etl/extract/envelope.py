"""A list answer to its payloads, without believing what is inside them."""

from typing import Any

import msgspec

from etl.domain.errors import ContractError
from etl.extract.brackets import elements, members
from etl.extract.salvage import salvage


class Envelope(msgspec.Struct):
    """`{"object": "list", "data": […], "last_id": …, "has_more": …}`."""

    data: list[msgspec.Raw]
    has_more: Any = None


class Peek(msgspec.Struct):
    """What paging looks at in one run; each of any type, or absent."""

    id: Any = None
    thread_id: Any = None
    created_at: Any = None


class Entry(msgspec.Struct):
    """One payload and what was seen of it."""

    text: bytes
    peek: Peek


PEEKED = (b'"id"', b'"thread_id"', b'"created_at"')

_decode_envelope = msgspec.json.Decoder(Envelope).decode
_decode_peek = msgspec.json.Decoder(Peek).decode

DAMAGE = (
    msgspec.DecodeError,
    msgspec.ValidationError,
    UnicodeDecodeError,
    RecursionError,
)


def open_envelope(body: bytes) -> tuple[list[Entry], bool]:
    """Answer the payloads of one page, and whether more are promised.

    One damaged payload does not spoil the page: where the body cannot be decoded
    as a whole, it is cut at the runs that are whole, and at its brackets. Raises
    ContractError where it is no list answer at all.
    """
    try:
        envelope = _decode_envelope(body)
        texts, has_more = [bytes(raw) for raw in envelope.data], envelope.has_more
    except DAMAGE as error:
        texts, has_more = _take_apart(body, error)
    return [Entry(text, _peek(text)) for text in texts], has_more is True


def _peek(text: bytes) -> Peek:
    try:
        return _decode_peek(text)
    except DAMAGE:
        parts = dict(members(text))
        return Peek(*(_value(parts.get(key)) for key in PEEKED))


def _value(text: bytes | None) -> Any:
    """Decode one member of a damaged payload, or answer None."""
    try:
        return None if text is None else msgspec.json.decode(text)
    except DAMAGE:
        return None


def _take_apart(body: bytes, error: Exception) -> tuple[list[bytes], Any]:
    found = salvage(body)
    if found is not None:
        return found
    parts = dict(members(body))
    data = parts.get(b'"data"', b"")
    is_whole = body.rstrip().endswith(b"}")
    if not (is_whole and data.startswith(b"[") and data.endswith(b"]")):
        message = f"the answer is no list of runs ({_start_of(body)})"
        raise ContractError(message) from error
    return list(elements(data)), parts.get(b'"has_more"') == b"true"


def _start_of(body: bytes) -> str:
    text = " ".join(body[:80].decode("utf-8", "replace").split())
    return f"it begins with {text!r}" if text else "it is empty"
