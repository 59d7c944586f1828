"""Columns that dashboards and reports of users depend on: none goes, none changes."""

from collections.abc import Mapping
from itertools import groupby
from pathlib import Path

from sqlalchemy.engine import Engine

from tests.integration.builders import query

LIST = "tests/data/analytics_columns.txt"

COLUMNS = """
    SELECT relation, name || ' ' || type FROM (
        SELECT c.relname AS relation, a.attname AS name,
               format_type(a.atttypid, a.atttypmod) AS type, a.attnum AS place
        FROM pg_class c
        JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
        WHERE c.relnamespace = 'run_analytics'::regnamespace AND c.relkind = 'v'
        UNION ALL
        SELECT p.proname, result.name, format_type(result.type, NULL), result.place
        FROM pg_proc p
        CROSS JOIN unnest(p.proargnames, p.proallargtypes, p.proargmodes) WITH ORDINALITY
            AS result(name, type, mode, place)
        WHERE p.oid = 'run_analytics.token_usage_daily_in'::regproc AND result.mode = 't'
    ) AS found
    ORDER BY relation, place
"""


def listed(data: Path) -> dict[str, list[str]]:
    lines = (data / "analytics_columns.txt").read_text("utf-8").splitlines()
    pairs = [line.split(".", 1) for line in lines]
    return {
        relation: [column for _, column in columns]
        for relation, columns in groupby(pairs, key=lambda pair: pair[0])
    }


def of_database(engine: Engine) -> dict[str, list[str]]:
    found = query(engine, COLUMNS)
    return {
        relation: [column for _, column in columns]
        for relation, columns in groupby(found, key=lambda pair: pair[0])
    }


def test_no_column_of_a_view_is_dropped_renamed_retyped_or_moved(
    demo_engine: Engine, data: Path
) -> None:
    promised, found = listed(data), of_database(demo_engine)

    broken = {
        relation: columns
        for relation, columns in promised.items()
        if found.get(relation, [])[: len(columns)] != columns
    }
    assert broken == {}, f"Users' queries need these columns of {LIST} as they were."


def test_every_new_column_of_a_view_is_listed(demo_engine: Engine, data: Path) -> None:
    promised, found = listed(data), of_database(demo_engine)

    assert unlisted(promised, found) == [], f"Add them to {LIST}, last in their view."


def unlisted(
    promised: Mapping[str, list[str]], found: Mapping[str, list[str]]
) -> list[str]:
    """Columns of the database that the list does not have yet, as it would have them."""
    return [
        f"{relation}.{column}"
        for relation, columns in found.items()
        for column in columns
        if column not in promised.get(relation, [])
    ]
