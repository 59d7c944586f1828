"""What Foundry publishes of its runs is known: kept in full, and no news."""

import json
from pathlib import Path
from typing import Any

import pytest

from etl.domain.page import Payload
from etl.domain.run import Run, RunId, ThreadId
from etl.transform import drift_of, flatten, rebuild
from tests.unit.builders import a_payload

Json = Any
SAMPLES = Path(__file__).parents[1] / "data" / "samples"

TOOLS: list[Json] = [
    {"type": "azure_ai_search"},
    {"type": "bing_grounding", "bing_grounding": {"search_configurations": [{"a": 1}]}},
    {"type": "bing_custom_search", "bing_custom_search": {"search_configurations": []}},
    {"type": "fabric_dataagent", "fabric_dataagent": {"connections": [{"id": "c"}]}},
    {"type": "sharepoint_grounding", "sharepoint_grounding": {"connections": []}},
    {"type": "browser_automation", "browser_automation": {"connection": {"id": "c"}}},
    {"type": "connected_agent", "connected_agent": {"id": "asst_2", "name": "b"}},
    {"type": "deep_research", "deep_research": {"deep_research_model": "o3"}},
    {"type": "azure_function", "azure_function": {"function": {"name": "f"}}},
    {
        "type": "openapi",
        "openapi": {"name": "w", "spec": {}, "auth": {"type": "anonymous"}},
    },
    {"type": "mcp", "server_label": "s", "server_url": "https://s", "allowed_tools": ["t"]},
]
RESOURCES: Json = {
    "code_interpreter": {"file_ids": ["f"], "data_sources": [{"uri": "u", "type": "t"}]},
    "file_search": {"vector_store_ids": ["v"], "vector_stores": [{"name": "n"}]},
    "azure_ai_search": {"indexes": [{"index_name": "i", "top_k": 3}]},
    "mcp": [{"server_label": "s", "require_approval": "always"}],
}
CALL = {"id": "c", "type": "mcp", "name": "t", "arguments": "{}", "server_label": "s"}
APPROVAL: Json = {
    "type": "submit_tool_approval",
    "submit_tool_approval": {"tool_calls": [CALL]},
}


def sample(name: str) -> Json:
    return json.loads((SAMPLES / name).read_text())


def flattened(payload: Json) -> Run:
    text = json.dumps(payload).encode()
    run = flatten(Payload(text, RunId(payload["id"])), thread_id=ThreadId("thread_1"))
    assert isinstance(run, Run)
    return run


def without_nulls(value: Json) -> Json:
    if isinstance(value, dict):
        return {k: without_nulls(each) for k, each in value.items() if each is not None}
    return [without_nulls(each) for each in value] if isinstance(value, list) else value


@pytest.mark.parametrize(
    "payload",
    [
        sample("15_foundry_2026-07_failed_invalid_engine.json"),
        sample("18_foundry_openapi_list_example.json")["data"][0],
        a_payload(tools=TOOLS, tool_resources=RESOURCES, required_action=APPROVAL),
    ],
    ids=["recorded", "the published example", "everything described"],
)
def test_every_field_is_kept(payload: Json) -> None:
    assert without_nulls(rebuild(flattened(payload))) == without_nulls(payload)


def test_what_is_described_is_no_drift() -> None:
    run = flattened(
        a_payload(tools=TOOLS, tool_resources=RESOURCES, required_action=APPROVAL)
    )

    assert list(drift_of([run])) == []
    assert run.required_action_type == "submit_tool_approval"
    assert run.tool_set is not None
    assert [each.tool_type for each in run.tool_set.tools] == [t["type"] for t in TOOLS]


def test_of_the_published_example_only_its_made_up_words_are_news() -> None:
    run = flattened(sample("18_foundry_openapi_list_example.json")["data"][0])

    assert [(each.path, each.value) for each in drift_of([run])] == [
        ("last_error.code", "icbsozdnbbuxiacvawpssatgddrew"),
        ("required_action.type", "RequiredAction"),
        ("tools[].type", "ToolDefinition"),
    ]
