"""A run as the tables keep it: one flat value, and the dictionaries it points to."""

from enum import Enum
from typing import NamedTuple, NewType, TypeAlias
from uuid import UUID

RunId = NewType("RunId", str)
ThreadId = NewType("ThreadId", str)

Instant = NewType("Instant", int)
"""Microseconds since 1970-01-01 UTC."""

JsonText: TypeAlias = str
"""A JSON value as text that Postgres accepts as jsonb."""

SECOND = 1_000_000
"""One second of `Instant`, in microseconds."""

DAY = 86_400 * SECOND

TERMINAL = frozenset({"completed", "failed", "cancelled", "expired", "incomplete"})
"""Statuses that will not change (the API reference, "Run lifecycle")."""


def is_terminal(status: str) -> bool:
    """Whether a run of this status has ended; an unknown status may still change."""
    return status in TERMINAL


class Instructions(NamedTuple):
    """One distinct text; runs point to it by its digest."""

    instructions_id: UUID
    body: str


class Tool(NamedTuple):
    """One entry of a tool list; `settings` is what the other columns do not hold."""

    position: int
    tool_type: str | None
    function_name: str | None
    description: str | None
    strict: bool | None
    parameters: JsonText | None
    settings: JsonText | None


class ToolSet(NamedTuple):
    """One distinct tool list; runs point to it by its digest."""

    tool_set_id: UUID
    tools: tuple[Tool, ...]


class Run(NamedTuple):
    """One run, field for column of `run_history.runs`; None where nothing was said.

    Instants are microseconds, usage counts are tokens (`prompt_tokens` includes
    the cached ones, `completion_tokens` the reasoning ones). `extra` holds every
    part of the payload that the other fields would not give back.
    """

    run_id: RunId
    thread_id: ThreadId
    assistant_id: str | None
    status: str
    model: str | None
    created_at: Instant
    started_at: Instant | None
    expires_at: Instant | None
    cancelled_at: Instant | None
    failed_at: Instant | None
    completed_at: Instant | None
    prompt_tokens: int | None
    completion_tokens: int | None
    total_tokens: int | None
    cached_prompt_tokens: int | None
    reasoning_tokens: int | None
    truncation_type: str | None
    truncation_last_messages: int | None
    max_prompt_tokens: int | None
    max_completion_tokens: int | None
    temperature: float | None
    top_p: float | None
    parallel_tool_calls: bool | None
    reasoning_effort: str | None
    response_format_type: str | None
    response_format: JsonText | None
    tool_choice_type: str | None
    tool_choice_function: str | None
    tool_choice: JsonText | None
    last_error_code: str | None
    last_error_message: str | None
    incomplete_reason: str | None
    required_action_type: str | None
    required_action: JsonText | None
    instructions: Instructions | None
    tool_set: ToolSet | None
    code_interpreter_file_ids: tuple[str, ...] | None
    file_search_vector_store_ids: tuple[str, ...] | None
    metadata: JsonText | None
    extra: JsonText | None

    @property
    def is_open(self) -> bool:
        """Whether the run may still change."""
        return not is_terminal(self.status)

    @property
    def deadline(self) -> Instant:
        """The instant by which the run should have ended."""
        return self.expires_at or Instant(self.created_at + DAY)


class RejectReason(Enum):
    """Why a payload could not become a run."""

    NOT_JSON = "the payload is not valid JSON"
    NOT_AN_OBJECT = "the payload is not a JSON object"
    TOO_DEEP = "the payload is nested too deep"
    NO_ID = "the payload has no usable id"
    NO_THREAD = "the payload names no thread"
    NO_CREATED_AT = "created_at is missing or is no instant"
    NO_STATUS = "status is missing or is no text"
    UNSTORABLE_TEXT = "the payload holds text that Postgres cannot store"
    UNSTORABLE_NUMBER = "the payload holds a number that cannot be stored"
    REFUSED = "the database refused the run"


class Reject(NamedTuple):
    """A payload that cannot become a run, kept as it came."""

    thread_id: ThreadId
    run_id: RunId | None
    payload: str
    reason: RejectReason
    detail: str = ""

    @property
    def created_at(self) -> Instant | None:
        """Unknown: a reject is not looked into."""
        return None

    @property
    def is_open(self) -> bool:
        """Never: the payload is safe in quarantine."""
        return False

    @property
    def deadline(self) -> Instant | None:
        """None: it is not waited for."""
        return None
