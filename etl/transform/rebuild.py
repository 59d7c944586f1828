"""Run to payload again: the proof that flattening drops nothing."""

from collections.abc import Callable
from typing import Any

from etl.domain.run import Run, ToolSet
from etl.transform.dictionaries import tools_of
from etl.transform.fields import OBJECT_NAME, RUN_FIELDS
from etl.transform.json_text import load
from etl.transform.split import join, overlay


def rebuild(
    run: Run, tools_of: Callable[[ToolSet], list[Any]] = tools_of
) -> dict[str, Any]:
    """Give back the payload that was flattened, absent and null counted as equal.

    Whoever rebuilds many runs may keep what `tools_of` answers.
    """
    payload: dict[str, Any] = {
        "id": run.run_id,
        "object": OBJECT_NAME,
        "thread_id": run.thread_id,
        **join(run._asdict(), RUN_FIELDS),
    }
    if run.instructions is not None:
        payload["instructions"] = run.instructions.body
    if run.tool_set is not None:
        payload["tools"] = tools_of(run.tool_set)
    if run.extra is not None:
        payload = overlay(payload, load(run.extra))
    return payload
