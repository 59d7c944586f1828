"""The benchmark's workload and API: what every contender is given."""

import json
from itertools import pairwise
from typing import Any

from bench.api import Pages
from bench.workload import Workload, id_of, number_of

WORKLOAD = Workload(threads=3, runs=250)


def asked(query: str, *, thread: int = 1) -> dict[str, Any]:
    target = f"/v1/threads/thread_{id_of(thread)}/runs?{query}"
    page: dict[str, Any] = json.loads(Pages(WORKLOAD).page(target.encode()))
    return page


def test_a_payload_is_json_of_about_2_7_kilobytes() -> None:
    payloads = WORKLOAD.payloads(2, 0, 250)

    assert all(2_600 < len(payload) < 2_900 for payload in payloads)
    assert {json.loads(payload)["thread_id"] for payload in payloads} == {
        f"thread_{id_of(2)}"
    }


def test_the_pages_of_a_thread_follow_each_other_in_ascending_order() -> None:
    pages = [asked("limit=100&order=asc")]
    while pages[-1]["has_more"]:
        pages.append(asked(f"limit=100&order=asc&after={pages[-1]['last_id']}"))
    runs = [run for page in pages for run in page["data"]]

    assert [len(page["data"]) for page in pages] == [100, 100, 50]
    assert len({run["id"] for run in runs}) == 250
    assert all(one["created_at"] < next_["created_at"] for one, next_ in pairwise(runs))


def test_nothing_follows_the_last_run() -> None:
    last = asked("limit=100", thread=0)["data"][-1]["id"]
    rest = asked(f"limit=100&after={last}", thread=0)
    final = asked(f"limit=100&after={rest['data'][-1]['id']}", thread=0)["last_id"]

    assert asked(f"after={final}", thread=0) == {
        "object": "list",
        "data": [],
        "first_id": None,
        "last_id": None,
        "has_more": False,
    }


def test_one_run_in_a_hundred_is_changed_and_only_its_metadata() -> None:
    changed = Workload(threads=3, runs=250, changed=1)
    pairs = [
        (json.loads(one), json.loads(other))
        for thread in range(3)
        for one, other in zip(
            WORKLOAD.payloads(thread, 0, 250), changed.payloads(thread, 0, 250), strict=True
        )
    ]
    different = [(one, other) for one, other in pairs if one != other]

    assert len(different) == 8
    assert all(one | {"metadata": other["metadata"]} == other for one, other in different)


def test_unknown_fields_are_all_that_tells_the_lenient_workload() -> None:
    lenient = Workload(threads=3, runs=250, unknown_fields=True)
    one, other = (json.loads(each.payloads(0, 7, 8)[0]) for each in (WORKLOAD, lenient))

    assert {name for name in other if name not in one} == {"service_tier", "trace"}
    assert one == {name: other[name] for name in one}


def test_an_id_gives_its_number_back() -> None:
    assert [number_of(id_of(number).encode()) for number in (0, 1, 999_999)] == [
        0,
        1,
        999_999,
    ]
