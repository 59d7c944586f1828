"""The sentence that stands in the place of a payload that cannot be cleaned."""

import hmac
import re
from hashlib import sha256

from etl.transform.treatments import MARK

NO_JSON = "that are no valid JSON"
NO_OBJECT = "of JSON that are no object"
TOO_DEEP = "of JSON, nested too deep"
UNREADABLE = "of JSON with a number too long to be read"

BY_THE_SETTINGS = b"withheld by the privacy settings: "
FOR_A_SECRET = b"withheld because it may hold a secret: "
_is_withheld = re.compile(
    rb'("?)(?:'
    + BY_THE_SETTINGS
    + b"|"
    + FOR_A_SECRET
    + rb")[0-9]+ bytes [A-Za-z ,]+, (?:hmac-)?sha256:[0-9a-f]{64}\1"
).fullmatch


def withheld(
    text: bytes, why: str, *, key: bytes, because: bytes = BY_THE_SETTINGS
) -> bytes:
    """Tell a text's size and digest, keyed where there is a key.

    The digest keeps distinct texts distinct. What was JSON becomes a JSON text, so
    that the quarantine's reason does not say otherwise.
    """
    name = MARK + hmac.digest(key, text, "sha256").hex() if key else _plain(text)
    sentence = because + f"{len(text)} bytes {why}, {name}".encode()
    return sentence if why == NO_JSON else b'"' + sentence + b'"'


def is_withheld(text: bytes) -> bool:
    """Whether a text is such a sentence already."""
    return _is_withheld(text) is not None


def _plain(text: bytes) -> str:
    return "sha256:" + sha256(text).hexdigest()
