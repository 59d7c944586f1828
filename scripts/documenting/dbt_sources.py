"""The tables and views that a reader may read, as sources of a dbt project."""

import json
from collections.abc import Iterator
from typing import Any

from scripts.documenting.catalogue import Catalogue, Column, Relation
from scripts.documenting.guarantees import (
    closed_values,
    is_never_null,
    is_unique,
    other_place,
)

HEAD = """\
# Written from the database's own comments and constraints by scripts/dictionary.
# For dbt 1.10.5 and newer: copy it into the models of a project whose profile connects
# as a reader (runtide db grant reader). run_sync is not here, for a reader cannot read
# it; sync_health and freshness tell what a project needs of it.
"""
ABOUT = {
    "run_analytics": "What people query: views and prices of runtide.",
    "run_history": "What was observed: runs as the server tells them.",
}

FRESHNESS = {
    "sync_health": {
        "loaded_at_field": "finished_at",
        "freshness": {
            "warn_after": {"count": 26, "period": "hour"},
            "error_after": {"count": 50, "period": "hour"},
            "filter": "outcome = 'succeeded'",
        },
    },
    "freshness": {
        "loaded_at_field": "complete_through",
        "freshness": {
            "warn_after": {"count": 26, "period": "hour"},
            "error_after": {"count": 50, "period": "hour"},
        },
    },
}
"""Made for a sync every night: one that is late is warned of, two are an error. The
runs themselves say nothing of it, for a quiet day has none."""

Value = dict[str, Any]


def dbt_sources(found: Catalogue) -> str:
    """The file, as YAML."""
    sources = [_source(found, schema) for schema in ABOUT]
    return HEAD + "\n".join(_yaml({"version": 2, "sources": sources})) + "\n"


def _source(found: Catalogue, schema: str) -> Value:
    return {
        "name": schema,
        "schema": schema,
        "description": ABOUT[schema],
        "tables": [_table(each) for each in found.relations_of(schema)],
    }


def _table(relation: Relation) -> Value:
    table: Value = {"name": relation.name, "description": relation.meaning}
    if relation.name in FRESHNESS:
        table["config"] = FRESHNESS[relation.name]
    table["columns"] = [_column(relation, column) for column in relation.columns]
    return table


def _column(relation: Relation, column: Column) -> Value:
    told: Value = {
        "name": column.name,
        "data_type": column.type,
        "description": column.meaning,
    }
    tests = list(_tests(relation, column))
    return {**told, "data_tests": tests} if tests else told


def _tests(relation: Relation, column: Column) -> Iterator[str | Value]:
    if is_never_null(relation, column):
        yield "not_null"
    if is_unique(relation, column):
        yield "unique"
    if values := closed_values(relation, column):
        yield {"accepted_values": {"arguments": {"values": list(values)}}}
    if place := other_place(relation, column):
        schema, name = place
        listed = {"to": f"source('{schema}', '{name}')", "field": column.name}
        yield {"relationships": {"arguments": listed}}


def _yaml(value: Value, indent: str = "") -> Iterator[str]:
    """Mappings and lists line by line; every text is quoted, as JSON does it."""
    for key, held in value.items():
        if isinstance(held, dict):
            yield f"{indent}{key}:"
            yield from _yaml(held, f"{indent}  ")
        elif isinstance(held, list):
            yield f"{indent}{key}:"
            yield from _list(held, f"{indent}  ")
        else:
            yield f"{indent}{key}: {_scalar(held)}"


def _list(values: list[Any], indent: str) -> Iterator[str]:
    for value in values:
        if isinstance(value, dict):
            first, *more = _yaml(value, f"{indent}  ")
            yield f"{indent}- {first.lstrip()}"
            yield from more
        else:
            yield f"{indent}- {_scalar(value)}"


def _scalar(value: str | int | None) -> str:
    if isinstance(value, str) and value.isidentifier():
        return value if value not in WORDS else f'"{value}"'
    return json.dumps(value, ensure_ascii=False)


WORDS = {"y", "n", "yes", "no", "on", "off", "true", "false", "null"}
"""What YAML would not read as texts."""
