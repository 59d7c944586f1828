"""What the database says of itself: its tables, views, columns and functions."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

SCHEMAS = ("run_analytics", "run_history", "run_sync")
"""In the order in which a reader wants them."""

RELATIONS = """
    SELECT n.nspname AS schema, c.relname AS name, c.relkind = 'v' AS is_view,
           obj_description(c.oid, 'pg_class') AS meaning
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname = ANY(:schemas) AND c.relkind IN ('r', 'p', 'v', 'm')
        AND NOT c.relispartition
    ORDER BY array_position(:schemas, n.nspname::text), c.relkind = 'v' DESC, c.relname
"""
COLUMNS = """
    SELECT n.nspname AS schema, c.relname AS relation, a.attname AS name,
           format_type(a.atttypid, a.atttypmod) AS type, a.attnotnull AS is_required,
           col_description(c.oid, a.attnum) AS meaning
    FROM pg_attribute a
    JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname = ANY(:schemas) AND c.relkind IN ('r', 'p', 'v', 'm')
        AND NOT c.relispartition AND a.attnum > 0 AND NOT a.attisdropped
    ORDER BY n.nspname, c.relname, a.attnum
"""
CONSTRAINTS = """
    SELECT n.nspname AS schema, c.relname AS relation, k.contype::text AS kind,
           ARRAY(SELECT a.attname::text
                 FROM unnest(k.conkey) WITH ORDINALITY AS u(number, place)
                 JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = u.number
                 ORDER BY u.place) AS columns,
           pg_get_constraintdef(k.oid) AS rule
    FROM pg_constraint k
    JOIN pg_class c ON c.oid = k.conrelid JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname = ANY(:schemas) AND NOT c.relispartition
        AND k.contype IN ('p', 'u', 'f', 'c')
    UNION ALL
    SELECT n.nspname, c.relname, 'u',
           ARRAY(SELECT a.attname::text
                 FROM unnest(i.indkey) WITH ORDINALITY AS u(number, place)
                 JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = u.number
                 ORDER BY u.place),
           pg_get_indexdef(i.indexrelid)
    FROM pg_index i
    JOIN pg_class c ON c.oid = i.indrelid JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname = ANY(:schemas) AND NOT c.relispartition AND i.indisunique
        AND i.indpred IS NULL AND i.indexprs IS NULL
        AND NOT EXISTS (SELECT FROM pg_constraint k WHERE k.conindid = i.indexrelid)
    ORDER BY schema, relation, kind DESC, rule
"""
"""Also unique indexes that are no constraints, for these may count nulls as equal."""
FUNCTIONS = """
    SELECT n.nspname AS schema, p.proname AS name,
           pg_get_function_arguments(p.oid) AS arguments,
           pg_get_function_result(p.oid) AS result,
           obj_description(p.oid, 'pg_proc') AS meaning
    FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
    WHERE n.nspname = ANY(:schemas)
    ORDER BY n.nspname, p.proname
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One column; `is_required` where the table refuses null."""

    schema: str
    relation: str
    name: str
    type: str
    is_required: bool
    meaning: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Constraint:
    """A rule that the database keeps; `kind` is p, u, f or c, as pg_constraint has it."""

    schema: str
    relation: str
    kind: str
    columns: tuple[str, ...]
    rule: str


@dataclass(frozen=True, kw_only=True)
class Relation:
    """A table or a view, and what holds in it."""

    schema: str
    name: str
    is_view: bool
    meaning: str | None
    columns: tuple[Column, ...]
    constraints: tuple[Constraint, ...]

    @property
    def full_name(self) -> str:
        """The name as it stands in SQL."""
        return f"{self.schema}.{self.name}"

    @cached_property
    def single_keys(self) -> frozenset[str]:
        """Columns whose every value stands in one row alone."""
        keys = (each for each in self.constraints if each.kind in "pu")
        return frozenset(key.columns[0] for key in keys if len(key.columns) == 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Function:
    """A function, with its arguments and result as Postgres writes them."""

    schema: str
    name: str
    arguments: str
    result: str
    meaning: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Catalogue:
    """All of our schemas, without the partitions."""

    relations: tuple[Relation, ...]
    functions: tuple[Function, ...]

    def relations_of(self, schema: str) -> list[Relation]:
        """Views first, each kind by name."""
        return [each for each in self.relations if each.schema == schema]

    def functions_of(self, schema: str) -> list[Function]:
        """By name."""
        return [each for each in self.functions if each.schema == schema]


def catalogue(connection: Connection) -> Catalogue:
    """Read it all from a database with the newest schema."""
    columns = [Column(**row) for row in _rows(connection, COLUMNS)]
    constraints = [
        Constraint(**row | {"columns": tuple(row["columns"])})
        for row in _rows(connection, CONSTRAINTS)
    ]
    relations = (
        Relation(
            **row,
            columns=tuple(each for each in columns if _is_of(row, each)),
            constraints=tuple(each for each in constraints if _is_of(row, each)),
        )
        for row in _rows(connection, RELATIONS)
    )
    functions = (Function(**row) for row in _rows(connection, FUNCTIONS))
    return Catalogue(relations=tuple(relations), functions=tuple(functions))


def _rows(connection: Connection, statement: str) -> list[dict[str, Any]]:
    found = connection.execute(sa.text(statement), {"schemas": list(SCHEMAS)})
    return [dict(row) for row in found.mappings()]


def _is_of(relation: dict[str, Any], part: Column | Constraint) -> bool:
    return (part.schema, part.relation) == (relation["schema"], relation["name"])
