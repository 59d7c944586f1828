"""One API answer, before anything in it is believed."""

from dataclasses import dataclass
from hashlib import sha256
from typing import NamedTuple

from etl.domain.run import Instant, RunId, ThreadId


class Payload(NamedTuple):
    """One JSON object as received, and what could be read of it at a glance.

    `text` is what the server sent for it, byte for byte. `created_at` is in the
    server's unit, whatever that is.
    """

    text: bytes
    run_id: RunId | None
    thread_id: ThreadId | None = None
    created_at: float | None = None

    @property
    def key(self) -> RunId | bytes:
        """What tells one payload from another: its id, or all of its text."""
        return self.run_id or sha256(self.text).digest()

    @property
    def second(self) -> int | None:
        """When it was created, without what is less than the server's unit."""
        return None if self.created_at is None else int(self.created_at)

    def readable(self) -> str:
        """The text as Postgres can store it: exact where it is UTF-8."""
        return self.text.decode("utf-8", "backslashreplace").replace("\0", "\\u0000")


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """One answer to list-runs of `thread_id`, oldest run first.

    `after` is the cursor it was asked with; `observed_at` is the instant the
    request was sent, on the database's clock: what the page says was true then
    or later.
    """

    thread_id: ThreadId
    after: RunId | None
    payloads: tuple[Payload, ...]
    has_more: bool
    observed_at: Instant
