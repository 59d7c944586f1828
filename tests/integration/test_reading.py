"""Payload to run to Postgres to run to payload: nothing is lost on the way."""

from collections.abc import Iterator
from itertools import count
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st
from sqlalchemy.engine import Engine

from etl.domain.batch import SourceId
from etl.domain.run import Run
from etl.load.database import connected
from etl.load.reading import read_runs
from etl.load.store import Store
from etl.load.threads import record_source
from etl.load.tracking import track
from etl.transform import flatten, rebuild
from etl.transform.fields import RUN_FIELDS, TOOL_FIELDS
from tests.integration.builders import (
    NOW_SECONDS,
    THREAD,
    a_batch,
    a_payload,
    an_increment,
    as_payload,
    comparable,
    comparable_run,
    query,
)

texts = st.text(max_size=12)
words = st.sampled_from(["auto", "completed", "queued", "function", "", "é\n\\t'", "NULL"])
numbers = (
    st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.sampled_from([0, 1, -1, 2**53 + 1, 2**63 - 1, 2**63, -(2**63), 10**400, 1e300])
    | st.sampled_from([5e-324, 0.1, 1e16, 1.0])
)
values = st.recursive(
    st.none() | st.booleans() | numbers | texts | words,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)
instants = st.one_of(
    st.integers(0, 253_402_300_800),
    st.floats(0, 253_402_300_799),
    st.integers(0, 253_402_300_800_000),
    st.datetimes().map(str),
    st.just(NOW_SECONDS),
)


def shaped(paths: list[tuple[str, ...]]) -> st.SearchStrategy[dict[str, Any]]:
    """Objects with anything at some of these places."""
    below: dict[str, list[tuple[str, ...]]] = {}
    for first, *rest in paths:
        below.setdefault(first, []).extend([tuple(rest)] if rest else [])
    return st.fixed_dictionaries(
        {},
        optional={
            key: values | words | texts | instants | (shaped(rest) if rest else st.none())
            for key, rest in below.items()
        },
    )


tools = st.lists(shaped([field.path for field in TOOL_FIELDS]) | values, max_size=3)
payloads = st.builds(
    lambda needed, known, unknown: unknown | known | needed,
    st.fixed_dictionaries(
        {"id": texts | words | st.integers(), "status": texts, "created_at": instants}
    ),
    st.builds(
        lambda fields, rest: fields | rest,
        shaped([field.path for field in RUN_FIELDS]),
        st.fixed_dictionaries(
            {},
            optional={
                "thread_id": texts | values,
                "object": values,
                "tools": tools | values,
                "instructions": texts | values,
            },
        ),
    ),
    st.dictionaries(texts, values, max_size=2),
)


@pytest.fixture
def engine(swept_engine: Engine) -> Engine:
    return swept_engine


@pytest.fixture
def numbers_of_examples() -> Iterator[int]:
    return count()


@settings(
    max_examples=10,
    deadline=None,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],  # shrinking takes minutes
    suppress_health_check=[
        HealthCheck.function_scoped_fixture,
        HealthCheck.too_slow,
        HealthCheck.data_too_large,
    ],
)
@given(st.lists(payloads, min_size=10, max_size=30, unique_by=lambda each: str(each["id"])))
@example([a_payload(metadata={"a": [1e300, 10**400, 2**63, -0.0, True, 1, None]})])
@example([a_payload(tools=[]), a_payload("run_2", tools=[None, {}, [], {"type": 1}])])
@example([a_payload("run_\0"), a_payload("run_2", model="\0"), a_payload("run_3")])
@example([a_payload(max_prompt_tokens=6.061040761923135e16)])
@example([a_payload(instructions=""), a_payload("run_2", instructions=None)])
def test_every_payload_is_rebuilt_from_the_tables_or_stands_in_the_quarantine(
    engine: Engine,
    store: Store,
    numbers_of_examples: Iterator[int],
    given_payloads: list[dict[str, Any]],
) -> None:
    source_id = record_source(
        engine, name=f"example_{next(numbers_of_examples)}", kind="openai", base_url=""
    )
    track(engine, source_id, [THREAD])

    store.commit(a_batch(an_increment(source_id, *given_payloads)))

    received = [as_payload(each) for each in given_payloads]
    entries = [flatten(each, thread_id=THREAD) for each in received]
    runs = {entry.run_id: entry for entry in entries if isinstance(entry, Run)}
    stored = stored_runs(engine, source_id)
    quarantined = quarantined_texts(engine, source_id)
    assert stored.keys() == runs.keys()
    for payload, given_payload, entry in zip(
        received, given_payloads, entries, strict=True
    ):
        if isinstance(entry, Run):
            found = stored[entry.run_id]
            assert comparable_run(found) == comparable_run(entry)
            told = {"object": "thread.run", "thread_id": THREAD} | {
                key: value for key, value in given_payload.items() if value is not None
            }
            rebuilt = comparable(rebuild(found))
            assert rebuilt == rebuilt | comparable(given_payload)
            assert rebuilt.keys() <= told.keys()
        else:
            assert payload.readable() in quarantined


def stored_runs(engine: Engine, source_id: SourceId) -> dict[str, Run]:
    with connected(engine) as connection:
        return {run.run_id: run for run in read_runs(connection, source_id)}


def quarantined_texts(engine: Engine, source_id: SourceId) -> set[str]:
    found = query(
        engine, "SELECT payload FROM run_sync.rejects WHERE source_id = :id", id=source_id
    )
    return {payload for (payload,) in found}
