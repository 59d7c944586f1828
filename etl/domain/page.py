"""One API answer, before anything in it is believed."""

from dataclasses import dataclass

from etl.domain.run import Instant, RunId, ThreadId


@dataclass(frozen=True, slots=True)
class Payload:
    """One JSON object as received.

    `text` is what the server sent for it, byte for byte; `run_id` is its id if
    one could be read.
    """

    text: bytes
    run_id: RunId | None

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
