"""The dictionaries of instructions and tool lists: each entry is written once."""

from collections.abc import Iterable, Sequence
from typing import Any, TypeVar
from uuid import UUID

from sqlalchemy.engine import Connection

from etl.domain.run import Instructions, Run, ToolSet
from etl.load.statements import ADD_INSTRUCTIONS, ADD_TOOLS

MOST_REMEMBERED = 100_000


Entry = TypeVar("Entry", Instructions, ToolSet)
Key = tuple[str, UUID]
"""The table and the digest: a text may equal a tool list to the byte."""


class Dictionaries:
    """Knows which entries are surely stored; memory is bounded by forgetting all."""

    def __init__(self) -> None:
        self._stored: set[Key] = set()

    def add(self, connection: Connection, runs: Sequence[Run]) -> set[Key]:
        """Write the entries that may be new; answer them for `remember`."""
        texts: dict[Key, Instructions] = {}
        tool_sets: dict[Key, ToolSet] = {}
        for entry in _distinct(run.instructions for run in runs):
            texts["instructions", entry.instructions_id] = entry
        for tool_set in _distinct(run.tool_set for run in runs):
            tool_sets["tools", tool_set.tool_set_id] = tool_set
        new_texts = sorted(texts.keys() - self._stored)
        new_tool_sets = sorted(tool_sets.keys() - self._stored)
        _insert(connection, ADD_INSTRUCTIONS, [texts[key]._asdict() for key in new_texts])
        rows = [row for key in new_tool_sets for row in _tool_rows(tool_sets[key])]
        _insert(connection, ADD_TOOLS, rows)
        return {*new_texts, *new_tool_sets}

    def remember(self, stored: set[Key]) -> None:
        """Take note of what a committed batch has stored."""
        if len(self._stored) + len(stored) > MOST_REMEMBERED:
            self._stored.clear()
        self._stored |= stored


def _distinct(entries: Iterable[Entry | None]) -> Iterable[Entry]:
    """Most runs share their entries: each object once, told apart without a look inside."""
    return {id(entry): entry for entry in entries if entry is not None}.values()


def _tool_rows(tool_set: ToolSet) -> list[dict[str, Any]]:
    return [
        {"tool_set_id": tool_set.tool_set_id, **tool._asdict()} for tool in tool_set.tools
    ]


def _insert(connection: Connection, statement: Any, rows: list[dict[str, Any]]) -> None:
    if rows:
        connection.execute(statement, rows)
