"""Roles that can do less than the owner: what each can do, and that it can do no more."""

from pathlib import Path
from urllib.parse import quote

import pytest

from etl.demo.server import DemoServer
from tests.integration.builders import NOW_SECONDS
from tests.integration.role_server import (
    PASSWORD,
    Call,
    OwnedDatabase,
    granted,
    refused,
)

ADD_REJECT = """
    INSERT INTO run_sync.rejects (source_id, thread_id, run_id, payload, payload_id,
                                  reason, first_seen_at, last_seen_at)
    SELECT source_id, 'thread_x', 'run_x', 'PAYLOAD', gen_random_uuid(), 'made up',
           now(), now()
    FROM run_sync.sources
"""
EVIL = 'a "role"; DROP TABLE run_history.runs; -- %s {owner} :name'


def test_a_writer_does_everything_that_syncing_needs(
    as_role: Call, owned: OwnedDatabase, role_api: DemoServer, name: str
) -> None:
    assert granted(as_role, "writer", name) == (
        0,
        (
            f"Role {name} is made and may track threads and sync, and change no table's"
            " shape.\n"
        ),
        "",
    )

    assert as_role("track", *role_api.thread_ids, "thread_x", role=name)[0] == 0
    assert as_role("untrack", "thread_x", role=name)[0] == 0
    assert as_role("sync", "--quiet", role=name) == (0, "", "")
    role_api.advance(3_600)
    assert as_role("sync", "--quiet", role=name) == (0, "", "")
    assert as_role("sync", "--join", "--quiet", role=name) == (0, "", "")
    assert as_role("backfill", "--quiet", role=name) == (0, "", "")
    owned.run("UPDATE run_history.runs SET model = 'x' WHERE status = 'completed'")
    code, out, err = as_role("verify", "--repair", role=name)
    assert (code, err) == (3, "")
    assert " mended, 0 left.\n" in out
    assert as_role("verify", role=name)[0] == 0
    assert as_role("status", role=name)[0] == 0
    assert as_role("threads", role=name)[0] == 0


def test_a_writer_replays_and_makes_months_that_belong_to_the_owner(
    as_role: Call, owned: OwnedDatabase, role_api: DemoServer, name: str
) -> None:
    granted(as_role, "writer", name)
    as_role("track", "thread_x", role=name)
    payload = f'{{"id": "run_x", "status": "completed", "created_at": {NOW_SECONDS}}}'
    owned.run(ADD_REJECT.replace("PAYLOAD", payload))

    code, out, _ = as_role("replay", role=name)

    assert code == 0
    assert out == (
        "1 reject looked at; 1 now in the tables (1 created, 0 updated), 0 still in"
        " quarantine.\n"
    )
    assert owned.run(
        "SELECT runs.tableoid::regclass::text, pg_get_userbyid(relowner)"
        " FROM run_history.runs JOIN pg_class ON pg_class.oid = runs.tableoid"
    ) == [("run_history.runs_2026_11", owned.owner)]


def test_a_writer_cleans_the_quarantine_where_privacy_asks_for_it(
    as_role: Call, owned: OwnedDatabase, name: str, tmp_path: Path
) -> None:
    granted(as_role, "writer", name)
    as_role("track", "thread_x", role=name)
    owned.run(ADD_REJECT.replace("PAYLOAD", '{"id": "run_x", "instructions": "Hush."}'))
    with (tmp_path / "config.toml").open("a") as file:
        file.write('[sources.privacy]\ninstructions = "omit"\n')

    code, _, err = as_role("replay", role=name)

    assert (code, err) == (0, "")
    assert owned.run("SELECT payload FROM run_sync.rejects") == [('{"id":"run_x"}',)]


def test_a_writer_notes_the_names_that_the_configuration_maps(
    as_role: Call,
    owned: OwnedDatabase,
    role_api: DemoServer,
    name: str,
    tmp_path: Path,
) -> None:
    path = tmp_path / "config.toml"
    plain = path.read_text()
    granted(as_role, "writer", name)
    assert as_role("track", *role_api.thread_ids, role=name)[0] == 0
    path.write_text(plain + 'price_provider = "mine"\nmodels = { bot = "o1", b = "o3" }\n')
    assert as_role("sync", "--quiet", role=name) == (0, "", "")
    path.write_text(plain + 'models = { bot = "gpt-4o" }\n')
    assert as_role("sync", "--quiet", role=name) == (0, "", "")

    assert owned.run(
        "SELECT price_provider, d.name, model FROM run_analytics.deployments d"
        " JOIN run_sync.sources USING (source_id)"
    ) == [("openai", "bot", "gpt-4o")]
    [(runs, summed)] = owned.run(
        "SELECT (SELECT count(*) FROM run_history.runs),"
        " (SELECT sum(runs) FROM run_analytics.daily_usage)"
    )
    assert runs == summed
    assert runs


@pytest.mark.parametrize("kind", ["reader", "writer"])
def test_a_report_needs_no_more_than_a_role_that_reads(
    as_role: Call, owned: OwnedDatabase, name: str, kind: str, tmp_path: Path
) -> None:
    granted(as_role, kind, name)
    place = tmp_path / "report.csv"

    code, _, err = as_role("report", "--format", "csv", "--out", str(place), role=name)

    assert (code, err) == (0, "")
    assert place.read_text().startswith("day,source,model,")


@pytest.mark.parametrize(
    ("arguments", "refused_at"),
    [
        (("set", "gpt-4o", "--input", "1"), "table model_prices"),
        (("unset", "gpt-4o"), "table model_prices"),
        (("check", "gpt-4o", "--input", "1"), "table model_prices"),
    ],
)
def test_prices_are_the_owners_and_a_writer_is_told_so(
    as_role: Call,
    owned: OwnedDatabase,
    name: str,
    arguments: tuple[str, ...],
    refused_at: str,
) -> None:
    granted(as_role, "writer", name)
    assert as_role("prices", "list", role=name)[0] == 0

    place = owned.url(name).replace(quote(PASSWORD, safe=" "), "***")
    assert as_role("prices", *arguments, role=name) == (
        1,
        "",
        (
            f"runtide: The database user may not do this at {place}: permission denied for"
            f" {refused_at}. Grant the right or connect as the owner of the runtide"
            " schemas.\n"
        ),
    )


@pytest.mark.parametrize(
    ("statement", "complaint"),
    [
        ("DROP TABLE run_history.runs", "must be owner of table runs"),
        (
            "ALTER TABLE run_sync.threads ADD COLUMN x int",
            "must be owner of table threads",
        ),
        (
            "CREATE TABLE run_history.mine (x int)",
            "permission denied for schema run_history",
        ),
        ("CREATE TABLE run_sync.mine (x int)", "permission denied for schema run_sync"),
        ("DELETE FROM run_history.runs", "permission denied for table runs"),
        ("TRUNCATE run_history.runs", "permission denied for table runs"),
        (
            "UPDATE run_sync.alembic_version SET version_num = '1'",
            "permission denied for table alembic_version",
        ),
        (
            "UPDATE run_history.instructions SET body = ''",
            "permission denied for table instructions",
        ),
        ("DELETE FROM run_sync.drift", "permission denied for table drift"),
        ("INSERT INTO run_sync.erasures DEFAULT VALUES", "permission denied"),
        (
            "UPDATE run_analytics.model_prices SET usd_per_million = 0",
            "permission denied for table model_prices",
        ),
        (
            "DELETE FROM run_analytics.daily_usage",
            "permission denied for table daily_usage",
        ),
        (
            "SELECT run_analytics.rebuild_daily_usage()",
            "permission denied for function rebuild_daily_usage",
        ),
        ("TRUNCATE run_analytics.deployments", "permission denied for table deployments"),
        (
            "CREATE TABLE run_analytics.mine (x int)",
            "permission denied for schema run_analytics",
        ),
    ],
)
def test_a_writer_can_do_no_more_than_that(
    as_role: Call, owned: OwnedDatabase, name: str, statement: str, complaint: str
) -> None:
    granted(as_role, "writer", name)

    assert complaint in refused(owned, name, statement)


def test_a_reader_reads_runs_and_views_and_what_comes_later(
    as_role: Call, owned: OwnedDatabase, role_api: DemoServer, name: str
) -> None:
    assert granted(as_role, "reader", name) == (
        0,
        f"Role {name} is made and may read the run history, and write nothing.\n",
        "",
    )
    as_role("track", *role_api.thread_ids)
    as_role("sync")
    owned.run("CREATE TABLE run_history.later AS SELECT 1 AS one")

    [(runs,)] = owned.run("SELECT count(*) FROM run_history.runs", role=name)
    [(tools,)] = owned.run("SELECT count(*) FROM run_history.run_tools", role=name)
    owned.run("SELECT count(*) FROM run_history.run_resources", role=name)
    months = owned.run(
        "SELECT inhrelid::regclass::text FROM pg_inherits"
        " WHERE inhparent = 'run_history.runs'::regclass",
        role=name,
    )
    held = [owned.run(f"TABLE {month}", role=name) for (month,) in months]

    assert runs == sum(map(len, held)) > 0
    assert isinstance(tools, int)
    assert tools > 0
    assert len(months) > 1
    assert owned.run("SELECT one FROM run_history.later", role=name) == [(1,)]


@pytest.mark.parametrize(
    ("statement", "complaint"),
    [
        ("SELECT * FROM run_sync.rejects", "permission denied for schema run_sync"),
        ("SELECT * FROM run_sync.threads", "permission denied for schema run_sync"),
        (
            "SELECT run_sync.make_month('2026-01-01')",
            "permission denied for schema run_sync",
        ),
        ("DELETE FROM run_history.runs", "permission denied for table runs"),
        ("UPDATE run_history.runs SET status = 'x'", "permission denied for table runs"),
        (
            (
                "INSERT INTO run_history.tools (tool_set_id, position)"
                " VALUES (gen_random_uuid(), 0)"
            ),
            "permission denied for table tools",
        ),
        ("DROP VIEW run_history.run_tools", "must be owner of view run_tools"),
        ("ALTER TABLE run_history.runs ADD COLUMN x int", "must be owner of table runs"),
        (
            "CREATE TABLE run_history.mine (x int)",
            "permission denied for schema run_history",
        ),
        ("CREATE TABLE public.mine (x int)", "permission denied for schema public"),
    ],
)
def test_a_reader_sees_nothing_else_and_writes_nothing(
    as_role: Call, owned: OwnedDatabase, name: str, statement: str, complaint: str
) -> None:
    granted(as_role, "reader", name)

    assert complaint in refused(owned, name, statement)


def test_a_reader_of_old_sees_analytics_once_granted_again(
    as_role: Call, owned: OwnedDatabase, name: str
) -> None:
    granted(as_role, "reader", name)
    owned.run(f'REVOKE ALL ON SCHEMA run_analytics FROM "{name}"')
    refused(owned, name, "SELECT * FROM run_analytics.run_facts")

    again = granted(as_role, "reader", name)

    assert again == (
        0,
        f"Role {name} may now read the run history, and write nothing.\n",
        "",
    )
    counted = "SELECT count(*) FROM run_analytics."
    for view in ("run_facts", "run_costs", "token_usage_daily", "freshness"):
        owned.run(counted + view, role=name)


def test_a_writer_that_becomes_a_reader_keeps_no_right_of_a_writer(
    as_role: Call, owned: OwnedDatabase, name: str
) -> None:
    granted(as_role, "writer", name)
    owned.run("SELECT * FROM run_sync.threads", role=name)

    granted(as_role, "reader", name)
    owned.run("CREATE TABLE run_history.later (one int)")

    refused(owned, name, "SELECT * FROM run_sync.threads")
    refused(owned, name, "UPDATE run_history.runs SET status = 'x'")
    refused(owned, name, "INSERT INTO run_history.later VALUES (1)")


def test_a_name_is_a_name_whatever_stands_in_it(
    as_role: Call, owned: OwnedDatabase
) -> None:
    assert granted(as_role, "reader", EVIL)[0] == 0
    assert granted(as_role, "writer", EVIL)[0] == 0

    owned.run("SELECT count(*) FROM run_sync.threads", role=EVIL)
