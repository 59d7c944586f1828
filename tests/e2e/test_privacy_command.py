"""The made-up world under privacy: none of its texts is in any table."""

import json
import re
from collections.abc import Iterator
from typing import Any
from urllib.request import Request, urlopen

import pytest

from etl.demo.server import DemoServer
from etl.load.database import opened
from tests.e2e.conftest import KEY, Command
from tests.integration.builders import rows

SHORTEST = 12
"""Shorter texts may stand in the tables for another reason."""

PRIVACY = """
[sources.privacy]
hash_key_env = "DEMO_HASH_KEY"
instructions = "{0}"
tools = "{0}"
tool_call_arguments = "{0}"
error_messages = "{0}"
unknown_fields = "{0}"
metadata = "{0}"
"""


def runs_of(api: DemoServer) -> Iterator[dict[str, Any]]:
    """The newest runs of every thread, as the server shows them."""
    for thread_id in api.thread_ids:
        url = f"{api.base_url}/threads/{thread_id}/runs?limit=100"
        request = Request(url, headers={"Authorization": f"Bearer {KEY}"})  # noqa: S310
        with urlopen(request) as answer:  # noqa: S310  # loopback
            yield from json.load(answer)["data"]


def private_texts(run: dict[str, Any]) -> Iterator[str]:
    """What privacy is for."""
    yield run["instructions"]
    yield from map(str, run["metadata"].values())
    yield (run["last_error"] or {}).get("message", "")
    for tool in run["tools"]:
        yield tool.get("function", {}).get("description", "")
    calls = (run["required_action"] or {}).get("submit_tool_outputs", {})
    for call in calls.get("tool_calls", []):
        yield call["function"]["arguments"]


def unquoted(text: str) -> str:
    """A text as it is found whatever writes it: JSON, a row, or both."""
    return re.sub(r'["\\]', "", text)


def sync(runtide: Command, api: DemoServer, treatment: str) -> set[str]:
    """Sync the world under privacy; answer the texts that privacy is for."""
    runtide.configure(api.base_url, PRIVACY.format(treatment))
    runtide.environment["DEMO_HASH_KEY"] = "a long random text"
    runtide.tracks(*api.thread_ids)
    assert runtide("sync", "--quiet").code == 0
    texts = {unquoted(text) for run in runs_of(api) for text in private_texts(run)}
    return {text for text in texts if len(text) >= SHORTEST}


def written(database_url: str, texts: set[str]) -> set[str]:
    """Those of some texts that stand in any row of any table."""
    with opened(database_url) as engine:
        dump = unquoted("\n".join(row for table in rows(engine).values() for row in table))
    return {text for text in texts if text in dump}


@pytest.mark.parametrize("treatment", ["hash", "omit"])
def test_no_text_of_the_world_is_in_any_table(
    runtide: Command, api: DemoServer, database_url: str, treatment: str
) -> None:
    texts = sync(runtide, api, treatment)

    assert written(database_url, texts) == set()
    assert runtide("verify").code == 0
    again = json.loads(runtide("sync", "--json").out)
    assert (again["runs_created"], again["runs_updated"]) == (0, 0)


def test_without_privacy_all_of_them_are(
    runtide: Command, api: DemoServer, database_url: str
) -> None:
    texts = sync(runtide, api, "keep")

    assert len(texts) > len(api.thread_ids)
    assert written(database_url, texts) == texts
