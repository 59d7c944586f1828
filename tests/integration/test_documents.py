"""Documents that are written from the database: they say what it says."""

import psycopg
import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from etl.load.database import connected
from scripts.documenting.catalogue import Relation, catalogue
from scripts.documenting.documents import (
    DICTIONARY,
    QUERIES,
    WITH_QUERIES,
    dictionary_of,
    queries_of,
)
from scripts.documenting.guarantees import (
    STANDS_IN,
    closed_values,
    is_never_null,
    is_unique,
)
from scripts.documenting.published import ROOT, stale, write
from scripts.documenting.questions import QUERY, output

READABLE = ("run_analytics", "run_history")
QUESTIONS = 11

A_RUN = """
    INSERT INTO run_history.runs (source_id, run_id, thread_id, assistant_id, status, model,
        created_at, prompt_tokens, completion_tokens, first_seen_at, changed_at, sync_id)
    SELECT source_id, 'run_' || place, 'thread_new', assistant, status, model,
           '2026-11-19T12:00Z', prompt, completion, now(), now(), 1
    FROM run_sync.sources, (VALUES
        (1, NULL, 'queued', NULL, NULL::bigint, NULL::bigint),
        (2, NULL, 'failed', NULL, 7, NULL),
        (3, 'asst', 'incomplete', 'unheard-of', NULL, 8),
        (4, 'asst', 'of a kind of its own', 'gpt-4o', 10, 0),
        (5, NULL, 'completed', NULL, 9, 9)
    ) AS made(place, assistant, status, model, prompt, completion)
    WHERE name = 'demo'
"""
STRANGE = (
    A_RUN,
    (
        "INSERT INTO run_sync.sources (name, kind, base_url)"
        " VALUES ('new', 'openai', 'http://a')"
    ),
    "INSERT INTO run_sync.syncs (trigger) VALUES ('manual')",
    (
        "INSERT INTO run_analytics.model_prices VALUES"
        " ('openai', 'gpt-4o', 'input', 9.99, '2026-11-19T12:00Z', 'user')"
    ),
    (
        "INSERT INTO run_analytics.deployments SELECT source_id, 'gpt-4o', 'gpt-4o'"
        " FROM run_sync.sources WHERE name = 'demo'"
    ),
)
"""What the demo world does not have: missing values, a price that changes at noon."""


def test_the_dictionary_and_the_sources_for_dbt_are_not_stale(demo_engine: Engine) -> None:
    with connected(demo_engine) as connection:
        documents = dictionary_of(connection)

    assert set(documents) == {"docs/data-dictionary.md", "docs/dbt/sources.yml"}
    assert stale(documents, DICTIONARY) == []


def test_the_queries_of_the_pages_print_what_stands_there(demo_reader: Connection) -> None:
    assert stale(queries_of(demo_reader), QUERIES) == []


def test_every_query_of_the_pages_has_an_output() -> None:
    pages = {path: (ROOT / path).read_text("utf-8") for path in WITH_QUERIES}

    found = {path: len(QUERY.findall(page)) for path, page in pages.items()}

    assert found == {path: page.count("```sql") for path, page in pages.items()}
    assert found == {"docs/queries.md": QUESTIONS, "README.md": 1}


def test_a_document_that_says_something_else_is_told_with_what_to_do(
    monkeypatch: pytest.MonkeyPatch, tmp_path: object
) -> None:
    monkeypatch.setattr("scripts.documenting.published.ROOT", tmp_path)
    documents = {"docs/a.md": "as it should be\n", "docs/dbt/b.yml": "the same\n"}
    told = "is not what the database says; run `scripts/x` and commit what it writes."

    assert stale(documents, "scripts/x") == [f"docs/a.md {told}", f"docs/dbt/b.yml {told}"]
    write({**documents, "docs/a.md": "as it was\n"})
    assert stale(documents, "scripts/x") == [f"docs/a.md {told}"]
    write(documents)
    assert stale(documents, "scripts/x") == []


def test_a_query_is_printed_as_psql_prints_it(demo_reader: Connection) -> None:
    query = """
        SELECT name, number, is_it, day, at, list FROM (VALUES
            ('a name', 1.50, true, date '2026-11-01',
             timestamptz '2026-11-01 12:00Z', ARRAY['x', NULL]),
            ('木村', NULL, false, NULL, '2026-11-01 12:00:00.25Z', NULL)
        ) AS made(name, number, is_it, day, at, list)
    """

    assert output(query, demo_reader) == (
        "  name  | number | is_it |    day     |            at             |   list\n"
        "--------+--------+-------+------------+---------------------------+----------\n"
        " a name |   1.50 | t     | 2026-11-01 | 2026-11-01 12:00:00+00    | {x,NULL}\n"
        " 木村   |        | f     |            | 2026-11-01 12:00:00.25+00 |\n"
        "(2 rows)\n"
    )


def test_a_reader_cannot_read_the_quarantine(demo_reader: Connection) -> None:
    with pytest.raises(psycopg.errors.InsufficientPrivilege) as refused:
        output("SELECT payload FROM run_sync.rejects", demo_reader)

    assert str(refused.value).splitlines()[0] == "permission denied for schema run_sync"


def test_what_the_sources_for_dbt_promise_of_each_column_holds(
    demo_engine: Engine,
) -> None:
    with demo_engine.connect() as connection:
        for statement in STRANGE:
            connection.execute(sa.text(statement))
        found = catalogue(connection)
        broken = {
            relation.full_name: promises
            for schema in READABLE
            for relation in found.relations_of(schema)
            if (promises := broken_promises(connection, relation))
        }
        assert connection.scalar(
            sa.text("SELECT count(*) FROM run_analytics.repriced_days")
        )
        lost = {place: orphans(connection, *place) for place in STANDS_IN}
        connection.rollback()

    assert broken == {}
    assert set(lost.values()) == {0}, lost


def broken_promises(connection: Connection, relation: Relation) -> list[str]:
    """What is promised of a relation's columns and does not hold in its rows."""
    promised: dict[str, str] = {}
    for column in relation.columns:
        name = f'"{column.name}"'
        if is_never_null(relation, column):
            promised[f"{column.name} never null"] = f"bool_and({name} IS NOT NULL)"
        if is_unique(relation, column):
            promised[f"{column.name} unique"] = f"count(*) = count(DISTINCT {name})"
        if values := closed_values(relation, column):
            listed = ", ".join(f"'{value}'" for value in values)
            promised[f"{column.name} closed"] = f"bool_and({name} IN ({listed}))"
    if not promised:
        return []
    kept = connection.execute(
        sa.text(f"SELECT {', '.join(promised.values())} FROM {relation.full_name}")
    ).one()
    return [what for what, is_kept in zip(promised, kept, strict=True) if is_kept is False]


def orphans(connection: Connection, schema: str, relation: str, column: str) -> int:
    """How many values of a column stand nowhere in the place that should list them."""
    other = ".".join(STANDS_IN[schema, relation, column])
    statement = (
        f"SELECT count(*) FROM {schema}.{relation} WHERE {column} NOT IN"
        f" (SELECT {column} FROM {other})"
    )
    return int(connection.execute(sa.text(statement)).scalar_one())
