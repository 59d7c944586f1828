"""Rules for members, applied to the text of a payload, whatever that is."""

import json
from collections.abc import Callable
from contextlib import suppress
from functools import lru_cache
from typing import Any

import msgspec
from msgspec import UNSET, Raw, UnsetType

from etl.transform.json_text import load
from etl.transform.withheld import (
    BY_THE_SETTINGS,
    NO_JSON,
    NO_OBJECT,
    TOO_DEEP,
    UNREADABLE,
    is_withheld,
    withheld,
)

Json = Any
"""A decoded JSON value: None, bool, int, float, str, list or dict."""

Rule = Callable[[Json], Json]
"""Answers what stands in a member's place; UNSET where nothing does."""

REPEATED = {"instructions", "tools", "tool_resources", "truncation_strategy"}
"""Members that most runs have in common: each text of them is cleaned once."""

MOST_REMEMBERED = 1024
LARGEST_REMEMBERED = 16_384  # bytes; 16 MB at the very most

UNUSUAL = (
    msgspec.DecodeError,
    msgspec.ValidationError,
    UnicodeDecodeError,
    RecursionError,
)

_decode_members = msgspec.json.Decoder(dict[str, Raw]).decode
_decode = msgspec.json.Decoder().decode
_encode = msgspec.json.Encoder().encode


class Cleaner:
    """Cleans payloads by a rule for each member, found by its name.

    A member without a rule passes as it came. `because` begins the sentence that
    stands for a text that cannot be cleaned.
    """

    def __init__(
        self,
        rule_of: Callable[[str], Rule | None],
        *,
        key: bytes,
        because: bytes = BY_THE_SETTINGS,
    ) -> None:
        self._rule = rule_of
        self._key = key
        self._because = because
        self._cleaned_once = lru_cache(MOST_REMEMBERED)(_apply)

    def clean(self, text: bytes) -> bytes:
        """Answer the cleaned text of a payload.

        Never fails: in the place of a text that cannot be cleaned stands a sentence
        that tells its size and digest.
        """
        try:
            return self._clean_strictly(text)
        except UNUSUAL:
            cleaned = self._clean_leniently(text)
        with suppress(*UNUSUAL):  # what was unusual may be gone now
            return self._clean_strictly(cleaned)
        return cleaned

    def _clean_strictly(self, text: bytes) -> bytes:
        """Decode what has a rule; of a member that is told twice the last one counts."""
        members: dict[str, Any] = _decode_members(text)
        for name, raw in list(members.items()):
            rule = self._rule(name)
            if rule is not None:
                is_short = len(raw) <= LARGEST_REMEMBERED
                clean = self._cleaned_once if name in REPEATED and is_short else _apply
                _put(members, name, clean(rule, bytes(raw)))
        return _encode(members)

    def _clean_leniently(self, text: bytes) -> bytes:
        """Decode all, with what JSON does not know: lone surrogates, NaN, Infinity."""
        try:
            members = load(text)
            if not isinstance(members, dict):
                return self._withheld(text, NO_OBJECT)
            for name, value in list(members.items()):
                rule = self._rule(name)
                if rule is not None:
                    _put(members, name, rule(value))
            return json.dumps(members, separators=(",", ":")).encode()
        except RecursionError:
            return self._withheld(text, TOO_DEEP)
        except (json.JSONDecodeError, UnicodeDecodeError):
            return self._withheld(text, NO_JSON)
        except ValueError:  # a number of more than 4,300 digits
            return self._withheld(text, UNREADABLE)

    def _withheld(self, text: bytes, why: str) -> bytes:
        if is_withheld(text):
            return text
        return withheld(text, why, key=self._key, because=self._because)


def _apply(rule: Rule, text: bytes) -> Raw | UnsetType:
    left = rule(_decode(text))
    return UNSET if left is UNSET else Raw(_encode(left))


def _put(members: dict[str, Any], name: str, value: Json) -> None:
    if value is UNSET:
        del members[name]
    else:
        members[name] = value
