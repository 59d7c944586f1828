"""What can be a thread's id: one rule for people, files, queries and lists."""

from typing import Any
from uuid import UUID

from etl.domain.run import ThreadId

MOST_CHARACTERS = 256
STEPS = {".", ".."}
"""In an address they would lead elsewhere."""


def is_thread_id(text: str) -> bool:
    """Whether a text, without blanks around it, can be a thread's id."""
    is_short = 0 < len(text) <= MOST_CHARACTERS
    return is_short and text.isprintable() and text not in STEPS


def as_thread_id(value: Any) -> ThreadId | None:
    """The id that a database's or a server's value is; None where it is none."""
    if isinstance(value, bool) or not isinstance(value, str | int | UUID):
        return None
    text = str(value).strip()
    return ThreadId(text) if is_thread_id(text) else None
