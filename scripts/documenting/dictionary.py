"""The data dictionary: every table, view, column and function, for people."""

from collections.abc import Iterator

from scripts.documenting.catalogue import Catalogue, Column, Constraint, Function, Relation
from scripts.documenting.guarantees import closed_values, is_never_null

TITLE = """\
# Data dictionary

What stands in the database, in its own words: this page is written from the comments of
the tables by `scripts/dictionary`, so `\\d+ run_analytics.run_costs` says the same.
[analytics.md](analytics.md) says which view answers what, [queries.md](queries.md) has
ten questions with their answers.

Monthly partitions (`run_history.runs_2026_11`, `runs_default`) are left out: query
`run_history.runs`, Postgres finds the month.
"""

ABOUT = {
    "run_analytics": (
        "A reader (`runtide db grant reader`) may read all of it. Columns of the views"
        " keep their names and types; new ones come last."
    ),
    "run_history": "A reader may read all of it.",
    "run_sync": (
        "A reader cannot read these tables: they hold payloads as they came and what"
        " runtide needs for itself. What a reader needs of them stands in"
        " `run_analytics.sync_health` and `freshness`."
    ),
}
KEYS = {"p": "Key", "u": "Unique", "f": "Refers", "c": "Holds"}


def dictionary(found: Catalogue) -> str:
    """The page, as Markdown."""
    parts = [TITLE, *(_schema(found, schema) for schema in ABOUT)]
    return "\n".join(parts)


def _schema(found: Catalogue, schema: str) -> str:
    parts = [f"## {schema}\n", f"{ABOUT[schema]}\n"]
    parts += [_relation(each) for each in found.relations_of(schema)]
    parts += [_function(each) for each in found.functions_of(schema)]
    return "\n".join(parts)


def _relation(relation: Relation) -> str:
    kind = "view" if relation.is_view else "table"
    lines = [f"### {relation.full_name} ({kind})", "", relation.meaning or "", ""]
    for constraint in sorted(
        relation.constraints, key=lambda each: list(KEYS).index(each.kind)
    ):
        lines += [f"{_rule(constraint)}  "]
    if relation.constraints:
        lines += [""]
    lines += ["| column | type | null | meaning |", "|---|---|---|---|"]
    lines += [_column(relation, column) for column in relation.columns]
    return "\n".join([*lines, ""])


def _rule(constraint: Constraint) -> str:
    if constraint.kind in "pu":
        return f"{KEYS[constraint.kind]}: {', '.join(f'`{c}`' for c in constraint.columns)}"
    return f"{KEYS[constraint.kind]}: `{constraint.rule}`"


def _column(relation: Relation, column: Column) -> str:
    null = "never" if is_never_null(relation, column) else "may be"
    meaning = " ".join(_meaning(relation, column)).replace("|", "\\|")
    return f"| `{column.name}` | {column.type} | {null} | {meaning} |"


def _meaning(relation: Relation, column: Column) -> Iterator[str]:
    yield column.meaning or ""
    values = closed_values(relation, column)
    unsaid = [value for value in values if value not in (column.meaning or "")]
    if unsaid:
        yield f"One of {', '.join(f'`{value}`' for value in values)}."


def _function(function: Function) -> str:
    called = f"{function.schema}.{function.name}({function.arguments})"
    lines = [
        f"### {function.schema}.{function.name} (function)",
        "",
        function.meaning or "",
    ]
    lines += ["", "```", called, f"RETURNS {function.result}", "```", ""]
    return "\n".join(lines)
