"""Rows of `run_history.runs`, written without a payload."""

from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from psycopg.types.json import Jsonb
from sqlalchemy.engine import Connection

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)

PUT = """
    INSERT INTO run_history.runs (source_id, run_id, thread_id, assistant_id, status,
        model, created_at, prompt_tokens, completion_tokens, cached_prompt_tokens,
        reasoning_tokens, total_tokens, last_error_code, incomplete_reason, metadata,
        first_seen_at, changed_at, sync_id)
    SELECT *, now(), now(), 0
    FROM jsonb_to_recordset(:rows) AS r (
        source_id smallint, run_id text, thread_id text, assistant_id text, status text,
        model text, created_at timestamptz, prompt bigint, completion bigint,
        cached bigint, reasoning bigint, total bigint, error_code text,
        incomplete_reason text, metadata jsonb)
    ON CONFLICT (source_id, run_id, created_at) DO UPDATE
    SET status = excluded.status, model = excluded.model,
        assistant_id = excluded.assistant_id, prompt_tokens = excluded.prompt_tokens,
        completion_tokens = excluded.completion_tokens,
        cached_prompt_tokens = excluded.cached_prompt_tokens,
        reasoning_tokens = excluded.reasoning_tokens,
        total_tokens = excluded.total_tokens
"""


@dataclass(frozen=True, kw_only=True)
class Row:
    """One run of the first source, unless told otherwise."""

    source_id: int = 1
    run_id: str
    thread_id: str = "thread_a"
    assistant_id: str | None = "asst_a"
    status: str = "completed"
    model: str | None = "gpt-4o"
    created_at: datetime = NOON
    prompt: int | None = 1_000
    completion: int | None = 100
    cached: int | None = None
    reasoning: int | None = None
    total: int | None = None
    error_code: str | None = None
    incomplete_reason: str | None = None
    metadata: dict[str, str] = field(default_factory=dict)


def add_sources(connection: Connection, *names: str) -> None:
    """Sources 1, 2, … by these names."""
    statement = sa.text(
        "INSERT INTO run_sync.sources (source_id, name, kind, base_url)"
        " OVERRIDING SYSTEM VALUE VALUES (:id, :name, 'openai', 'http://localhost/v1')"
    )
    for source_id, name in enumerate(names, start=1):
        connection.execute(statement, {"id": source_id, "name": name})


def put(connection: Connection, *rows: Row) -> None:
    """Upsert rows in one statement, as a sync does."""
    told = [
        asdict(row) | {"created_at": row.created_at.isoformat()}
        for row in {(each.source_id, each.run_id): each for each in rows}.values()
    ]
    statement = sa.text(PUT).bindparams(sa.bindparam("rows", type_=AsJson))
    connection.execute(statement, {"rows": told})


class AsJson(sa.types.TypeDecorator[Any]):
    """A parameter that travels as jsonb."""

    impl = sa.types.NullType
    cache_ok = True

    def process_bind_param(self, value: Any, _: Any) -> Jsonb:
        return Jsonb(value)


def the_row(connection: Connection, statement: str, **values: Any) -> tuple[Any, ...]:
    """The one row that a query answers."""
    return tuple(connection.execute(sa.text(statement), values).one())


def the_rows(
    connection: Connection, statement: str, **values: Any
) -> list[tuple[Any, ...]]:
    """All rows that a query answers."""
    return [tuple(row) for row in connection.execute(sa.text(statement), values)]
