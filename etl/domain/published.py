"""The run object as its publisher describes it: what most payloads are, read at once."""

import re
from typing import Annotated, Any

import msgspec
from msgspec import UNSET, Meta, Raw, UnsetType

BIGINT = 2**63
# A count of seconds is below this until the year 5138; larger numbers are
# milliseconds, microseconds or nanoseconds (WIRE: myla, hal-9100, DashScope).
MOST_SECONDS = 10**11

Seconds = Annotated[int, Meta(gt=0, lt=MOST_SECONDS)]
Count = Annotated[int, Meta(ge=-BIGINT, le=BIGINT - 1)]
Real = Annotated[float, Meta(ge=-1e6, le=1e6)]
"""Where every whole number is a float exactly."""


class Part(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """A part of the run object in which nothing else may stand."""


class Cached(Part):
    """`usage.prompt_token_details`."""

    cached_tokens: Count


class Reasoning(Part):
    """`usage.completion_tokens_details`."""

    reasoning_tokens: Count


class Usage(Part):
    """`usage`, in tokens."""

    prompt_tokens: Count
    completion_tokens: Count
    total_tokens: Count
    prompt_token_details: Cached | UnsetType = UNSET
    completion_tokens_details: Reasoning | UnsetType = UNSET


class Truncation(Part):
    """`truncation_strategy`."""

    type: str
    last_messages: Count | None = None


class LastError(Part):
    """`last_error`."""

    code: str
    message: str


class Incomplete(Part):
    """`incomplete_details`."""

    reason: str


class Files(Part):
    """`tool_resources.code_interpreter`."""

    file_ids: list[str]


class Stores(Part):
    """`tool_resources.file_search`."""

    vector_store_ids: list[str]


class Resources(Part):
    """`tool_resources`."""

    code_interpreter: Files | UnsetType = UNSET
    file_search: Stores | UnsetType = UNSET


class PublishedRun(Part):
    """A run object as OpenAI sent it in 2026 (WIRE: the run object)."""

    id: Annotated[str, Meta(min_length=1)]
    object: str
    created_at: Seconds
    thread_id: Annotated[str, Meta(min_length=1)]
    status: str
    assistant_id: str | None = None
    model: str | None = None
    started_at: Seconds | None = None
    expires_at: Seconds | None = None
    cancelled_at: Seconds | None = None
    failed_at: Seconds | None = None
    completed_at: Seconds | None = None
    required_action: None = None
    last_error: LastError | None = None
    incomplete_details: Incomplete | None = None
    instructions: str | None = None
    tools: Raw | UnsetType = UNSET
    tool_resources: Resources | None = None
    metadata: dict[str, str] | None = None
    usage: Usage | None = None
    temperature: Real | None = None
    top_p: Real | None = None
    max_prompt_tokens: Count | None = None
    max_completion_tokens: Count | None = None
    truncation_strategy: Truncation | None = None
    response_format: str | dict[str, Any] | None = None
    tool_choice: str | None = None
    parallel_tool_calls: bool | None = None
    reasoning_effort: str | None = None


_find_escape = re.compile(rb"\\u(?:0000|[dD])").search


def is_plain(text: bytes) -> bool:
    """Whether a text surely escapes no NUL character and no surrogate."""
    return _find_escape(text) is None
