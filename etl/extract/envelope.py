"""A list answer to its payloads, without believing what is inside them."""

import re
from collections.abc import Sequence
from typing import Any

import msgspec

from etl.domain.errors import ContractError
from etl.domain.page import Payload
from etl.domain.published import PublishedRun, is_plain
from etl.domain.run import RunId, ThreadId
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


class PublishedPage(msgspec.Struct):
    """The same envelope, where all payloads are just what is published."""

    data: list[PublishedRun]
    has_more: Any = None


class Glance(msgspec.Struct):
    """The same envelope, as far as paging looks into it."""

    data: list[Peek]


PEEKED = (b'"id"', b'"thread_id"', b'"created_at"')

NO_INSTANT = 2**63
"""From here on a number is no instant, whatever its unit."""

ERROR = re.compile(r'\{ ?"(error|detail|message)"')
BEFORE_VALUES = re.compile(r"[^{\[]*[{\[]?[^{\[:]*")

_decode_envelope = msgspec.json.Decoder(Envelope).decode
_decode_published = msgspec.json.Decoder(PublishedPage).decode
_decode_glance = msgspec.json.Decoder(Glance).decode
_decode_peek = msgspec.json.Decoder(Peek).decode

DAMAGE = (
    msgspec.DecodeError,
    msgspec.ValidationError,
    UnicodeDecodeError,
    RecursionError,
)


def open_envelope(body: bytes, *, of: str = "runs") -> tuple[list[Payload], bool]:
    """Answer the payloads of one page `of` something, and whether more are promised.

    One damaged payload does not spoil the page: where the body cannot be decoded
    as a whole, it is cut at the runs that are whole, and at its brackets. Raises
    ContractError where it is no list answer at all.
    """
    if is_plain(body):
        try:
            return _published(body)
        except DAMAGE:
            pass  # the body, or just one payload, is not what is published
    try:
        envelope = _decode_envelope(body)
        texts, has_more = list(map(bytes, envelope.data)), envelope.has_more
    except DAMAGE as error:
        texts, has_more = _take_apart(body, error, of)
    return list(map(_payload, texts, _peeks(body, texts))), has_more is True


class _Texts:
    """The texts of a page, cut out of its body when one is asked for."""

    def __init__(self, body: bytes) -> None:
        self._body = body
        self._texts: list[bytes] | None = None

    def __getitem__(self, place: int) -> bytes:
        if self._texts is None:
            self._texts = list(map(bytes, _decode_envelope(self._body).data))
        return self._texts[place]


def _published(body: bytes) -> tuple[list[Payload], bool]:
    page, texts = _decode_published(body), _Texts(body)
    payloads = [
        Payload(texts, RunId(run.id), ThreadId(run.thread_id), run.created_at, run, place)
        for place, run in enumerate(page.data)
    ]
    return payloads, page.has_more is True


def id_of(value: object) -> str | None:
    """Read an id; look-alikes also send integers."""
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if not isinstance(value, str) or "\0" in value:  # which Postgres cannot store
        return None
    return value or None


def payload_of(text: bytes) -> Payload:
    """One object by itself as a payload, whatever it holds."""
    return _payload(text, _peek(text))


def _payload(text: bytes, peek: Peek) -> Payload:
    run_id, thread_id, created_at = id_of(peek.id), id_of(peek.thread_id), peek.created_at
    if not isinstance(created_at, int | float) or not 0 < created_at < NO_INSTANT:
        created_at = None
    return Payload(
        text,
        RunId(run_id) if run_id else None,
        ThreadId(thread_id) if thread_id else None,
        created_at,
    )


def _peeks(body: bytes, texts: Sequence[bytes]) -> Sequence[Peek]:
    """Look into all payloads at once, or into each by itself."""
    try:
        return _decode_glance(body).data
    except DAMAGE:
        return [_peek(text) for text in texts]


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


def _take_apart(body: bytes, error: Exception, of: str) -> tuple[list[bytes], Any]:
    found = salvage(body)
    if found is not None:
        return found
    parts = dict(members(body))
    data = parts.get(b'"data"', b"")
    is_whole = body.rstrip().endswith(b"}")
    if not (is_whole and data.startswith(b"[") and data.endswith(b"]")):
        message = f"the answer is no list of {of} ({_start_of(body)})"
        raise ContractError(message) from error
    return list(elements(data)), parts.get(b'"has_more"') == b"true"


def _start_of(body: bytes) -> str:
    """The start of what is no list; of JSON that may hold a payload, its first key."""
    text = " ".join(body[:80].decode("utf-8", "replace").split())
    if not ERROR.match(text):
        text = BEFORE_VALUES.match(text)[0]  # type: ignore[index]  # matches any text
    return f"it begins with {text!r}" if text else "it is empty"
