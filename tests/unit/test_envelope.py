"""The envelope: one damaged payload does not spoil the page."""

import json
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from etl.domain.errors import ContractError
from etl.extract.envelope import open_envelope
from tests.unit.builders import (
    DATA,
    Json,
    a_payload,
    a_plain_payload,
    an_answer,
    any_json,
    text_of,
)

GOOD = text_of(a_payload("run_good"))


def texts_of(body: bytes) -> list[bytes]:
    payloads, _ = open_envelope(body)
    return [payload.text for payload in payloads]


def peeks_of(body: bytes) -> list[tuple[Json, Json, Json]]:
    payloads, _ = open_envelope(body)
    return [(each.run_id, each.thread_id, each.created_at) for each in payloads]


def promises_more(body: bytes) -> bool:
    _, has_more = open_envelope(body)
    return has_more


def damaged(member: bytes) -> bytes:
    """A payload that strict JSON does not know."""
    return b'{"id":"run_bad","thread_id":"thread_1","x":' + member + b',"created_at":17}'


def test_payloads_are_handed_on_byte_for_byte() -> None:
    odd = b'{ "id" : "run_\\u0031",\n"x":1.00}'

    assert texts_of(an_answer(odd, GOOD)) == [odd, GOOD]


def test_what_paging_needs_is_seen() -> None:
    assert peeks_of(an_answer({"id": "run_1", "thread_id": "t", "created_at": 5})) == [
        ("run_1", "t", 5)
    ]


def test_what_paging_needs_may_be_absent_or_of_any_type() -> None:
    assert peeks_of(an_answer({}, {"id": 7, "created_at": "x"}, {"id": None})) == [
        (None, None, None),
        ("7", None, None),
        (None, None, None),
    ]


@pytest.mark.parametrize("told", [17, "run_1", None, [], True], ids=str)
def test_a_payload_that_is_no_object_is_handed_on(told: Json) -> None:
    assert texts_of(an_answer(told, GOOD)) == [text_of(told), GOOD]
    assert peeks_of(an_answer(told))[0] == (None, None, None)


@pytest.mark.parametrize(
    "member",
    [
        b"NaN",
        b"-Infinity",
        b"1e999",
        b"7" * 5000,
        b"01",
        b"True",
        b'"\xff"',
        b'"\\ud800"',
        b'"\\x"',
        b'"tab\there"',
        b'"brackets ]}[{ and \\" quotes"',
        b"[" * 10_000 + b"]" * 10_000,
        b'{"a":' * 3_000 + b"1" + b"}" * 3_000,
        b'{"a":NaN,"id":"run_inner"}',
        b'["id", "run_inner", NaN]',
    ],
    ids=lambda member: str(member[:30]),
)
def test_a_damaged_payload_spoils_neither_its_page_nor_its_own_id(member: bytes) -> None:
    body = an_answer(GOOD, damaged(member), GOOD, has_more=True)

    assert texts_of(body) == [GOOD, damaged(member), GOOD]
    assert peeks_of(body)[1] == ("run_bad", "thread_1", 17)
    assert promises_more(body)


def test_damage_in_what_paging_needs_hides_only_that() -> None:
    bad = b'{"id":"\\ud800","thread_id":NaN,"created_at":17}'

    assert peeks_of(an_answer(bad)) == [(None, None, 17)]


def test_the_last_of_two_equal_keys_counts_damaged_or_not() -> None:
    twice = b'{"id":"run_1","id":"run_2"}'

    assert peeks_of(an_answer(twice))[0][0] == "run_2"
    assert peeks_of(an_answer(twice, b'{"x":NaN}'))[0][0] == "run_2"
    assert peeks_of(an_answer(b'{"id":"run_1","x":NaN,"id":"run_2"}'))[0][0] == "run_2"


def test_what_is_just_as_published_is_decoded_with_its_page() -> None:
    payloads, _ = open_envelope(an_answer(a_plain_payload(), a_plain_payload("run_2")))

    assert [each.published.id for each in payloads if each.published] == ["run_1", "run_2"]


@pytest.mark.parametrize("model", ["a\0b", "\ud800"], ids=["nul", "surrogate"])
def test_a_page_with_text_that_postgres_cannot_store_is_not_taken_as_published(
    model: str,
) -> None:
    payloads, _ = open_envelope(an_answer(a_plain_payload(), a_plain_payload(model=model)))

    assert [each.published for each in payloads] == [None, None]


def test_an_envelope_needs_no_more_than_its_data() -> None:
    assert open_envelope(b'{"data":[]}') == ([], False)


def test_null_ids_and_unknown_members_do_no_harm() -> None:
    assert open_envelope((DATA / "samples/23_empty_list_null_ids.json").read_bytes()) == (
        [],
        False,
    )
    assert open_envelope(b'{"data":[],"first_id":null,"x":{"y":[]}}') == ([], False)


def test_foundrys_envelope_without_object_and_first_id_is_opened() -> None:
    body = (DATA / "samples/18_foundry_openapi_list_example.json").read_bytes()

    assert [seen[0] for seen in peeks_of(body)] == ["wmel"]
    assert promises_more(body)


@pytest.mark.parametrize("told", [False, None, 0, 1, "true", [], {}], ids=repr)
def test_only_true_promises_more(told: Json) -> None:
    assert not promises_more(an_answer(has_more=told))
    assert not promises_more(an_answer(damaged(b"NaN"), has_more=told))


def test_white_space_does_no_harm() -> None:
    payload = b'{"id": "run_1", "x": NaN}'
    body = b' {\n "data" : [ ' + payload + b' , {} ] , "has_more" : true } \n'

    assert open_envelope(body)[1]
    assert texts_of(body) == [payload, b"{}"]


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"", "it is empty"),
        (b" \n", "it is empty"),
        (b"<html>\n<body>Log in", "it begins with '<html> <body>Log in'"),
        (b"[]", "it begins with '[]'"),
        (b"null", "it begins with 'null'"),
        (b'{"error":"x"}', """it begins with '{"error":"x"}'"""),
        (b'{"data":null}', """it begins with '{"data"'"""),
        (b'{"data":{}}', """it begins with '{"data"'"""),
        (b'{"data":"[]"}', """it begins with '{"data"'"""),
        (b'{"data":[{"id":"run_1"}', """it begins with '{"data"'"""),
        (b'{"data":[{"id":"run_', """it begins with '{"data"'"""),
        (b'[{"instructions":"Be brief."}]', "it begins with '['"),
        (b'{"instructions":"Be brief."', """it begins with '{"instructions"'"""),
        (b'log: {"instructions":"Be"', """it begins with 'log: {"instructions"'"""),
        (b"\xff\x00", "it begins with '\N{REPLACEMENT CHARACTER}\\x00'"),
        (b"x" * 500, f"it begins with '{'x' * 80}'"),
    ],
)
def test_what_is_no_list_answer_is_a_broken_contract(body: bytes, said: str) -> None:
    with pytest.raises(ContractError) as caught:
        open_envelope(body)

    assert str(caught.value) == f"the answer is no list of runs ({said})"


def test_a_body_cut_off_anywhere_is_never_taken_for_a_whole_one() -> None:
    body = an_answer(GOOD, damaged(b"NaN"), has_more=True)

    for length in range(len(body)):
        with pytest.raises(ContractError):
            open_envelope(body[:length])


@given(st.binary(max_size=80) | st.text('[]{}":,\\ adt', max_size=40).map(str.encode))
@settings(max_examples=120)
def test_whatever_a_server_sends_is_a_page_or_a_broken_contract(body: bytes) -> None:
    for whole in (body, b'{"data":[' + body + b"]}"):
        with suppress(ContractError):
            open_envelope(whole)


@given(st.lists(any_json, max_size=4), st.booleans())
@settings(max_examples=120)
def test_every_payload_comes_out_as_it_went_in(values: list[Json], has_more: bool) -> None:  # noqa: FBT001  # drawn
    texts = [text_of(value) for value in values]
    body = an_answer(*texts, has_more=has_more)

    assert texts_of(body) == texts
    assert promises_more(body) is has_more


@given(st.lists(st.dictionaries(st.sampled_from(["id", "x"]), any_json), max_size=4))
@settings(max_examples=100)
def test_damage_beside_a_payload_does_not_change_what_is_seen_of_it(
    values: list[Json],
) -> None:
    texts = [json.dumps(value).encode() for value in values]

    assert peeks_of(an_answer(*texts)) == peeks_of(an_answer(*texts, damaged(b"NaN")))[:-1]
