"""Builders: a test names what matters to it, the rest is filled in."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from etl.domain.batch import SourceId, TrackedThread
from etl.domain.bookmark import SETTLING, Bookmark
from etl.domain.page import Page, Payload
from etl.domain.run import SECOND, Instant, Reject, Run, RunId, ThreadId
from etl.transform import flatten

Json = Any
"""A decoded JSON value."""

THREAD = ThreadId("thread_1")
SOURCE = SourceId(1)
CREATED_SECONDS = 1_750_000_000
CREATED_AT = Instant(CREATED_SECONDS * SECOND)
DATA = Path(__file__).parents[1] / "data"


def a_payload(run_id: Json = "run_1", **fields: Json) -> dict[str, Json]:
    """A completed run with something in every part of it."""
    return {
        "id": run_id,
        "object": "thread.run",
        "created_at": CREATED_SECONDS,
        "assistant_id": "asst_1",
        "thread_id": THREAD,
        "status": "completed",
        "started_at": CREATED_SECONDS + 1,
        "expires_at": None,
        "cancelled_at": None,
        "failed_at": None,
        "completed_at": CREATED_SECONDS + 9,
        "required_action": {"type": "submit_tool_outputs", "submit_tool_outputs": {}},
        "last_error": {"code": "server_error", "message": "Sorry."},
        "model": "gpt-4o",
        "instructions": "Be brief.",
        "tools": [
            {"type": "code_interpreter"},
            {
                "type": "function",
                "function": {
                    "name": "weather",
                    "description": "Tells the weather.",
                    "strict": False,
                    "parameters": {"type": "object", "properties": {}},
                },
            },
        ],
        "tool_resources": {
            "code_interpreter": {"file_ids": ["file_1"]},
            "file_search": {"vector_store_ids": ["vs_1"]},
        },
        "metadata": {"ticket": "T-1"},
        "temperature": 1.0,
        "top_p": 0.5,
        "reasoning_effort": "low",
        "max_completion_tokens": 16,
        "max_prompt_tokens": 256,
        "truncation_strategy": {"type": "last_messages", "last_messages": 4},
        "incomplete_details": {"reason": "max_prompt_tokens"},
        "usage": {
            "prompt_tokens": 7,
            "completion_tokens": 5,
            "total_tokens": 12,
            "prompt_token_details": {"cached_tokens": 3},
            "completion_tokens_details": {"reasoning_tokens": 2},
        },
        "response_format": {"type": "json_object"},
        "tool_choice": {"type": "function", "function": {"name": "weather"}},
        "parallel_tool_calls": True,
    } | fields


def text_of(value: Json) -> bytes:
    """A JSON value as a server sends it; what is bytes already stays as it is."""
    return value if isinstance(value, bytes) else json.dumps(value).encode()


def received(value: Json, *, run_id: str | None = "run_1") -> Payload:
    """A JSON value, or the bytes of something else, as paging hands it on."""
    return Payload(text_of(value), RunId(run_id) if run_id else None)


def a_run(run_id: Json = "run_1", **fields: Json) -> Run:
    """The run that a payload becomes."""
    return flattened(a_payload(run_id, **fields))


def flattened(value: Json) -> Run:
    """The run of a payload that must be able to become one."""
    entry = flatten(received(value), thread_id=THREAD)
    assert isinstance(entry, Run), entry
    return entry


def rejected(value: Json, *, run_id: str | None = "run_1") -> Reject:
    """The reject of a payload that must not become a run."""
    entry = flatten(received(value, run_id=run_id), thread_id=THREAD)
    assert isinstance(entry, Reject), entry
    return entry


def a_plain_payload(run_id: Json = "run_1", **fields: Json) -> dict[str, Json]:
    """A completed run as most are: nothing in it that the strict way does not take."""
    plain = {"required_action": None, "response_format": "auto", "tool_choice": "auto"}
    return a_payload(run_id, **(plain | fields))


def an_answer(*payloads: Json, has_more: Json = False) -> bytes:
    """The body of a list answer; a payload of bytes stands in it as it is."""
    data = b",".join(map(text_of, payloads))
    return b'{"object":"list","data":[' + data + b'],"has_more":' + text_of(has_more) + b"}"


def a_page(
    *payloads: Json,
    after: str | None = None,
    has_more: bool = False,
    observed_at: int = CREATED_AT + SETTLING,
) -> Page:
    """A page of the thread; a payload's own id counts as the one that was read."""
    return Page(
        thread_id=THREAD,
        after=RunId(after) if after else None,
        payloads=tuple(received(each, run_id=each.get("id")) for each in payloads),
        has_more=has_more,
        observed_at=Instant(observed_at),
    )


def a_thread(
    name: str = THREAD,
    *,
    through: str | None = None,
    read_at: int | None = None,
    source_id: SourceId = SOURCE,
) -> TrackedThread:
    """A tracked thread that was read through a run, or never."""
    return TrackedThread(
        source_id=source_id,
        thread_id=ThreadId(name),
        bookmark=Bookmark(synced_through=RunId(through) if through else None),
        read_at=None if read_at is None else Instant(read_at),
    )


def _runs_within(value: Json) -> Iterator[dict[str, Json]]:
    if isinstance(value, dict) and value.get("object") == "thread.run":
        yield value
    elif isinstance(value, dict | list):
        for below in value.values() if isinstance(value, dict) else value:
            yield from _runs_within(below)


RECORDED_RUNS: list[dict[str, Json]] = [
    *map(json.loads, (DATA / "recorded_runs.jsonl").read_text().splitlines()),
    *(
        run
        for path in sorted((DATA / "samples").glob("*.json"))
        for run in _runs_within(json.loads(path.read_text()))
    ),
]
"""Every run object in tests/data."""


def without_nulls(value: Json) -> Json:
    """The value with every null member of an object left out."""
    if isinstance(value, dict):
        kept = {key: without_nulls(below) for key, below in value.items()}
        return {key: below for key, below in kept.items() if below is not None}
    return [without_nulls(each) for each in value] if isinstance(value, list) else value


def exactly(value: Json) -> str:
    """A text that only equal JSON values share: true is not 1, but 1 is 1.0."""

    def number(each: Json) -> Json:
        if isinstance(each, float) and each.is_integer():
            return int(each)
        if isinstance(each, dict):
            return {key: number(below) for key, below in each.items()}
        return [number(below) for below in each] if isinstance(each, list) else each

    return json.dumps(number(without_nulls(value)), sort_keys=True)


def _holders(value: Json) -> Iterator[Json]:
    """The value and everything below it that holds others."""
    if isinstance(value, dict | list):
        yield value
        for below in value.values() if isinstance(value, dict) else value:
            yield from _holders(below)


def _keys_within(value: Json) -> Iterator[str]:
    for holder in _holders(value):
        if isinstance(holder, dict):
            yield from holder


OUR_KEYS = sorted(set(_keys_within(a_payload())))
"""Keys that mean something to us somewhere; they may turn up anywhere."""

numbers = (
    st.integers(-3, 3)
    | st.integers()
    | st.sampled_from([2**53, 2**63 - 1, 2**63, -(2**63) - 1, 2**64, 10**30, 10**400])
    | st.integers(CREATED_SECONDS - 9, CREATED_SECONDS + 9)
    | st.integers(CREATED_SECONDS * 1000 - 9, CREATED_SECONDS * 1000 + 9)
    | st.floats(allow_nan=False, allow_infinity=False)
)
unstorable_numbers = st.sampled_from([float("nan"), float("inf"), float("-inf")])
texts = st.sampled_from(
    ["", "run_1", "thread.run", "auto", "2026-01-02T03:04:05Z", "17"]
) | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=8)
unstorable_texts = st.sampled_from(["\0", "a\0b", "\ud800", "x\udfff", "\udc00\ud800"])
keys = st.sampled_from(OUR_KEYS) | texts


def _json(leaves: st.SearchStrategy[Json], names: st.SearchStrategy[str]) -> Json:
    return st.recursive(
        leaves,
        lambda below: (
            st.lists(below, max_size=3) | st.dictionaries(names, below, max_size=4)
        ),
        max_leaves=12,
    )


storable_json: st.SearchStrategy[Json] = _json(
    st.none() | st.booleans() | numbers | texts, keys
)
"""JSON values that Postgres can store."""

any_json: st.SearchStrategy[Json] = _json(
    st.none() | st.booleans() | numbers | texts | unstorable_numbers | unstorable_texts,
    keys | unstorable_texts,
)
"""JSON values, and what Python's json lets through beside them."""


@st.composite
def changed_payloads(draw: st.DrawFn, values: st.SearchStrategy[Json]) -> dict[str, Json]:
    """A valid payload in which values, at any depth, were replaced, dropped or added."""
    payload: dict[str, Json] = draw(st.sampled_from([a_payload, a_plain_payload]))()
    for _ in range(draw(st.integers(1, 4))):
        holder = draw(st.sampled_from(list(_holders(payload))))
        if isinstance(holder, list):
            holder[draw(st.integers(0, len(holder))) :] = [draw(values)]
            continue
        key = draw(st.sampled_from(sorted(holder)) | keys) if holder else draw(keys)
        if key in holder and draw(st.booleans()):
            del holder[key]
        else:
            holder[key] = draw(values)
    return payload
