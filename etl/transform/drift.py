"""What a run shows that the published schema does not know."""

from collections.abc import Iterator
from functools import lru_cache
from typing import Any

from etl.domain.drift import Drift, DriftKind
from etl.domain.run import Run
from etl.transform.fields import RUN_FIELDS
from etl.transform.json_text import load

KNOWN_VALUES = {
    "status": {
        "queued",
        "in_progress",
        "requires_action",
        "cancelling",
        "cancelled",
        "failed",
        "completed",
        "incomplete",
        "expired",
    },
    "truncation_type": {"auto", "last_messages"},
    "incomplete_reason": {"max_completion_tokens", "max_prompt_tokens"},
    "last_error_code": {"server_error", "rate_limit_exceeded", "invalid_prompt"},
    "required_action_type": {"submit_tool_outputs"},
    "response_format_type": {"auto", "text", "json_object", "json_schema"},
    "tool_choice_type": {
        "none",
        "auto",
        "required",
        "function",
        "code_interpreter",
        "file_search",
    },
    "reasoning_effort": {"none", "minimal", "low", "medium", "high"},
}
"""Columns with a closed list of values in the official schema (openai-openapi)."""

KNOWN_TOOL_TYPES = {"code_interpreter", "file_search", "function"}

PATHS = {field.column: ".".join(field.path) for field in RUN_FIELDS if not field.derived}
PATHS["required_action_type"] = "required_action.type"
KNOWN_PATHS = {*PATHS.values(), "id", "object", "thread_id", "instructions", "tools"}
WITHOUT_COLUMN = {"file_ids"}
"""Known, and kept in `extra`: v1's field, which v2 replaced."""

CONTAINERS = {
    ".".join(field.path[:depth])
    for field in RUN_FIELDS
    for depth in range(1, len(field.path))
}

LONGEST_VALUE = 80


def drift_of(run: Run) -> Iterator[Drift]:
    """Name every unknown field, value and type that a run shows."""
    for column, known in KNOWN_VALUES.items():
        value = getattr(run, column)
        if value is not None and value not in known:
            yield _unknown_value(PATHS[column], value, run)
    for tool in run.tool_set.tools if run.tool_set else ():
        if tool.tool_type is not None and tool.tool_type not in KNOWN_TOOL_TYPES:
            yield _unknown_value("tools[].type", tool.tool_type, run)
    if run.extra is not None:
        for path, kind, value in _left_over(run.extra):
            yield Drift(path, kind, value, run.run_id)


def _unknown_value(path: str, value: str, run: Run) -> Drift:
    return Drift(path, DriftKind.UNKNOWN_VALUE, value[:LONGEST_VALUE], run.run_id)


@lru_cache(4096)
def _left_over(extra: str) -> tuple[tuple[str, DriftKind, str], ...]:
    return tuple(_described(load(extra), ""))


def _described(rest: dict[str, Any], above: str) -> Iterator[tuple[str, DriftKind, str]]:
    for key, value in rest.items():
        path = f"{above}{key}"[:LONGEST_VALUE]
        if value is None or path in WITHOUT_COLUMN:
            continue
        if path in CONTAINERS and isinstance(value, dict):
            yield from _described(value, f"{path}.")
        elif path in KNOWN_PATHS or path in CONTAINERS:
            yield path, DriftKind.UNEXPECTED_TYPE, _type_of(value)
        else:
            yield path, DriftKind.UNKNOWN_FIELD, _type_of(value)


def _type_of(value: Any) -> str:
    """The JSON name of a value's type."""
    names = {bool: "boolean", int: "integer", float: "number", str: "string", list: "array"}
    return names.get(type(value), "object")
