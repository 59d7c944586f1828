"""What follows a sync that cron started: alerts and the metrics file."""
# ruff: noqa: E501  # the file is compared line by line

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy.engine import Engine

from etl.demo.listener import Reply
from etl.demo.server import DemoServer
from etl.demo.world import World
from tests.integration.builders import query
from tests.integration.commands import Runtide
from tests.integration.serving import listening

WORLD = World(threads=5, runs=30)

METRICS = """\
# HELP runtide_database_up Whether the database answered when it was last asked.
# TYPE runtide_database_up gauge
runtide_database_up 1.0
# HELP runtide_database_bytes Size of the database.
# TYPE runtide_database_bytes gauge
runtide_database_bytes N
# HELP runtide_threads Tracked threads by state.
# TYPE runtide_threads gauge
runtide_threads{source="demo",state="complete"} 5.0
runtide_threads{source="demo",state="failing"} 0.0
runtide_threads{source="demo",state="never_read"} 0.0
runtide_threads{source="demo",state="missing"} 0.0
runtide_threads{source="demo",state="gone"} 0.0
# HELP runtide_complete_through_timestamp_seconds Every thread of the source is complete up to here.
# TYPE runtide_complete_through_timestamp_seconds gauge
runtide_complete_through_timestamp_seconds{source="demo"} N
# HELP runtide_last_good_sync_timestamp_seconds When the last sync began that read the source.
# TYPE runtide_last_good_sync_timestamp_seconds gauge
runtide_last_good_sync_timestamp_seconds{source="demo"} N
"""


@pytest.fixture
def runtide(
    tmp_path: Path, swept_engine: Engine, capsys: pytest.CaptureFixture[str]
) -> Runtide:
    return Runtide(tmp_path, swept_engine, capsys)


@pytest.fixture
def alerts(tmp_path: Path) -> Path:
    """Where an alert's command writes what it was told."""
    return tmp_path / "alerts"


@pytest.fixture
def alerting(alerts: Path) -> str:
    """The settings of a command that keeps its messages."""
    command = ["sh", "-c", f"cat >> '{alerts}'"]
    return f'[[alerts]]\ncommand = {command}\n[metrics]\nfile = "runtide.prom"'


@pytest.fixture
def api() -> Iterator[DemoServer]:
    with DemoServer(WORLD, now=WORLD.now) as server:
        yield server


def test_a_good_sync_writes_the_metrics_and_alerts_nobody(
    runtide: Runtide, api: DemoServer, alerting: str, alerts: Path, tmp_path: Path
) -> None:
    runtide.configure(api.base_url, sync=alerting)
    runtide("track", *api.thread_ids)
    assert runtide("sync").code == 0

    written = (tmp_path / "runtide.prom").read_text()
    without_figures = re.sub(r"(?<=[ }])\d\.\d+e\+\d+$", "N", written, flags=re.M)
    assert without_figures.replace("} 1.7", "} N").startswith(METRICS)
    assert 'runtide_last_sync_outcome{outcome="succeeded"} 1.0' in written
    assert not alerts.exists()
    assert [path.name for path in tmp_path.iterdir() if "prom" in path.name] == [
        "runtide.prom"
    ]


def test_a_sync_that_fails_is_told(
    runtide: Runtide, alerting: str, alerts: Path, tmp_path: Path
) -> None:
    refusal = Reply(401, {"error": {"message": "No."}})
    with listening(lambda *_: refusal) as base_url:
        runtide.configure(base_url, sync=alerting)
        runtide("track", "thread_a")
        answer = runtide("sync", "--json")

    message = json.loads(alerts.read_text())
    [error] = json.loads(answer.out)["errors"]
    sync_id = json.loads(answer.out)["sync_id"]
    assert answer.code == 1
    assert message["event"] == "failed"
    assert message["sentence"] == f"Sync {sync_id} failed: demo: {error['message']}"
    assert 'outcome="failed"' in (tmp_path / "runtide.prom").read_text()


def test_a_sync_that_cannot_begin_is_told(
    runtide: Runtide, alerting: str, alerts: Path, tmp_path: Path
) -> None:
    runtide.configure("http://127.0.0.1:9/v1", sync=alerting)
    config = tmp_path / "config.toml"
    nowhere = 'url = "postgresql://nobody@127.0.0.1:1/none"'
    config.write_text(re.sub(r'url = "postgresql.*"', nowhere, config.read_text()))

    answer = runtide("sync")

    message = json.loads(alerts.read_text())
    assert answer.code == 1
    assert f"runtide: {message['sentence']}".startswith(
        "runtide: A sync could not begin: The database at postgresql://nobody@127.0.0.1:1"
    )
    assert not (tmp_path / "runtide.prom").exists()


def test_a_wrong_setting_alerts_nobody(
    runtide: Runtide, alerting: str, alerts: Path
) -> None:
    runtide.configure(
        "http://127.0.0.1:9/v1", source='api_key_env = "NOT_SET"', sync=alerting
    )

    assert runtide("sync").code == 2
    assert not alerts.exists()


def test_a_metrics_file_that_cannot_be_written_is_told_before_the_sync(
    runtide: Runtide, api: DemoServer, swept_engine: Engine, tmp_path: Path
) -> None:
    runtide.configure(api.base_url, sync='[metrics]\nfile = "no/such/runtide.prom"')
    runtide("track", *api.thread_ids)
    answer = runtide("sync")

    assert (answer.code, answer.out) == (2, "")
    assert answer.err == (
        f"runtide: The metrics file {tmp_path}/no/such/runtide.prom cannot be written, for"
        " its directory is missing or closed; make it, or set [metrics] file to another"
        " one.\n"
    )
    assert query(swept_engine, "SELECT outcome FROM run_sync.syncs") == []


def test_metrics_that_cannot_be_written_after_a_sync_are_told_and_no_more(
    runtide: Runtide, api: DemoServer, tmp_path: Path
) -> None:
    (tmp_path / "runtide.prom").mkdir()
    runtide.configure(api.base_url, sync='[metrics]\nfile = "runtide.prom"')
    runtide("track", *api.thread_ids)
    answer = runtide("sync", "--quiet")

    assert (answer.code, answer.out) == (0, "")
    assert answer.err == (
        f"runtide: The metrics file {tmp_path}/runtide.prom was not written: Is a"
        " directory.\n"
    )


def test_one_source_that_is_away_is_told_though_the_others_are_read(
    runtide: Runtide, api: DemoServer, alerting: str, alerts: Path
) -> None:
    away = '[[sources]]\nname = "away"\nbase_url = "http://127.0.0.1:1/v1"\n'
    runtide.configure(api.base_url, sync=alerting + "\n" + away)
    runtide("track", "--source", "demo", *api.thread_ids)
    runtide("track", "--source", "away", "thread_a")
    answer = runtide("sync", "--json")

    message = json.loads(alerts.read_text())
    report = json.loads(answer.out)
    assert (answer.code, report["outcome"]) == (3, "partial")
    status = json.loads(runtide("status", "--json").out)
    assert status["needs"][-1].startswith("The last sync of away (")
    read, not_read = sorted(status["sources"], key=lambda each: each["source"] == "away")
    assert (read["last_good_at"] is None, not_read["last_good_at"]) == (False, None)
    assert message["sentence"].startswith(
        f"Sync {report['sync_id']} failed: away: http://127.0.0.1:1/v1 cannot be reached"
    )
