"""What the Singer target is given: its settings, and messages instead of an extractor."""

import json
from pathlib import Path

from bench.workload import Workload

TYPES = {
    "string": (
        *("id", "object", "thread_id", "assistant_id", "status", "model"),
        *("instructions", "reasoning_effort", "response_format", "tool_choice"),
    ),
    "integer": (
        *("created_at", "started_at", "expires_at", "cancelled_at", "failed_at"),
        *("completed_at", "max_prompt_tokens", "max_completion_tokens"),
    ),
    "number": ("temperature", "top_p"),
    "boolean": ("parallel_tool_calls",),
    "array": ("tools",),
    "object": (
        *("metadata", "usage", "required_action", "last_error", "tool_resources"),
        *("truncation_strategy", "incomplete_details"),
    ),
}
"""The fields of a run by their JSON type; objects and arrays become JSON columns."""

PROPERTIES = {name: {"type": [kind, "null"]} for kind in TYPES for name in TYPES[kind]}


def write_messages(path: Path, workload: Workload) -> None:
    """Write a workload as messages of the Singer specification, one a line."""
    schema = {
        "type": "SCHEMA",
        "stream": "runs",
        "schema": {"properties": PROPERTIES},
        "key_properties": ["id"],
    }
    with path.open("wb") as file:
        file.write(json.dumps(schema).encode() + b"\n")
        for thread in range(workload.threads):
            for payload in workload.payloads(thread, 0, workload.runs):
                file.write(b'{"type":"RECORD","stream":"runs","record":' + payload + b"}\n")


def write_settings(path: Path, database_url: str) -> None:
    """Write the target's settings; the names are those of its settings' page."""
    settings = {
        "sqlalchemy_url": database_url.replace("postgresql:", "postgresql+psycopg:"),
        "default_target_schema": "singer_runs",
        "load_method": "upsert",
        "use_copy": True,
        "validate_records": False,
        "activate_version": False,
        "add_record_metadata": False,
    }
    path.write_text(json.dumps(settings), encoding="utf-8")
