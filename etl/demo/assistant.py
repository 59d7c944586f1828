"""What an assistant is made of, as far as its runs repeat it."""

import json
from dataclasses import dataclass, field
from functools import cached_property
from random import Random
from typing import Any, NamedTuple

from etl.demo.dice import dice, draw_id

_BUILT_IN_TOOLS: dict[str, dict[str, Any]] = {
    "code_interpreter": {"type": "code_interpreter"},
    "file_search": {
        "type": "file_search",
        "file_search": {
            "ranking_options": {"ranker": "default_2024_08_21", "score_threshold": 0.0}
        },
    },
}


class Argument(NamedTuple):
    """One parameter of a function, with values that a model might choose."""

    name: str
    type: str
    description: str
    examples: tuple[object, ...]


@dataclass(frozen=True, slots=True)
class Function:
    """A function tool."""

    name: str
    description: str
    arguments: tuple[Argument, ...]

    def tool(self) -> dict[str, Any]:
        """Write the entry in a run's `tools`."""
        properties = {
            argument.name: {"type": argument.type, "description": argument.description}
            for argument in self.arguments
        }
        function = {
            "name": self.name,
            "description": self.description,
            "parameters": {
                "type": "object",
                "properties": properties,
                "required": list(properties),
            },
            "strict": False,
        }
        return {"type": "function", "function": function}

    def draw_call(self, rng: Random) -> dict[str, Any]:
        """Call this function as `required_action` lists it."""
        arguments = {
            argument.name: rng.choice(argument.examples) for argument in self.arguments
        }
        text = json.dumps(arguments, ensure_ascii=False, separators=(",", ":"))
        return {
            "id": draw_id(rng, "call"),
            "type": "function",
            "function": {"name": self.name, "arguments": text},
        }


@dataclass(frozen=True, kw_only=True)
class Assistant:
    """The settings that a run takes over from its assistant."""

    name: str
    model: str
    instructions: str
    built_in_tools: tuple[str, ...] = ()
    functions: tuple[Function, ...] = ()
    temperature: float = 1.0
    top_p: float = 1.0
    reasoning_effort: str | None = None
    max_completion_tokens: int | None = None
    last_messages: int | None = None
    response_schema: str | None = field(default=None, repr=False)

    @cached_property
    def id(self) -> str:
        """The assistant's id, the same in every world."""
        return draw_id(dice("assistant", self.name), "asst")

    @cached_property
    def tools(self) -> str:
        """The `tools` of a run, as JSON text that nobody can change."""
        tools = [_BUILT_IN_TOOLS[tool] for tool in self.built_in_tools]
        return json.dumps([*tools, *(function.tool() for function in self.functions)])

    def draw_required_action(self, rng: Random) -> dict[str, Any]:
        """Ask for the output of one function, or of two at once."""
        most = min(len(self.functions), 2)
        asked = rng.sample(self.functions, k=rng.randint(1, most))
        calls = [function.draw_call(rng) for function in asked]
        return {
            "type": "submit_tool_outputs",
            "submit_tool_outputs": {"tool_calls": calls},
        }

    @cached_property
    def tool_resources(self) -> str:
        """The `tool_resources` of a run, as JSON text."""
        if "file_search" not in self.built_in_tools:
            return "{}"
        store = draw_id(dice("vector store", self.name), "vs")
        return json.dumps({"file_search": {"vector_store_ids": [store]}})

    @cached_property
    def response_format(self) -> str:
        """The `response_format` of a run, as JSON text."""
        return self.response_schema or '"auto"'

    @cached_property
    def prompt_tokens(self) -> int:
        """About how many tokens the instructions and tools take in a prompt."""
        return (len(self.instructions) + len(self.tools)) // 4
