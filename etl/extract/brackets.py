"""Cut JSON text at its brackets, without decoding what lies between them."""

import re
from collections.abc import Iterator

TOKEN = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"|[\[\]{},:]|[^\s"\[\]{},:]++', re.DOTALL)
"""Possessive, so that a text of 50 MB is gone over once."""


def members(body: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Cut an object into its keys and the texts of their values."""
    for text in elements(body):
        key = TOKEN.match(text)
        if key is None:
            continue
        _, _, value = text[key.end() :].partition(b":")
        yield key.group(), value.strip()


def elements(body: bytes) -> Iterator[bytes]:
    """Cut an object or array at the commas of its own level, however deep it nests."""
    depth, start = 0, 0
    for token in TOKEN.finditer(body):
        sign = token.group()
        if sign in {b"[", b"{"}:
            depth += 1
            start = token.end() if depth == 1 else start
        elif sign in {b"]", b"}"}:
            depth -= 1
        if (sign == b"," and depth == 1) or depth == 0:
            element = body[start : token.start()].strip()
            start = token.end()
            if element:
                yield element
        if depth <= 0:
            return
