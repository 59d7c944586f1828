"""What a run shows that no published schema knows: neither OpenAI's nor Foundry's."""

from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from itertools import chain
from operator import attrgetter
from typing import Any

from etl.domain.drift import Drift, DriftKind
from etl.domain.run import Run, Tool, ToolSet
from etl.transform.fields import RUN_FIELDS, TOOL_FIELDS
from etl.transform.json_text import load

KNOWN_TOOL_TYPES = {
    "code_interpreter",
    "file_search",
    "function",
    # Foundry's
    "azure_ai_search",
    "azure_function",
    "bing_custom_search",
    "bing_grounding",
    "browser_automation",
    "connected_agent",
    "deep_research",
    "fabric_dataagent",
    "mcp",
    "openapi",
    "sharepoint_grounding",
}

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
    "required_action_type": {"submit_tool_outputs", "submit_tool_approval"},
    "response_format_type": {"auto", "text", "json_object", "json_schema"},
    "tool_choice_type": {"none", "auto", "required", *KNOWN_TOOL_TYPES},
    "reasoning_effort": {"none", "minimal", "low", "medium", "high"},
}
"""Columns with a closed list of values in OpenAI's schema (openai-openapi), and what
Foundry's description adds (Azure/azure-rest-api-specs, specification/ai/Azure.AI.Agents).
That one closes no list: an error's code is any text there."""

PATHS = {field.column: ".".join(field.path) for field in RUN_FIELDS if not field.derived}
PATHS["required_action_type"] = "required_action.type"
KNOWN_TOOL_PATHS = {f"tools[].{'.'.join(field.path)}" for field in TOOL_FIELDS}
KNOWN_PATHS = {*PATHS.values(), "id", "object", "thread_id", "instructions", "tools"}
KNOWN_PATHS |= KNOWN_TOOL_PATHS
OF_FOUNDRY = {
    *(f"tools[].{each}" for each in KNOWN_TOOL_TYPES - {"file_search", "function"}),
    "tools[].allowed_tools",
    "tools[].server_label",
    "tools[].server_url",
    "tool_resources.azure_ai_search",
    "tool_resources.code_interpreter.data_sources",
    "tool_resources.file_search.vector_stores",
    "tool_resources.mcp",
}
WITHOUT_COLUMN = {
    "file_ids",
    "tools[].file_search.max_num_results",
    "tools[].file_search.ranking_options.ranker",
    "tools[].file_search.ranking_options.score_threshold",
    *OF_FOUNDRY,
}
"""Known, and kept in `extra` or in a tool's settings; `file_ids` is v1's."""

CONTAINERS = {
    ".".join(names[:depth])
    for names in (path.split(".") for path in KNOWN_PATHS | WITHOUT_COLUMN)
    for depth in range(1, len(names))
} - {"tools[]"}

LONGEST_VALUE = 80
MOST_REMEMBERED = 4096
LARGEST_REMEMBERED = 16_384  # characters; 64 MB at the very most

Found = tuple[str, DriftKind, str]
"""A path, the kind and the value of a drift."""


_closed_values = attrgetter(*KNOWN_VALUES)


def drift_of(runs: Sequence[Run]) -> Iterator[Drift]:
    """Name every unknown field, value and type that some runs show.

    Runs of a page have nearly everything in common: what they share is looked at once.
    """
    values = {each: _drift_of_values(each) for each in set(map(_closed_values, runs))}
    shared = {id(run.tool_set): run.tool_set for run in runs}
    tool_sets = {key: _drift_of_tools(tool_set) for key, tool_set in shared.items()}
    extras = {each: _drift_of_extra(each) for each in {run.extra for run in runs}}
    if not any(map(any, (values.values(), tool_sets.values(), extras.values()))):
        return
    for run in runs:
        found = values[_closed_values(run)], tool_sets[id(run.tool_set)], extras[run.extra]
        for each in chain(*found):
            yield Drift(*each, run.run_id)


def _drift_of_values(values: Iterable[str | None]) -> tuple[Found, ...]:
    return tuple(
        [
            _unknown_value(PATHS[column], value)
            for (column, known), value in zip(KNOWN_VALUES.items(), values, strict=True)
            if value is not None and value not in known
        ]
    )


def _unknown_value(path: str, value: str) -> Found:
    return path, DriftKind.UNKNOWN_VALUE, value[:LONGEST_VALUE]


def _drift_of_tools(tool_set: ToolSet | None) -> tuple[Found, ...]:
    if tool_set is None:
        return ()
    return tuple([found for tool in tool_set.tools for found in _drift_of_tool(tool)])


def _drift_of_tool(tool: Tool) -> tuple[Found, ...]:
    if tool.tool_type is not None and tool.tool_type not in KNOWN_TOOL_TYPES:
        return (_unknown_value("tools[].type", tool.tool_type),)
    return () if tool.settings is None else _remembered(tool.settings, "tools[].")


def _drift_of_extra(extra: str | None) -> tuple[Found, ...]:
    return () if extra is None else _remembered(extra, "")


def _remembered(text: str, above: str) -> tuple[Found, ...]:
    """What the left-over part of a payload shows; large ones are not remembered."""
    describe = _described if len(text) <= LARGEST_REMEMBERED else _described.__wrapped__
    return describe(text, above)


@lru_cache(MOST_REMEMBERED)
def _described(text: str, above: str) -> tuple[Found, ...]:
    value = load(text)
    if not isinstance(value, dict):  # a tool that is no object
        return ((above.rstrip("."), DriftKind.UNEXPECTED_TYPE, _type_of(value)),)
    return tuple(_members(value, above))


def _members(rest: dict[str, Any], above: str) -> Iterator[Found]:
    for key, value in rest.items():
        path = f"{above}{key}"[:LONGEST_VALUE]
        if value is None or path in WITHOUT_COLUMN:
            continue
        if path in CONTAINERS and isinstance(value, dict):
            yield from _members(value, f"{path}.")
        elif path == "object" and isinstance(value, str):
            yield path, DriftKind.UNKNOWN_VALUE, value[:LONGEST_VALUE]
        elif path in KNOWN_PATHS or path in CONTAINERS:
            yield path, DriftKind.UNEXPECTED_TYPE, _type_of(value)
        else:
            yield path, DriftKind.UNKNOWN_FIELD, _type_of(value)


def _type_of(value: Any) -> str:
    """The JSON name of a value's type."""
    names = {bool: "boolean", int: "integer", float: "number", str: "string", list: "array"}
    return names.get(type(value), "object")
