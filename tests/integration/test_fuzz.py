"""Mutated payloads: each is a row that gives it back, or a reject that keeps its text."""

import copy
import json
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.engine import Engine

from etl.domain.batch import SourceId
from etl.domain.errors import ContractError
from etl.domain.page import Payload
from etl.domain.run import Instant, Reject, Run, RunId
from etl.extract.envelope import open_envelope
from etl.load.database import connected
from etl.load.reading import read_runs
from etl.load.store import Store
from etl.load.threads import record_source
from etl.load.tracking import track
from etl.transform import flatten, rebuild
from tests.integration.builders import (
    NOW,
    THREAD,
    a_batch,
    a_payload,
    a_store,
    an_increment,
    comparable,
    query,
)
from tests.integration.raw_threads import a_list

Json = Any
Dice = random.Random

PAYLOADS_IN_A_BATCH = 500
DOSES = [
    pytest.param(5_000, id="5,000"),
    pytest.param(100_000, id="100,000", marks=pytest.mark.slow),
]

DEEP, HUGE = "@deep@", "@huge@"
"""What Python will not write as JSON, put in afterwards."""

NASTY: tuple[Json, ...] = (
    *(None, True, False, 0, -0.0, 1, -1, 0.1, 1e16, 1e23, 1e300, 5e-324),
    *(2**31, 2**53 + 1, 2**63 - 1, 2**63, -(2**63) - 1, 10**30, 10**400),
    *(float("nan"), float("inf"), float("-inf")),
    *("", " ", "null", "auto", "queued", "2026-01-02T03:04:05Z", "é\u2028\n\t\\'\"", "17"),
    *("\0", "a\0b", "\ud800", "\udc00\ud800", "\U0001f600", "\ufffe", "x" * 10_000),
    *([], [None], {}, {"": None}, {"\0": 1}, {"\ud800": 1}, [[[]]], {"a": {"a": {}}}),
    *([True, 1, "1"], ["file_1"], ["file_1", None], {"type": "function"}, {"type": 1}),
    *(1_750_000_000, 1_750_000_000_123, 1_750_000_000.25, 253_402_300_800, -62_135_596_800),
    *(DEEP, HUGE),
)


def seeds(data: Path) -> list[dict[str, Json]]:
    """Everything that was ever recorded, and a run with something in every part."""
    lines = (data / "recorded_runs.jsonl").read_text(encoding="utf-8").splitlines()
    found = [json.loads(line) for line in lines]
    for file in sorted((data / "samples").glob("*.json")):
        value = json.loads(file.read_text(encoding="utf-8"))
        listed = value.get("data", [value]) if isinstance(value, dict) else value
        found += [each for each in listed if "thread_id" in each]
    return [*found, a_payload()]


def places(value: Json) -> Iterator[tuple[Json, Json]]:
    """Every holder in a value, with each of its keys or places."""
    if isinstance(value, dict | list):
        for key in list(value) if isinstance(value, dict) else range(len(value)):
            yield value, key
            yield from places(value[key])


def replace_value(dice: Dice, holder: Json, key: Json) -> None:
    holder[key] = copy.deepcopy(dice.choice(NASTY))


def drop_value(_: Dice, holder: Json, key: Json) -> None:
    del holder[key]


def double_value(dice: Dice, holder: Json, key: Json) -> None:
    if isinstance(holder, list):
        holder.insert(key, copy.deepcopy(holder[key]))
    else:
        holder[dice.choice((f"{key}2", "extra", *holder))] = copy.deepcopy(holder[key])


def insert_value(dice: Dice, holder: Json, _: Json) -> None:
    if isinstance(holder, list):
        holder.insert(dice.randrange(len(holder) + 1), copy.deepcopy(dice.choice(NASTY)))
    else:
        name = dice.choice(("new", "type", "", "é" * 50))
        holder[name] = copy.deepcopy(dice.choice(NASTY))


def move_value(dice: Dice, holder: Json, key: Json) -> None:
    holder[key] = dice.choice([[holder[key]], {"value": holder[key]}, str(holder[key])])


CHANGES: tuple[Callable[[Dice, Json, Json], None], ...] = (
    replace_value,
    replace_value,
    drop_value,
    double_value,
    insert_value,
    move_value,
)


def flip_bytes(dice: Dice, text: bytes) -> bytes:
    changed = bytearray(text)
    for _ in range(dice.randint(1, 3)):
        changed[dice.randrange(len(changed))] = dice.randrange(256)
    return bytes(changed)


def cut_off(dice: Dice, text: bytes) -> bytes:
    return text[: dice.randrange(len(text))]


def double_key(dice: Dice, text: bytes) -> bytes:
    key = dice.choice((b"status", b"usage", b"id", b"tools", b"metadata", b"created_at"))
    value = json.dumps(dice.choice(NASTY[:12])).encode()
    return b'{"' + key + b'":' + value + b"," + text[1:]


def put_in(dice: Dice, text: bytes) -> bytes:
    place = dice.randrange(len(text))
    return (
        text[:place]
        + dice.choice((b"\0", b"\xff", b"\\", b'"', b"}", b"[", b","))
        + (text[place:])
    )


DAMAGES = (flip_bytes, flip_bytes, cut_off, double_key, put_in)


def mutated(dice: Dice, seed: Json, number: int) -> bytes:
    """A payload with an id of its own in which one to four things are not as they were."""
    payload = copy.deepcopy(seed)
    payload["id"] = f"run_{number}"
    for _ in range(dice.choice((0, 1, 1, 2, 4))):
        holder, key = dice.choice(list(places(payload)) or [(payload, "new")])
        dice.choice(CHANGES)(dice, holder, key)
    if isinstance(payload.get("id"), str) and payload["id"] != f"run_{number}":
        payload["id"] += str(number)
    text = json.dumps(payload, ensure_ascii=dice.random() < 0.5)
    depth = dice.choice((10, 300, 10_000))
    text = text.replace(f'"{DEEP}"', "[" * depth + "]" * depth)
    text = text.replace(f'"{HUGE}"', "9" * 5_000)
    found = text.encode("utf-8", "surrogatepass")
    return dice.choice(DAMAGES)(dice, found) if dice.random() < 0.3 else found


def received(text: bytes) -> Payload:
    """The payload as paging hands it on."""
    try:
        (payload,), _ = open_envelope(a_list([text]))
    except (ContractError, ValueError):
        return Payload(text, None)
    return payload


def gives_back(run: Run, text: bytes) -> bool:
    """Whether the row says all that the payload said, and no more."""
    told = {"object": "thread.run", "thread_id": THREAD} | json.loads(text)
    given = {key: value for key, value in told.items() if value is not None}
    rebuilt = comparable(rebuild(run))
    return bool(
        rebuilt == rebuilt | comparable(json.loads(text)) and rebuilt.keys() <= given.keys()
    )


def stored(engine: Engine, source_id: SourceId) -> dict[tuple[RunId, Instant], Run]:
    with connected(engine) as connection:
        runs = read_runs(connection, source_id)
        return {(run.run_id, run.created_at): run for run in runs}


def quarantined(engine: Engine, source_id: SourceId) -> set[str]:
    statement = "SELECT payload FROM run_sync.rejects WHERE source_id = :id"
    return {text for (text,) in query(engine, statement, id=source_id)}


@pytest.fixture
def engine(swept_engine: Engine) -> Engine:
    return swept_engine


@pytest.mark.parametrize("dose", DOSES)
def test_every_payload_is_a_row_that_gives_it_back_or_a_reject_that_keeps_it(
    engine: Engine, data: Path, dose: int
) -> None:
    dice, beginnings = Dice(dose), seeds(data)
    rows = rejects = 0
    with a_store(engine) as store:
        for first in range(0, dose, PAYLOADS_IN_A_BATCH):
            numbers = range(first, first + PAYLOADS_IN_A_BATCH)
            texts = [mutated(dice, dice.choice(beginnings), each) for each in numbers]
            kept, refused = commit_and_compare(engine, store, f"batch_{first}", texts)
            rows += kept
            rejects += refused

    assert rows + rejects == dose
    assert rows > dose / 2
    assert rejects > dose / 20


def commit_and_compare(
    engine: Engine, store: Store, source: str, texts: list[bytes]
) -> tuple[int, int]:
    """Commit payloads as one page; count rows and rejects, once all are accounted for."""
    source_id = record_source(engine, name=source, kind="openai", base_url="")
    track(engine, source_id, [THREAD])
    payloads = [received(text) for text in texts]
    page = an_increment(source_id, *payloads, read_at=NOW)
    store.commit(a_batch(page))

    kept, waiting = stored(engine, source_id), quarantined(engine, source_id)
    entries = [flatten(payload, thread_id=THREAD) for payload in payloads]
    last = {
        (entry.run_id, entry.created_at): payload
        for entry, payload in zip(entries, payloads, strict=True)
        if isinstance(entry, Run)
    }
    for key, payload in last.items():
        if key in kept:
            assert gives_back(kept[key], payload.text), payload.text
        else:
            assert payload.readable() in waiting, payload.text
    for entry, payload in zip(entries, payloads, strict=True):
        if isinstance(entry, Reject):
            assert payload.readable() in waiting, payload.text
    assert kept.keys() <= last.keys()
    rejects = sum(isinstance(entry, Reject) for entry in entries)
    return len(texts) - rejects, rejects


def test_instructions_that_read_like_a_tool_list_are_kept(engine: Engine) -> None:
    """Found by the fuzz: both have the same digest, and each its own dictionary."""
    runs = [a_payload("run_1", tools=[]), a_payload("run_2", instructions="[]")]
    with a_store(engine) as store:
        for number, run in enumerate(runs):
            text = json.dumps(run).encode()
            assert commit_and_compare(engine, store, f"source_{number}", [text]) == (1, 0)


@pytest.mark.parametrize("dose", DOSES)
def test_a_damaged_payload_takes_none_of_its_neighbours_with_it(
    data: Path, dose: int
) -> None:
    dice, beginnings = Dice(dose + 1), seeds(data)
    for number in range(dose // 5):
        good = [json.dumps(dice.choice(beginnings)).encode() for _ in range(3)]
        bad = dice.choice(DAMAGES)(dice, mutated(dice, dice.choice(beginnings), number))

        payloads, _ = open_envelope(a_list([good[0], bad, *good[1:]]))

        texts = [payload.text for payload in payloads]
        assert texts[0] == good[0]
        assert texts[-2:] == good[1:]
