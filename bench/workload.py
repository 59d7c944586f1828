"""Threads of made-up runs, as the API would list them; a function of their numbers."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

FIRST_AT = 1_782_950_400
"""2026-07-02, in seconds: the oldest run."""

SPAN = 90 * 86_400
"""All runs of a workload are spread evenly over so many seconds: three months."""

ASSISTANTS = 12
MODELS = ("gpt-4o", "gpt-4o-mini", "gpt-4.1", "o3-mini")

ID_SPACE = 1 << 96
SCRAMBLE = 0x9E3779B97F4A7C15F39CC061
UNSCRAMBLE = pow(SCRAMBLE, -1, ID_SPACE)


def id_of(number: int) -> str:
    """24 characters that look random, as real ids do, so that no index is spoiled."""
    return f"{number * SCRAMBLE % ID_SPACE:024x}"


def number_of(characters: bytes) -> int:
    """The number that `id_of` was given."""
    return int(characters, 16) * UNSCRAMBLE % ID_SPACE


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """So many threads with so many runs each.

    `changed` is the share of runs, in hundredths, whose metadata differ; with
    `unknown_fields` every payload carries fields that no schema knows.
    """

    threads: int
    runs: int
    changed: int = 0
    unknown_fields: bool = False

    @property
    def size(self) -> int:
        """How many runs there are."""
        return self.threads * self.runs

    def thread_ids(self) -> Iterator[str]:
        """The ids of all threads."""
        return (f"thread_{id_of(thread)}" for thread in range(self.threads))

    def payloads(self, thread: int, first: int, last: int) -> list[bytes]:
        """The runs of one thread from `first` up to before `last`, oldest first."""
        template = TEMPLATE % (
            id_of(thread).encode(),
            thread % 500,
            _constant(thread % ASSISTANTS, self.unknown_fields).replace(b"%", b"%%"),
        )
        return [template % self._facts(thread, run) for run in range(first, last)]

    def _facts(self, thread: int, run: int) -> tuple[bytes | int, ...]:
        """What the template lacks, in its order."""
        number = thread * self.runs + run
        created_at = FIRST_AT + (run * self.threads + thread) * SPAN // self.size
        edition = b"b" if number % 100 < self.changed else b"a"
        prompt, completion = 900 + number % 4000, number % 700
        return (
            id_of(number).encode(),
            *(created_at, created_at + 1, created_at + 9),
            *(number, edition),
            *(prompt, completion, prompt + completion, prompt // 2),
        )


TEMPLATE = (
    b'{"id":"run_%%b","object":"thread.run","thread_id":"thread_%b",'
    b'"created_at":%%d,"started_at":%%d,"completed_at":%%d,'
    b'"metadata":{"customer":"c%d","ticket":"T-%%d","edition":"%%b"},'
    b'"usage":{"prompt_tokens":%%d,"completion_tokens":%%d,"total_tokens":%%d,'
    b'"prompt_token_details":{"cached_tokens":%%d},'
    b'"completion_tokens_details":{"reasoning_tokens":0}},%b'
)
"""A payload: what is single is filled in for the thread, what is double for the run."""


@cache
def _constant(assistant: int, unknown_fields: bool) -> bytes:  # noqa: FBT001 - a field
    """What the runs of one assistant have in common, about 2.2 kB, as an object's rest."""
    shared: dict[str, object] = {
        "assistant_id": f"asst_{id_of(assistant)}",
        "status": "completed",
        "expires_at": None,
        "cancelled_at": None,
        "failed_at": None,
        "required_action": None,
        "last_error": None,
        "model": MODELS[assistant % len(MODELS)],
        "instructions": f"You are assistant {assistant} of a support desk. "
        + "Answer kindly, briefly. " * 45,
        "tools": [_tool(name) for name in ("order", "invoice", f"contract_{assistant}")],
        "tool_resources": {},
        "temperature": 1.0,
        "top_p": 1.0,
        "reasoning_effort": None,
        "max_completion_tokens": None,
        "max_prompt_tokens": None,
        "truncation_strategy": {"type": "auto", "last_messages": None},
        "incomplete_details": None,
        "response_format": "auto",
        "tool_choice": "auto",
        "parallel_tool_calls": True,
    }
    if unknown_fields:
        shared |= {"service_tier": "default", "trace": {"region": "eu", "shard": assistant}}
    return json.dumps(shared, separators=(",", ":")).encode().removeprefix(b"{")


def _tool(name: str) -> dict[str, object]:
    return {
        "type": "function",
        "function": {
            "name": f"look_up_{name}",
            "description": f"Look up the {name} of a customer by its number.",
            "parameters": {
                "type": "object",
                "properties": {"number": {"type": "string"}, "year": {"type": "integer"}},
                "required": ["number"],
            },
            "strict": False,
        },
    }
