"""`runtide status`: the whole text, and when it needs a person."""
# ruff: noqa: E501  # what is printed is compared line by line; rows are made by hand

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy.engine import Engine

from etl.load.database import connected
from etl.load.holding import holding, sharing, this_process
from etl.load.overview import database_overview
from etl.load.threads import record_source
from tests.integration.builders import execute, query
from tests.integration.commands import Printed, Runtide

SCHEDULED = '[schedule]\ncron = "0 2 * * *"\n'


@pytest.fixture
def runtide(tmp_path: Path, engine: Engine, capsys: pytest.CaptureFixture[str]) -> Runtide:
    runtide = Runtide(tmp_path, engine, capsys)
    runtide.configure("http://127.0.0.1:9/v1")
    record_source(engine, name="demo", kind="openai", base_url="http://127.0.0.1:9/v1")
    return runtide


@pytest.fixture
def thread(engine: Engine) -> Callable[..., None]:
    """Track a thread that is in some state."""

    def add(thread_id: str, **facts: str) -> None:
        told = {
            "tracked_at": "now() - interval '9 days'",
            "last_pass_at": "now() - interval '3 hours'",
        } | facts
        execute(
            engine,
            f"INSERT INTO run_sync.threads (source_id, thread_id, {', '.join(told)})"
            f" VALUES (1, '{thread_id}', {', '.join(told.values())})",
        )

    return add


@pytest.fixture
def a_sync(engine: Engine) -> Callable[..., None]:
    """A row of the ledger."""

    def add(began: str, ended: str | None, **facts: str) -> None:
        ended_at = "NULL" if ended is None else f"now() - interval '{ended}'"
        told = {
            "started_at": f"now() - interval '{began}'",
            "finished_at": ended_at,
            "trigger": "'schedule'",
            "source_ids": "'{1}'",
        } | facts
        execute(
            engine,
            f"INSERT INTO run_sync.syncs ({', '.join(told)})"
            f" VALUES ({', '.join(told.values())})",
        )

    return add


def text_of(printed: Printed) -> str:
    """What was printed, without sizes, spaces at the end of lines, and the length of rules."""
    sized = re.sub(r"takes [\d.]+ MB", "takes 9.9 MB", printed.out)
    return re.sub("─+", "───", "\n".join(map(str.rstrip, sized.splitlines())))


def test_a_new_database_says_what_to_do(runtide: Runtide) -> None:
    printed = runtide("status")

    assert (printed.code, printed.err) == (0, "")
    assert (
        text_of(printed)
        == """
 source   complete through   threads   complete   failing   never read   missing   gone   address
 ───
 demo     -                        0          0         0            0         0      0   http://127.0.0.1:9/v1

The database takes 9.9 MB.
0 runs, 0 of them open; 0 tokens; 0 payloads in quarantine.
No sync yet; run `runtide sync`.
"""
    )


def test_everything_that_can_be_wrong_stands_in_it(
    runtide: Runtide,
    engine: Engine,
    thread: Callable[..., None],
    a_sync: Callable[..., None],
) -> None:
    runtide.configure("http://127.0.0.1:9/v1", sync=SCHEDULED)
    thread("thread_fine")
    thread("thread_fails", consecutive_errors="3", last_error="'it broke (request id r)'")
    thread("thread_new", last_pass_at="NULL", consecutive_errors="1", last_error="'503'")
    thread("thread_missing", missing_since="now()")
    thread("thread_gone", gone_at="now()")
    a_sync(
        "5 days",
        "5 days",
        outcome="'succeeded'",
        threads="4",
        runs_read="7",
        runs_created="7",
    )
    a_sync("4 days", None, holder="'process 1 on a'", threads="1", threads_due="4")
    a_sync("3 days", "3 days", outcome="'failed'", error="'demo: it is down'")
    execute(
        engine,
        "INSERT INTO run_sync.rejects (source_id, thread_id, payload, payload_id, reason,"
        " first_seen_at, last_seen_at) SELECT 1, 'thread_fine', n::text,"
        " gen_random_uuid(), 'not a JSON object: ' || n, now(), now() - interval '2 days'"
        " FROM generate_series(1, 2) AS n",
    )
    execute(
        engine,
        "INSERT INTO run_sync.drift VALUES (1, 'colour', 'unknown_field', 'string',"
        " 'run_1', now() - interval '2 days', now(), 5)",
    )

    printed = runtide("status")

    due, in_hours, in_minutes = re.findall(
        r"sources: (\S+ \S+) UTC, in (\d+) h (\d+) min", printed.out
    )[0]
    missed = re.findall(r"well since (\S+ \S+) UTC", printed.out)[0]
    assert (printed.code, printed.err) == (3, "")
    assert (
        text_of(printed)
        == f"""
 source   complete through   threads   complete   failing   never read   missing   gone   address
 ───
 demo     -                        5          2         2            1         1      1   http://127.0.0.1:9/v1

The database takes 9.9 MB.
0 runs, 0 of them open; 0 tokens; 2 payloads in quarantine.

 sync   began     trigger    outcome     threads   failed   read   created   updated
 ───
    3   3 d ago   schedule   failed      0              0      0         0         0
    2   4 d ago   schedule   died        1 of 4         0      0         0         0
    1   5 d ago   schedule   succeeded   4              0      7         7         0

The last sync said: demo: it is down

failing threads

 source   thread         passes   complete until   error
 ───
 demo     thread_new          1   never            503
 demo     thread_fails        3   3 h ago          it broke (request id r)


in quarantine

 source   reason              payloads   last seen
 ───
 demo     not a JSON object          2   2 d ago


new to the schema

 source   place    kind            value    seen   first seen   example
 ───
 demo     colour   unknown field   string      5   2 d ago      run_1

Next sync of all sources: {due} UTC, in {in_hours} h {in_minutes} min (cron 0 2 * * *, UTC).

Needs a person: No sync of demo has gone well since {missed} UTC, when one was due; see that `runtide schedule` or cron runs, and what the last syncs said.
Needs a person: The last sync of demo (3) failed: demo: it is down
Needs a person: 2 threads fail at demo; `runtide threads` tells why.
Needs a person: 2 payloads wait in quarantine (run_sync.rejects); look at the reasons, and run `runtide replay` after an upgrade."""
    )


def test_a_running_sync_shows_how_far_it_is(
    runtide: Runtide, engine: Engine, thread: Callable[..., None]
) -> None:
    thread("thread_fine")
    [(source_id,)] = query(engine, "SELECT source_id FROM run_sync.sources")
    with holding(engine, [source_id], trigger="sync"):
        execute(engine, "UPDATE run_sync.syncs SET threads = 400, threads_due = 1000")
        printed, found = runtide("status"), json.loads(runtide("status", "--json").out)

    assert f"at work, {this_process()}" in " ".join(printed.out.split())
    assert "400 of 1,000" in printed.out
    [sync] = found["syncs"]
    assert (sync["is_running"], sync["threads"], sync["threads_due"]) == (True, 400, 1000)
    assert printed.code == 0


def test_a_shared_sync_shows_how_many_work_on_it(
    runtide: Runtide, engine: Engine, thread: Callable[..., None]
) -> None:
    thread("thread_fine")
    [(source_id,)] = query(engine, "SELECT source_id FROM run_sync.sources")
    with sharing(engine, [source_id], trigger="sync"):
        alone = runtide("status")
        with sharing(engine, [source_id], trigger="sync"):
            together = runtide("status")

    assert "at work, 1 process " in " ".join(alone.out.split())
    assert "at work, 2 processes" in " ".join(together.out.split())


def test_a_source_is_complete_through_its_last_thread(
    runtide: Runtide, engine: Engine, thread: Callable[..., None]
) -> None:
    thread("thread_new", last_pass_at="'2026-11-02 10:00+00'")
    thread("thread_old", last_pass_at="'2026-11-01 10:00+00'")
    thread("thread_gone", last_pass_at="'2026-10-01 10:00+00'", gone_at="now()")

    [source] = json.loads(runtide("status", "--json").out)["sources"]

    assert source["complete_through"] == "2026-11-01T10:00:00+00:00"
    assert (source["threads"], source["threads_complete"]) == (3, 2)


@pytest.mark.parametrize(
    ("tracked", "outcome", "is_overdue"),
    [
        ("9 days", "'succeeded'", False),
        ("9 days", "'partial'", False),
        ("9 days", "'failed'", True),
        ("9 days", None, True),
        ("1 minute", None, False),  # it could not be made before
    ],
)
def test_overdue_is_what_was_due_and_did_not_go_well(  # noqa: PLR0917  # by name
    runtide: Runtide,
    thread: Callable[..., None],
    a_sync: Callable[..., None],
    tracked: str,
    outcome: str | None,
    is_overdue: object,
) -> None:
    runtide.configure(
        "http://127.0.0.1:9/v1", sync='[schedule]\ncron = "0 * * * *"\noverdue_after = "2h"'
    )
    thread("thread_fine", tracked_at=f"now() - interval '{tracked}'")
    if outcome is not None:
        a_sync("70 minutes", "69 minutes", outcome=outcome)

    found = json.loads(runtide("status", "--json").out)

    assert bool(found["overdue"]) == is_overdue


@pytest.mark.parametrize(("began", "is_overdue"), [("5 minutes", False), ("9 hours", True)])
def test_a_sync_at_work_is_in_time_or_hangs(
    runtide: Runtide,
    engine: Engine,
    thread: Callable[..., None],
    began: str,
    is_overdue: object,
) -> None:
    runtide.configure(
        "http://127.0.0.1:9/v1", sync='[schedule]\ncron = "0 * * * *"\noverdue_after = "2h"'
    )
    thread("thread_fine")
    [(source_id,)] = query(engine, "SELECT source_id FROM run_sync.sources")
    with holding(engine, [source_id], trigger="schedule"):
        execute(
            engine, f"UPDATE run_sync.syncs SET started_at = now() - interval '{began}'"
        )
        found = json.loads(runtide("status", "--json").out)

    assert bool(found["overdue"]) == is_overdue


def test_one_source_that_fails_needs_a_person_while_another_is_read(
    runtide: Runtide, engine: Engine, a_sync: Callable[..., None]
) -> None:
    more = '[[sources]]\nname = "other"\nbase_url = "http://127.0.0.1:9/v1"'
    runtide.configure("http://127.0.0.1:9/v1", sync=f"{SCHEDULED}{more}")
    other = record_source(
        engine, name="other", kind="openai", base_url="http://127.0.0.1:9/v1"
    )
    both = {"source_ids": f"'{{1,{other}}}'", "trigger": "'sync'"}
    a_sync("3 days", "3 days", outcome="'succeeded'", **both)
    away = {"failed_source_ids": f"'{{{other}}}'", "error": "'other: it is away'"}
    a_sync("1 hour", "1 hour", outcome="'partial'", **both, **away)
    for trigger in ("'forget'", "'replay'", "'sync of one thread'"):
        a_sync(
            "1 minute", "1 minute", outcome="'succeeded'", **{**both, "trigger": trigger}
        )

    printed = runtide("status", "--json")

    found = json.loads(printed.out)
    demo, its = found["sources"]
    assert printed.code == 3
    assert found["needs"] == ["The last sync of other (2) failed: other: it is away"]
    assert (demo["last_failed"], its["last_failed"]) == (None, 2)
    assert demo["last_good_at"] > its["last_good_at"]


def test_a_source_that_the_settings_do_not_name_needs_nobody(
    runtide: Runtide,
    engine: Engine,
    thread: Callable[..., None],
    a_sync: Callable[..., None],
) -> None:
    thread("thread_fails", consecutive_errors="1", last_error="'503'")
    a_sync("3 days", "3 days", outcome="'failed'", error="'demo: it is down'")
    execute(engine, "UPDATE run_sync.sources SET name = 'before'")

    found = json.loads(runtide("status", "--json").out)

    assert [source["source"] for source in found["sources"]] == ["before"]
    assert found["needs"] == []


def test_what_jitter_puts_off_is_not_overdue(
    runtide: Runtide, thread: Callable[..., None], a_sync: Callable[..., None]
) -> None:
    entry = '[schedule]\ncron = "0 * * * *"\noverdue_after = "1m"\njitter = "{}"'
    thread("thread_fine")
    a_sync("70 minutes", "69 minutes", outcome="'succeeded'")
    overdue = []
    for jitter in ("2h", "1s"):
        runtide.configure("http://127.0.0.1:9/v1", sync=entry.format(jitter))
        overdue.append(bool(json.loads(runtide("status", "--json").out)["overdue"]))

    assert overdue == [False, True]


def test_watching_and_json_do_not_go_together(runtide: Runtide) -> None:
    printed = runtide("status", "--watch", "--json")

    assert (printed.code, printed.out, printed.err) == (
        2,
        "",
        "runtide: --watch and --json do not go together; leave one of them out.\n",
    )


def test_without_a_promise_nothing_is_overdue(
    runtide: Runtide, thread: Callable[..., None]
) -> None:
    thread("thread_fine")

    found = json.loads(runtide("status", "--json").out)

    assert (found["overdue"], found["next"], found["needs"]) == ([], [], [])


def test_growth_is_told_from_a_day_on(engine: Engine, a_sync: Callable[..., None]) -> None:
    with connected(engine) as connection:
        size = database_overview(connection).bytes
    a_sync("13 hours", "12 hours", outcome="'succeeded'", database_bytes="1000")
    with connected(engine) as connection:
        assert database_overview(connection).bytes_per_day is None
    a_sync("4 days", "4 days", outcome="'succeeded'", database_bytes="1000")
    execute(engine, "UPDATE run_sync.syncs SET sync_id = 3 - sync_id + 10")
    with connected(engine) as connection:
        grown = database_overview(connection)

    assert grown.bytes_per_day == pytest.approx((size - 1000) / 4, rel=0.05)
