"""One API answer, before anything in it is believed."""

from dataclasses import dataclass
from hashlib import sha256
from typing import NamedTuple, Protocol, Self

from etl.domain.published import PublishedRun
from etl.domain.run import Instant, RunId, ThreadId


class Texts(Protocol):
    """The texts of a page's payloads, by their place."""

    def __getitem__(self, place: int, /) -> bytes: ...


class Payload(NamedTuple):
    """One JSON object as received, and what could be read of it at a glance.

    `source` is its text, or the texts of its page, for most are never asked for.
    `created_at` is in the server's unit, whatever that is. `published` is the whole
    of it, where it is just what the publisher describes.
    """

    source: bytes | Texts
    run_id: RunId | None
    thread_id: ThreadId | None = None
    created_at: float | None = None
    published: PublishedRun | None = None
    place: int = 0

    @property
    def text(self) -> bytes:
        """What the server sent for it, byte for byte."""
        return self.source if isinstance(self.source, bytes) else self.source[self.place]

    def as_text(self) -> Self:
        """The same without `published`, which holds more than the text does."""
        return type(self)(
            self.source, self.run_id, self.thread_id, self.created_at, None, self.place
        )

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
