"""The demo world: it behaves as the API's runs are known to behave."""

import re
from collections import Counter
from itertools import pairwise
from statistics import mean

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from etl.demo.life import Payload
from etl.demo.world import World

WORLD = World()
NOW = WORLD.now
HOUR = 3600
DAY = 24 * HOUR
OPEN = {"queued", "in_progress", "requires_action", "cancelling"}
TERMINAL = {"completed", "failed", "cancelled", "expired", "incomplete"}
# The order of the run recorded in March 2026.
KEYS = """
    id object created_at assistant_id thread_id status started_at expires_at
    cancelled_at failed_at completed_at required_action last_error model
    instructions tools tool_resources metadata temperature top_p reasoning_effort
    max_completion_tokens max_prompt_tokens truncation_strategy incomplete_details
    usage response_format tool_choice parallel_tool_calls
"""

worlds = st.builds(
    World,
    seed=st.integers(0, 10_000),
    threads=st.integers(0, 13),
    runs=st.integers(0, 90),
    days=st.integers(1, 30),
)


class ObservedUsage(msgspec.Struct, forbid_unknown_fields=True):
    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    prompt_token_details: dict[str, int]
    completion_tokens_details: dict[str, int]


class ObservedRun(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    id: str
    kind: str = msgspec.field(name="object")
    created_at: int
    assistant_id: str
    thread_id: str
    status: str
    started_at: int | None
    expires_at: int | None
    cancelled_at: int | None
    failed_at: int | None
    completed_at: int | None
    required_action: dict[str, object] | None
    last_error: dict[str, str] | None
    model: str
    instructions: str
    tools: list[dict[str, object]]
    tool_resources: dict[str, object]
    metadata: dict[str, str]
    temperature: float
    top_p: float
    reasoning_effort: str | None
    max_completion_tokens: int | None
    max_prompt_tokens: int | None
    truncation_strategy: dict[str, object]
    incomplete_details: dict[str, str] | None
    usage: ObservedUsage | None
    response_format: str | dict[str, object]
    tool_choice: str
    parallel_tool_calls: bool


def runs_at(at: int, world: World = WORLD) -> list[Payload]:
    return list(world.all_payloads(at=at))


def life_of(run: Payload) -> list[Payload]:
    """The run at each instant at which its status changes."""
    thread = WORLD.thread(run["thread_id"])
    assert thread is not None
    life = thread.run(run["id"], at=run["created_at"])
    assert life is not None
    instants = sorted({life.created_at + moment.after for moment in life.course.moments})
    return [life.payload(at) for at in instants]


@given(worlds)
@settings(deadline=None, max_examples=25)
def test_the_same_numbers_make_the_same_world(world: World) -> None:
    again = World(seed=world.seed, threads=world.threads, runs=world.runs, days=world.days)

    assert again.thread_ids == world.thread_ids
    assert runs_at(NOW, again) == runs_at(NOW, world)


def test_another_seed_makes_another_world() -> None:
    other = World(seed=2)

    assert not set(other.thread_ids) & set(WORLD.thread_ids)
    assert not {run["id"] for run in runs_at(NOW, other)} & {
        run["id"] for run in runs_at(NOW)
    }


@given(worlds)
@settings(deadline=None, max_examples=25)
def test_a_world_has_as_many_threads_and_runs_as_it_was_asked_for(
    world: World,
) -> None:
    assert len(world.thread_ids) == world.threads
    runs = runs_at(NOW + HOUR, world)
    assert len({run["id"] for run in runs}) == (world.runs if world.threads else 0)


@given(worlds)
@settings(deadline=None, max_examples=25)
def test_a_thread_has_at_most_one_open_run_and_it_is_the_newest(world: World) -> None:
    for thread_id in world.thread_ids:
        instants = {run["created_at"] for run in world.payloads(thread_id, at=NOW + HOUR)}
        for at in (*instants, NOW, NOW + 300, NOW + HOUR):
            older = world.payloads(thread_id, at=at)[:-1]
            assert not [run for run in older if run["status"] in OPEN]


def test_the_demo_world_spreads_600_runs_over_two_weeks() -> None:
    runs = runs_at(NOW)

    assert len(WORLD.thread_ids) == 40
    assert 570 <= len(runs) < 600
    oldest = min(run["created_at"] for run in runs)
    assert 12 * DAY < NOW - oldest < 15 * DAY


def test_one_thread_takes_two_pages_and_one_is_empty() -> None:
    counts = [len(WORLD.payloads(id_, at=NOW)) for id_ in WORLD.thread_ids]

    assert max(counts) > 100
    assert min(counts) == 0


def test_some_runs_are_open_now_and_all_of_them_end_within_the_hour() -> None:
    open_now = set(WORLD.open_run_ids(at=NOW))

    assert 10 <= len(open_now) <= 20
    assert not WORLD.open_run_ids(at=NOW + HOUR)
    ended = {run["id"] for run in runs_at(NOW + HOUR) if run["status"] in TERMINAL}
    assert open_now < ended


def test_new_runs_appear_in_the_hour_to_come() -> None:
    known = {run["id"] for run in runs_at(NOW)}
    coming = [run for run in runs_at(NOW + HOUR) if run["id"] not in known]

    assert 5 <= len(coming) <= 20
    assert all(NOW < run["created_at"] < NOW + HOUR for run in coming)


def test_runs_come_in_the_order_of_creation_and_some_share_a_second() -> None:
    for thread_id in WORLD.thread_ids:
        seconds = [run["created_at"] for run in WORLD.payloads(thread_id, at=NOW)]
        assert seconds == sorted(seconds)

    shared = Counter((run["thread_id"], run["created_at"]) for run in runs_at(NOW))
    assert sum(count > 1 for count in shared.values()) >= 5


@pytest.mark.parametrize("at", [NOW - 7 * DAY, NOW, NOW + HOUR])
def test_a_payload_has_the_keys_and_types_of_the_wire(at: int) -> None:
    for run in runs_at(at):
        assert list(run) == KEYS.split()
        msgspec.convert(run, ObservedRun, strict=True)


def test_ids_look_like_those_of_openai() -> None:
    for run in runs_at(NOW):
        assert re.fullmatch(r"run_[0-9A-Za-z]{24}", run["id"])
        assert re.fullmatch(r"thread_[0-9A-Za-z]{24}", run["thread_id"])
        assert re.fullmatch(r"asst_[0-9A-Za-z]{24}", run["assistant_id"])


@pytest.mark.parametrize("at", [NOW, NOW + 60, NOW + HOUR])
def test_usage_is_null_and_an_expiry_is_set_exactly_while_a_run_is_open(
    at: int,
) -> None:
    for run in runs_at(at):
        is_open = run["status"] in OPEN
        assert (run["usage"] is None) == is_open
        assert run["expires_at"] == (run["created_at"] + 600 if is_open else None)


def test_the_instant_of_the_end_stands_in_the_field_of_its_status() -> None:
    fields = {
        "completed": {"completed_at"},
        "incomplete": {"completed_at"},
        "failed": {"failed_at"},
        "cancelled": {"cancelled_at"},
    }

    for run in runs_at(NOW):
        filled = {
            name
            for name in ("completed_at", "failed_at", "cancelled_at")
            if run[name] is not None
        }
        assert filled == fields.get(run["status"], set())


def test_every_way_to_end_occurs_with_its_reason() -> None:
    runs = runs_at(NOW + HOUR)

    assert {run["status"] for run in runs} == TERMINAL
    for run in runs:
        assert (run["last_error"] is not None) == (run["status"] == "failed")
        is_incomplete = run["status"] == "incomplete"
        assert (run["incomplete_details"] is not None) == is_incomplete


def test_a_run_goes_back_to_queued_and_its_required_action_is_wiped() -> None:
    went_back = 0
    for run in runs_at(NOW):
        life = life_of(run)
        for before, after in pairwise(life):
            if (before["status"], after["status"]) == ("requires_action", "queued"):
                went_back += 1
                assert before["required_action"]["submit_tool_outputs"]["tool_calls"]
                assert after["required_action"] is None
                assert after["started_at"] == before["started_at"]
    assert went_back > 50


def test_every_open_status_is_seen_at_some_instant() -> None:
    statuses = {moment["status"] for run in runs_at(NOW) for moment in life_of(run)}

    assert statuses == OPEN | TERMINAL


def test_a_run_that_has_ended_never_changes_again() -> None:
    later = {run["id"]: run for run in runs_at(NOW + 30 * DAY)}

    for run in runs_at(NOW):
        if run["status"] in TERMINAL:
            assert later[run["id"]] == run


def test_a_run_does_not_exist_before_its_creation() -> None:
    thread_id = WORLD.thread_ids[0]
    newest = WORLD.payloads(thread_id, at=NOW + HOUR)[-1]
    just_before = newest["created_at"] - 1

    ids = {run["id"] for run in WORLD.payloads(thread_id, at=just_before)}
    thread = WORLD.thread(thread_id)

    assert newest["id"] not in ids
    assert thread is not None
    assert thread.run(newest["id"], at=just_before) is None


def test_token_counts_add_up() -> None:
    for run in runs_at(NOW + HOUR):
        usage = run["usage"]
        prompt, completion = usage["prompt_tokens"], usage["completion_tokens"]
        assert usage["total_tokens"] == prompt + completion
        assert 0 <= usage["prompt_token_details"]["cached_tokens"] <= prompt
        reasoning = usage["completion_tokens_details"]["reasoning_tokens"]
        assert 0 <= reasoning <= completion
        assert (run["reasoning_effort"] is not None) or reasoning == 0


def test_prompts_grow_over_a_thread() -> None:
    prompts = [
        run["usage"]["prompt_tokens"]
        for run in WORLD.payloads(WORLD.thread_ids[0], at=NOW)
        if run["status"] == "completed"
    ]

    assert mean(prompts[-20:]) > 3 * mean(prompts[:20])


def test_a_dozen_assistants_share_several_models_some_of_which_reason() -> None:
    runs = runs_at(NOW)

    assert len({run["assistant_id"] for run in runs}) == 12
    assert {"gpt-4o", "gpt-4o-mini", "gpt-4.1", "o3-mini"} <= {run["model"] for run in runs}
    for reader in ("prompt_token_details", "completion_tokens_details"):
        assert any(sum(run["usage"][reader].values()) for run in runs if run["usage"])


def test_changing_a_payload_does_not_change_the_world() -> None:
    before = runs_at(NOW)

    for run in runs_at(NOW):
        run["tools"].append({"type": "mcp"})
        run["metadata"].clear()

    assert runs_at(NOW) == before
