"""Which parts of a payload say nothing private: the shapes that privacy trims to."""

from typing import Any

from etl.transform.fields import RUN_FIELDS
from etl.transform.treatments import EVERY_OTHER, Leaf, Shape

CALL: Shape = {
    "id": Leaf.PLAIN,
    "type": Leaf.PLAIN,
    "name": Leaf.PLAIN,
    "server_label": Leaf.PLAIN,
    "function": {"name": Leaf.PLAIN},
}
ACTION: Shape = {"type": Leaf.PLAIN, EVERY_OTHER: {"tool_calls": [CALL]}}
"""What of `required_action` says which tool waits, and nothing of what it is told.
Servers have other types than the published one (docs/wire.md), all built like it."""

ERROR: Shape = {"code": Leaf.PLAIN}
"""What of `last_error` is no message; servers repeat it under other names."""

RESOURCES: Shape = {
    "code_interpreter": {"file_ids": [Leaf.PLAIN]},
    "file_search": {"vector_store_ids": [Leaf.PLAIN]},
}
"""What of `tool_resources` is an id; elsewhere stand the headers of MCP servers, with
their secrets (docs/wire.md)."""


def _places_of_fields() -> dict[str, Any]:
    """Every place that a field reads, as a shape."""
    shape: dict[str, Any] = {}
    for field in RUN_FIELDS:
        below = shape
        if not field.derived:
            for name in field.path[:-1]:
                below = below.setdefault(name, {})
            below[field.path[-1]] = Leaf.ANY
    return shape


KNOWN: dict[str, Shape] = _places_of_fields() | dict.fromkeys(
    ("id", "object", "thread_id", "instructions", "tools", "file_ids"), Leaf.ANY
)
"""The members that the transform knows; `file_ids` is v1's."""

CONTAINERS = {name: shape for name, shape in KNOWN.items() if shape is not Leaf.ANY}
"""Those of them in which fields stand, and may have unknown neighbours."""
