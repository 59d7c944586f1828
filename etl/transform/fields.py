"""Which part of a payload goes to which column: the one table both ways read."""

from dataclasses import dataclass

from etl.transform.kinds import (
    FLAG,
    INSTANT,
    INTEGER,
    OBJECT,
    REAL,
    TEXT,
    TEXTS,
    Kind,
)


@dataclass(frozen=True, slots=True)
class Field:
    """One column and the place of its value in the payload.

    A `derived` column repeats a part of a value that another column keeps whole;
    it is read, and left out of the way back.
    """

    column: str
    path: tuple[str, ...]
    kind: Kind
    derived: bool = False


def _field(column: str, kind: Kind, path: str = "", *, derived: bool = False) -> Field:
    return Field(column, tuple((path or column).split(".")), kind, derived)


RUN_FIELDS = (
    _field("assistant_id", TEXT),
    _field("status", TEXT),
    _field("model", TEXT),
    _field("created_at", INSTANT),
    _field("started_at", INSTANT),
    _field("expires_at", INSTANT),
    _field("cancelled_at", INSTANT),
    _field("failed_at", INSTANT),
    _field("completed_at", INSTANT),
    _field("prompt_tokens", INTEGER, "usage.prompt_tokens"),
    _field("completion_tokens", INTEGER, "usage.completion_tokens"),
    _field("total_tokens", INTEGER, "usage.total_tokens"),
    _field("cached_prompt_tokens", INTEGER, "usage.prompt_token_details.cached_tokens"),
    _field("reasoning_tokens", INTEGER, "usage.completion_tokens_details.reasoning_tokens"),
    _field("truncation_type", TEXT, "truncation_strategy.type"),
    _field("truncation_last_messages", INTEGER, "truncation_strategy.last_messages"),
    _field("max_prompt_tokens", INTEGER),
    _field("max_completion_tokens", INTEGER),
    _field("temperature", REAL),
    _field("top_p", REAL),
    _field("parallel_tool_calls", FLAG),
    _field("reasoning_effort", TEXT),
    _field("response_format_type", TEXT, "response_format"),
    _field("response_format_type", TEXT, "response_format.type", derived=True),
    _field("response_format", OBJECT),
    _field("tool_choice_type", TEXT, "tool_choice"),
    _field("tool_choice_type", TEXT, "tool_choice.type", derived=True),
    _field("tool_choice_function", TEXT, "tool_choice.function.name", derived=True),
    _field("tool_choice", OBJECT),
    _field("last_error_code", TEXT, "last_error.code"),
    _field("last_error_message", TEXT, "last_error.message"),
    _field("incomplete_reason", TEXT, "incomplete_details.reason"),
    _field("required_action_type", TEXT, "required_action.type", derived=True),
    _field("required_action", OBJECT),
    _field("code_interpreter_file_ids", TEXTS, "tool_resources.code_interpreter.file_ids"),
    _field(
        "file_search_vector_store_ids",
        TEXTS,
        "tool_resources.file_search.vector_store_ids",
    ),
    _field("metadata", OBJECT),
)
"""A later field of the same column fills it only where an earlier one left it empty."""

TOOL_FIELDS = (
    _field("tool_type", TEXT, "type"),
    _field("function_name", TEXT, "function.name"),
    _field("description", TEXT, "function.description"),
    _field("strict", FLAG, "function.strict"),
    _field("parameters", OBJECT, "function.parameters"),
)

OBJECT_NAME = "thread.run"
"""The value of `object`; it has no column, and any other value goes to `extra`."""
