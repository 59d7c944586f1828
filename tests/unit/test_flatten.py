"""Flattening: every payload becomes a run or a reject that says why not."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from etl.domain.page import Payload
from etl.domain.run import SECOND, Instant, Reject, RejectReason, Run, RunId
from etl.transform import flatten
from tests.unit.builders import (
    CREATED_AT,
    CREATED_SECONDS,
    RECORDED_RUNS,
    THREAD,
    Json,
    a_payload,
    a_run,
    any_json,
    changed_payloads,
    flattened,
    received,
    rejected,
    text_of,
)

SECONDS = CREATED_SECONDS


def extra_of(run: Run) -> dict[str, Json]:
    return json.loads(run.extra) if run.extra else {}


@pytest.mark.parametrize("payload", RECORDED_RUNS, ids=lambda payload: str(payload["id"]))
def test_a_recorded_run_becomes_a_run(payload: dict[str, Json]) -> None:
    run = flattened(payload)

    assert (run.run_id, run.status) == (payload["id"], payload["status"])
    assert run.created_at == payload["created_at"] * SECOND
    assert run.total_tokens == (payload.get("usage") or {}).get("total_tokens")


def test_every_value_finds_its_column() -> None:
    run = a_run()

    assert run._replace(instructions=None, tool_set=None) == Run(
        run_id=RunId("run_1"),
        thread_id=THREAD,
        assistant_id="asst_1",
        status="completed",
        model="gpt-4o",
        created_at=CREATED_AT,
        started_at=Instant(CREATED_AT + SECOND),
        expires_at=None,
        cancelled_at=None,
        failed_at=None,
        completed_at=Instant(CREATED_AT + 9 * SECOND),
        prompt_tokens=7,
        completion_tokens=5,
        total_tokens=12,
        cached_prompt_tokens=3,
        reasoning_tokens=2,
        truncation_type="last_messages",
        truncation_last_messages=4,
        max_prompt_tokens=256,
        max_completion_tokens=16,
        temperature=1.0,
        top_p=0.5,
        parallel_tool_calls=True,
        reasoning_effort="low",
        response_format_type="json_object",
        response_format='{"type":"json_object"}',
        tool_choice_type="function",
        tool_choice_function="weather",
        tool_choice='{"type":"function","function":{"name":"weather"}}',
        last_error_code="server_error",
        last_error_message="Sorry.",
        incomplete_reason="max_prompt_tokens",
        required_action_type="submit_tool_outputs",
        required_action='{"type":"submit_tool_outputs","submit_tool_outputs":{}}',
        instructions=None,
        tool_set=None,
        code_interpreter_file_ids=("file_1",),
        file_search_vector_store_ids=("vs_1",),
        metadata='{"ticket":"T-1"}',
        extra=None,
    )


def test_instructions_and_tools_find_their_dictionaries() -> None:
    run = a_run()

    assert run.instructions is not None
    assert run.instructions.body == "Be brief."
    assert run.tool_set is not None
    assert [tool.function_name for tool in run.tool_set.tools] == [None, "weather"]


@pytest.mark.parametrize(
    ("told", "seconds"),
    [
        (SECONDS, SECONDS),
        (SECONDS + 0.25, SECONDS + 0.25),
        (float(SECONDS), SECONDS),
        (SECONDS * 1000 + 250, SECONDS + 0.25),
        (SECONDS * 1000.0, SECONDS),
        (SECONDS * 10**6 + 1, SECONDS + 0.000_001),
        (SECONDS * 10**9 + 1000, SECONDS + 0.000_001),
        ("2025-06-15T15:06:40Z", SECONDS),
        ("2025-06-15T15:06:40.250000+00:00", SECONDS + 0.25),
        ("2025-06-15T17:06:40+02:00", SECONDS),
        ("2025-06-15T15:06:40", SECONDS),
        (1, 1),
    ],
)
def test_an_instant_is_understood_in_whatever_unit_it_comes(
    told: Json, seconds: float
) -> None:
    expected = round(seconds * SECOND)

    assert a_run(created_at=told).created_at == expected
    assert a_run(completed_at=told).completed_at == expected


@pytest.mark.parametrize(
    "told",
    [0, -5, 0.0, "", "soon", "17", True, [], {}, 10**30, 10**400, "1969-12-31T23:59:59Z"],
    ids=lambda told: str(told)[:20],
)
def test_what_is_no_instant_leaves_the_column_empty_and_stays_in_extra(told: Json) -> None:
    run = a_run(completed_at=told)

    assert run.completed_at is None
    assert extra_of(run)["completed_at"] == told


def test_an_instant_may_lie_at_the_end_of_the_year_9999() -> None:
    last = a_run(completed_at="9999-12-31T23:59:59.999999Z").completed_at

    assert last == 253_402_300_800 * SECOND - 1


def test_an_instant_in_another_unit_is_kept_in_extra_too() -> None:
    assert extra_of(a_run(created_at=SECONDS * 1000))["created_at"] == SECONDS * 1000


def test_integer_ids_become_texts() -> None:
    run = a_run(17, assistant_id=4)

    assert (run.run_id, run.assistant_id) == ("17", "4")


def test_an_id_may_be_huge() -> None:
    assert a_run("r" * 100_000).run_id == "r" * 100_000


def test_a_missing_thread_id_is_the_threads_own() -> None:
    payload = a_payload()
    del payload["thread_id"]

    assert flattened(payload).thread_id == THREAD
    assert a_run(thread_id=None).thread_id == THREAD
    assert a_run(thread_id="").thread_id == THREAD


def test_a_foreign_object_name_stays_in_extra() -> None:
    assert extra_of(a_run(object="run")) == {"object": "run"}


def test_a_count_beyond_bigint_stays_in_extra() -> None:
    run = a_run(usage={"prompt_tokens": 2**63, "completion_tokens": 2**63 - 1})

    assert (run.prompt_tokens, run.completion_tokens) == (None, 2**63 - 1)
    assert extra_of(run) == {"usage": {"prompt_tokens": 2**63}}


@pytest.mark.parametrize("told", [True, False, "7", [7], {"n": 7}, 7.5])
def test_what_is_no_count_stays_in_extra(told: Json) -> None:
    run = a_run(usage={"total_tokens": told})

    assert run.total_tokens is None
    assert extra_of(run) == {"usage": {"total_tokens": told}}


@pytest.mark.parametrize("told", [True, "1.0", [], 10**400], ids=str)
def test_what_is_no_real_number_stays_in_extra(told: Json) -> None:
    run = a_run(temperature=told)

    assert run.temperature is None
    assert extra_of(run) == {"temperature": told}


def test_an_integer_that_a_double_cannot_hold_is_kept_in_extra_too() -> None:
    run = a_run(temperature=2**53 + 1)

    assert run.temperature == 2.0**53
    assert extra_of(run) == {"temperature": 2**53 + 1}


@pytest.mark.parametrize("told", [1, 0, "true", None])
def test_what_is_no_flag_stays_in_extra(told: Json) -> None:
    run = a_run(parallel_tool_calls=told)

    assert run.parallel_tool_calls is None
    assert extra_of(run) == ({} if told is None else {"parallel_tool_calls": told})


@pytest.mark.parametrize(
    "key", ["usage", "last_error", "incomplete_details", "truncation_strategy"]
)
@pytest.mark.parametrize("told", ["a text", ["a", "list"], 5, True, {}])
def test_what_stands_where_an_object_belongs_stays_in_extra(key: str, told: Json) -> None:
    assert extra_of(a_run(**{key: told})) == {key: told}


def test_a_word_and_an_object_both_tell_the_type_of_a_response_format() -> None:
    word, thing = a_run(response_format="auto"), a_run(response_format={"type": "text"})

    assert (word.response_format_type, word.response_format) == ("auto", None)
    assert thing.response_format_type == "text"


def test_the_types_of_an_odd_choice_are_read_as_texts() -> None:
    run = a_run(tool_choice={"type": 5, "function": {"name": 6}})

    assert (run.tool_choice_type, run.tool_choice_function) == ("5", "6")
    assert extra_of(run) == {}


def test_fields_of_the_first_version_stay_in_extra() -> None:
    assert extra_of(a_run(file_ids=["file_1"])) == {"file_ids": ["file_1"]}


def test_undocumented_usage_stays_in_extra() -> None:
    usage = {"prompt_token_details": {"cached_tokens": 1, "audio_tokens": 2}}

    run = a_run(usage=usage)

    assert run.cached_prompt_tokens == 1
    assert extra_of(run) == {"usage": {"prompt_token_details": {"audio_tokens": 2}}}


def test_metadata_may_hold_more_than_texts() -> None:
    metadata = {"n": 1, "list": [True, None], "object": {"deep": 1.5}}

    assert json.loads(a_run(metadata=metadata).metadata or "") == metadata


def test_the_last_of_two_equal_keys_counts() -> None:
    text = text_of(a_payload())[:-1] + b', "status": "failed"}'

    assert flattened(text).status == "failed"


def test_escaped_and_unusual_characters_are_kept() -> None:
    name = 'quote " slash \\ tab \t smile \N{GRINNING FACE} delete \x7f'

    assert a_run(model=name).model == name


# Rejects ---------------------------------------------------------------------


def deep(levels: int) -> bytes:
    return text_of(a_payload())[:-1] + b',"x":' + b"[" * levels + b"]" * levels + b"}"


def with_member(member: str) -> bytes:
    """A valid payload and one more member, as text."""
    return text_of(a_payload())[:-1] + f",{member}}}".encode()


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (b"", RejectReason.NOT_JSON),
        (b"run_1", RejectReason.NOT_JSON),
        (text_of(a_payload())[:-9], RejectReason.NOT_JSON),
        (text_of(a_payload()) + b"}", RejectReason.NOT_JSON),
        (b"\xef\xbb\xbf" + text_of(a_payload()), RejectReason.NOT_JSON),
        (with_member('"x":"a\tb"'), RejectReason.NOT_JSON),
        (with_member('"x":01'), RejectReason.NOT_JSON),
        (b'{"id":"run_\xff"}', RejectReason.NOT_JSON),
        (text_of(a_payload()).decode().encode("utf-16"), RejectReason.NOT_JSON),
        (b'{"x":"\xed\xa0\x80"}', RejectReason.NOT_JSON),
        ([], RejectReason.NOT_AN_OBJECT),
        (None, RejectReason.NOT_AN_OBJECT),
        ("run_1", RejectReason.NOT_AN_OBJECT),
        (17, RejectReason.NOT_AN_OBJECT),
        (deep(10_000), RejectReason.TOO_DEEP),
        (a_payload(None), RejectReason.NO_ID),
        (a_payload(""), RejectReason.NO_ID),
        (a_payload(run_id=True), RejectReason.NO_ID),
        (a_payload(1.5), RejectReason.NO_ID),
        (a_payload({"id": "run_1"}), RejectReason.NO_ID),
        (a_payload(created_at=None), RejectReason.NO_CREATED_AT),
        (a_payload(created_at=0), RejectReason.NO_CREATED_AT),
        (a_payload(created_at="yesterday"), RejectReason.NO_CREATED_AT),
        (a_payload(created_at=True), RejectReason.NO_CREATED_AT),
        (a_payload(created_at=10**30), RejectReason.NO_CREATED_AT),
        (a_payload(created_at=10**400), RejectReason.NO_CREATED_AT),
        (a_payload(status=None), RejectReason.NO_STATUS),
        (a_payload(status=["completed"]), RejectReason.NO_STATUS),
        (a_payload(model="a\0b"), RejectReason.UNSTORABLE_TEXT),
        (a_payload(model="\ud800"), RejectReason.UNSTORABLE_TEXT),
        (a_payload("run_\0"), RejectReason.UNSTORABLE_TEXT),
        (a_payload(instructions="\0"), RejectReason.UNSTORABLE_TEXT),
        (a_payload(metadata={"\udfff": 1}), RejectReason.UNSTORABLE_TEXT),
        (a_payload(tools=[{"type": ["\0"]}]), RejectReason.UNSTORABLE_TEXT),
        (a_payload(temperature=float("nan")), RejectReason.UNSTORABLE_NUMBER),
        (a_payload(metadata={"x": [float("inf")]}), RejectReason.UNSTORABLE_NUMBER),
        (a_payload(tools=[float("-inf")]), RejectReason.UNSTORABLE_NUMBER),
        (with_member('"x":1e999'), RejectReason.UNSTORABLE_NUMBER),
        (with_member('"x":' + "7" * 5000), RejectReason.UNSTORABLE_NUMBER),
        (with_member('"created_at":' + "7" * 5000), RejectReason.UNSTORABLE_NUMBER),
    ],
    ids=lambda value: value.name if isinstance(value, RejectReason) else "",
)
def test_a_payload_that_cannot_become_a_run_is_rejected_with_the_true_reason(
    payload: Json, reason: RejectReason
) -> None:
    assert rejected(payload).reason is reason


def test_a_reject_keeps_the_payload_as_it_came() -> None:
    reject = rejected(b'{"id": "run_1", "x": NaN, "status": }', run_id="run_1")

    assert reject.payload == '{"id": "run_1", "x": NaN, "status": }'
    assert (reject.thread_id, reject.run_id) == (THREAD, "run_1")
    assert not reject.is_open


def test_a_rejects_payload_can_be_stored_whatever_bytes_it_has() -> None:
    assert rejected(b'"\xff\x00"').payload == '"\\xff\\u0000"'


def test_a_reject_says_where_the_text_stops_being_json() -> None:
    assert rejected(b'{"a":1,}').detail.endswith("line 1 column 8 (char 7)")


# Properties ------------------------------------------------------------------


def is_storable(text: str) -> bool:
    return "\0" not in text and text.encode(errors="replace") == text.encode(
        "utf-8", "ignore"
    )


def check_promises(payload: Payload) -> None:
    """Flattening never fails, and whatever comes out can be stored."""
    entry = flatten(payload, thread_id=THREAD)

    match entry:
        case Run():
            assert all(is_storable(value) for value in entry if isinstance(value, str))
            assert 0 <= entry.created_at < 253_402_300_800 * SECOND
            assert entry.run_id
        case Reject():
            assert is_storable(entry.payload)
            assert is_storable(entry.detail)


@given(any_json)
@settings(max_examples=150)
def test_no_json_value_makes_it_fail(value: Json) -> None:
    check_promises(received(value, run_id=None))


@given(st.binary(max_size=60))
@settings(max_examples=200)
def test_no_bytes_make_it_fail(text: bytes) -> None:
    check_promises(Payload(text, None))


@given(st.data())
@settings(max_examples=200)
def test_no_damage_to_a_valid_payload_makes_it_fail(data: st.DataObject) -> None:
    text = text_of(a_payload())
    start = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(start, min(len(text), start + 20)))
    middle = data.draw(st.binary(max_size=6))

    check_promises(Payload(text[:start] + middle + text[end:], None))


@given(changed_payloads(any_json))
@settings(max_examples=200)
def test_no_change_to_a_valid_payload_makes_it_fail(payload: Json) -> None:
    check_promises(received(payload))
