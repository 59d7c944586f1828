"""JSON text in and out, in one place, so that both ways agree."""

import json
from typing import Any

import msgspec

_decode = msgspec.json.Decoder().decode


def load(text: str | bytes) -> Any:
    """Decode one JSON value.

    Raises ValueError (JSONDecodeError where it is not JSON, UnicodeDecodeError
    where it is not UTF-8) and RecursionError where it is nested too deep. msgspec
    is strict and quick; what it refuses is given to the standard library, which
    also takes lone surrogates, NaN and Infinity, so that the caller can say what
    is wrong with them.
    """
    try:
        return _decode(text)
    except (msgspec.DecodeError, msgspec.ValidationError, UnicodeDecodeError):
        return json.loads(text if isinstance(text, str) else text.decode())


def dump(value: Any) -> str:
    """Encode a value as compact JSON text.

    Raises ValueError for NaN and infinities, which JSON and Postgres do not know.
    """
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def canonical(value: Any) -> bytes:
    """Encode a value so that equal values give equal bytes, whatever their key order."""
    text = json.dumps(
        value, ensure_ascii=True, allow_nan=False, separators=(",", ":"), sort_keys=True
    )
    return text.encode()
