"""Every run that was ever recorded, over HTTP into Postgres and back again."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.engine import Engine

from etl.domain.outcome import Outcome
from tests.integration.builders import comparable, query
from tests.integration.serving import RunsServer
from tests.integration.syncing import Syncer


@pytest.fixture
def engine(swept_engine: Engine) -> Engine:
    return swept_engine


def recorded(data: Path) -> list[dict[str, Any]]:
    lines = (data / "recorded_runs.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def samples(data: Path) -> Iterator[dict[str, Any]]:
    """The runs of all samples: lists of runs, list answers and single runs."""
    for file in sorted((data / "samples").glob("*.json")):
        value = json.loads(file.read_text(encoding="utf-8"))
        if isinstance(value, dict):
            value = value.get("data", [value])
        yield from (each for each in value if "thread_id" in each)


def sync_every_moment(engine: Engine, payloads: Sequence[dict[str, Any]]) -> int:
    """Sync in every moment of some runs' lives, comparing each time; count the runs."""
    shown: list[dict[str, Any]] = []
    server = RunsServer(payloads)
    with server.listening() as base_url:
        syncer = Syncer(engine, base_url)
        syncer.track(server.thread_ids)
        for moment in server.moments:
            server.moment = moment
            shown += server.payloads().values()
            report = syncer.sync()

            assert (report.outcome, report.errors) == (Outcome.SUCCEEDED, [])
            assert report.rejects == 0
            assert syncer.payloads() == {
                run_id: comparable(payload) for run_id, payload in server.payloads().items()
            }
    assert all(payload in shown for payload in payloads)
    assert query(engine, "SELECT * FROM run_sync.rejects") == []
    return len(server.payloads())


def test_every_recorded_run_is_a_row_that_gives_its_payload_back(
    engine: Engine, data: Path
) -> None:
    payloads = recorded(data)

    assert len(payloads) == 48
    assert sync_every_moment(engine, payloads) == 24


def test_every_sample_is_a_row_that_gives_its_payload_back(
    engine: Engine, data: Path
) -> None:
    payloads = list(samples(data))

    assert len(payloads) == 15
    assert sync_every_moment(engine, payloads) == 11


def test_damaged_payloads_are_quarantined_for_what_is_wrong_with_them(
    engine: Engine, data: Path
) -> None:
    """One fault each in a run that is otherwise as it was recorded."""
    (whole,) = [run for run in samples(data) if run["id"] == "run_syn26"]
    faults: dict[str, tuple[dict[str, Any], str]] = {
        "run_no_status": ({"status": None}, "status is missing or is no text"),
        "run_no_birth": ({"created_at": 0}, "created_at is missing or is no instant"),
        "run_text": (
            {"model": "gpt\0"},
            "the payload holds text that Postgres cannot store",
        ),
        "run_number": (
            {"top_p": float("nan")},
            "the payload holds a number that cannot be stored",
        ),
        "run_\0": ({}, "the payload holds text that Postgres cannot store"),
        "": ({}, "the payload has no usable id"),
    }
    payloads = [whole | fault | {"id": name} for name, (fault, _) in faults.items()]
    later = whole | {"id": "run_later", "created_at": whole["created_at"] + 9}

    with RunsServer([whole, *payloads, later]).listening() as base_url:
        syncer = Syncer(engine, base_url)
        syncer.track([whole["thread_id"]])
        report = syncer.sync()
        again = syncer.sync()

    assert report.outcome is again.outcome is Outcome.SUCCEEDED
    assert (report.runs_created, report.rejects) == (2, len(faults))
    assert syncer.payloads() == {run["id"]: comparable(run) for run in (whole, later)}
    quarantined = query(engine, "SELECT payload, reason FROM run_sync.rejects")
    told = {
        json.loads(payload)["id"]: reason.partition(":")[0]
        for payload, reason in quarantined
    }
    assert told == {name: reason for name, (_, reason) in faults.items()}
