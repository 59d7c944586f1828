"""Tool definitions under privacy: type and function name stay, the rest is treated."""

from typing import Any

from msgspec import UNSET

from etl.transform.treatments import Treat, is_hashed

Json = Any


def cleaned_tools(tools: Json, *, treat: Treat) -> Json:
    """Every tool as its type and, of a function, its name.

    What stands in the place of the whole definition goes to `function.description`,
    whatever the tool's type, for that has a column.
    """
    if tools is None:
        return None
    if not isinstance(tools, list):
        return treat(tools)
    return [_cleaned_tool(tool, treat) for tool in tools]


def _cleaned_tool(tool: Json, treat: Treat) -> Json:
    kept = _named(tool)
    if tool is None or tool == kept:
        return kept
    told = _description(tool)
    if not (is_hashed(told) and tool == _described(kept, told)):
        told = tool
    left = treat(told)
    return kept if left is UNSET else _described(kept, left)


def _named(tool: Json) -> dict[str, Json]:
    """The type of a tool, and the name of a function."""
    if not isinstance(tool, dict) or not isinstance(tool.get("type"), str):
        return {}
    function = tool.get("function")
    if tool["type"] != "function" or not isinstance(function, dict):
        return {"type": tool["type"]}
    name = function.get("name")
    named = {"name": name} if isinstance(name, str) else {}
    return {"type": "function", "function": named}


def _described(kept: dict[str, Json], text: Json) -> dict[str, Json]:
    return {**kept, "function": {**kept.get("function", {}), "description": text}}


def _description(tool: Json) -> Json:
    function = tool.get("function") if isinstance(tool, dict) else None
    return function.get("description") if isinstance(function, dict) else None
