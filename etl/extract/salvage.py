"""A page with a payload that was cut off: find the whole runs around the damage.

Brackets may not pair on such a page, so it cannot be cut at them alone. But where
the envelope itself is whole, a payload ends at the latest where the next whole run
begins.
"""

import json
import re
from collections.abc import Iterator
from typing import Any

from etl.extract.brackets import elements

RUN = {"id", "created_at", "status"}
"""What tells a run from other objects."""

MOST_TRIES = 10_000
"""Places where a run may begin that are looked at on one page."""

ENVELOPE = re.compile(
    rb"""\A\s*\{ (?: \s* "[^"\\]*" \s*:\s* (?:"[^"\\]*"|null|true|false) \s*, )*
    \s* "data" \s*:\s* \[ (?P<data>.*) \]
    (?P<rest> (?: \s*,\s* "[^"\\]*" \s*:\s* (?:"[^"\\]*"|null|true|false) )* )
    \s* \} \s* \Z""",
    re.VERBOSE | re.DOTALL,
)
HAS_MORE = re.compile(rb'"has_more"\s*:\s*(true|false)')
NEXT_RUN = re.compile(r",\s*(?=\{)")
NEXT = re.compile(r"\s*(?:,\s*|\Z)")

_decode = json.JSONDecoder().raw_decode


def salvage(body: bytes) -> tuple[list[bytes], bool] | None:
    """Answer the payloads of a damaged page, and whether more are promised.

    Answers None where the envelope is not whole: only its `has_more`, behind the
    data, proves that the body itself was not cut off.
    """
    found = ENVELOPE.match(body)
    has_more = found and HAS_MORE.search(found["rest"])
    if not (found and has_more):
        return None
    # As Latin-1 every byte is one character, so that places in both agree.
    pieces = _pieces(found["data"].decode("latin-1").strip())
    return list(pieces), has_more[1] == b"true"


def _pieces(text: str) -> Iterator[bytes]:
    tries = iter(range(MOST_TRIES))
    place = 0
    while place < len(text):
        _, end = _value_at(text, place)
        if end:
            yield text[place:end].encode("latin-1")
        else:
            end = _next_run(text, place, tries)
            yield from _damaged(text[place:end].rstrip().encode("latin-1"))
        separator = NEXT.match(text, end)
        place = separator.end() if separator else end


def _damaged(piece: bytes) -> list[bytes]:
    """What cannot be decoded: several payloads where its brackets pair, or one."""
    parts = list(elements(b"[" + piece + b"]"))
    is_all = _without_spaces(b",".join(parts)) == _without_spaces(piece)
    return parts if is_all else [piece]


def _without_spaces(text: bytes) -> bytes:
    return b"".join(text.split())


def _next_run(text: str, place: int, tries: Iterator[int]) -> int:
    """Where the damaged payload at a place ends: before the next run that is whole."""
    for comma in NEXT_RUN.finditer(text, place):
        if next(tries, None) is None:
            break
        value, end = _value_at(text, comma.end())
        if end and isinstance(value, dict) and value.keys() >= RUN:
            return comma.start()
    return len(text)


def _value_at(text: str, place: int) -> tuple[Any, int]:
    """The JSON value at a place and its end; 0 where there is none with an end."""
    try:
        value, end = _decode(text, place)
    except (ValueError, RecursionError):
        return None, 0
    return value, end if NEXT.match(text, end) else 0
