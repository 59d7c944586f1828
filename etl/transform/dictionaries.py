"""Instructions and tool lists: stored once each, found by their digest."""

from functools import lru_cache
from typing import Any

from etl.domain.digest import digest
from etl.domain.run import Instructions, Tool, ToolSet
from etl.transform.fields import TOOL_FIELDS
from etl.transform.json_text import canonical, dump, load
from etl.transform.split import join, overlay, split

MOST_REMEMBERED = 4096
LARGEST_REMEMBERED = 16_384  # characters; 64 MB at the very most


def instructions_of(body: str) -> Instructions:
    """Answer the dictionary entry of a text."""
    if len(body) > LARGEST_REMEMBERED:
        return _instructions(body)
    return _remembered_instructions(body)


def tool_set_of(tools: list[Any]) -> ToolSet:
    """Answer the dictionary entry of a tool list; equal lists give equal digests."""
    content = canonical(tools)
    if len(content) > LARGEST_REMEMBERED:
        return _tool_set(content)
    return _remembered_tool_set(content)


def tools_of(tool_set: ToolSet) -> list[Any]:
    """Give the tool list back."""
    return [_tool_as_given(tool) for tool in tool_set.tools]


def _instructions(body: str) -> Instructions:
    return Instructions(digest(body.encode()), body)


def _tool_set(content: bytes) -> ToolSet:
    tools = tuple(_tool(at, entry) for at, entry in enumerate(load(content)))
    return ToolSet(digest(content), tools)


_remembered_instructions = lru_cache(MOST_REMEMBERED)(_instructions)
_remembered_tool_set = lru_cache(MOST_REMEMBERED)(_tool_set)


def _tool(position: int, entry: Any) -> Tool:
    if not isinstance(entry, dict):
        return Tool(position, None, None, None, None, None, dump(entry))
    columns, rest = split(entry, TOOL_FIELDS)
    return Tool(position, **columns, settings=dump(rest) if rest else None)


def _tool_as_given(tool: Tool) -> Any:
    entry: Any = join(tool._asdict(), TOOL_FIELDS)
    return entry if tool.settings is None else overlay(entry, load(tool.settings))
