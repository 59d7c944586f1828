"""The peer Arrow: httpx in threads, orjson, Arrow tables, COPY by ADBC, one upsert."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import adbc_driver_postgresql.dbapi as adbc
import httpx
import orjson
import pyarrow as pa

from bench.peers import PAGE_SIZE, WORKERS, order

BATCH = 2_000
"""Rows per COPY and transaction."""

TEXT, BIG, REAL, FLAG = pa.string(), pa.int64(), pa.float64(), pa.bool_()
SCALARS = {
    **dict.fromkeys(("id", "thread_id", "assistant_id", "status", "model"), TEXT),
    **dict.fromkeys(("created_at", "started_at", "expires_at"), BIG),
    **dict.fromkeys(("cancelled_at", "failed_at", "completed_at"), BIG),
    **dict.fromkeys(("max_prompt_tokens", "max_completion_tokens"), BIG),
    **dict.fromkeys(("temperature", "top_p"), REAL),
    "parallel_tool_calls": FLAG,
    "instructions": TEXT,
}
USAGE = ("prompt_tokens", "completion_tokens", "total_tokens")
JSON = ("tools", "metadata", "rest")
SCHEMA = pa.schema(
    [*SCALARS.items(), *((name, BIG) for name in USAGE), *((name, TEXT) for name in JSON)]
)

SQL_TYPES = {TEXT: "text", BIG: "bigint", REAL: "double precision", FLAG: "boolean"}
CREATE = "CREATE TABLE runs ({}, PRIMARY KEY (id))".format(
    ", ".join(
        f"{field.name} {'jsonb' if field.name in JSON else SQL_TYPES[field.type]}"
        for field in SCHEMA
    )
)
UPSERT = (  # noqa: S608 - names of this module
    "INSERT INTO runs SELECT {} FROM staged ON CONFLICT (id) DO UPDATE SET {}"
).format(
    ", ".join(f"{name}::jsonb" if name in JSON else name for name in SCHEMA.names),
    ", ".join(f"{name} = excluded.{name}" for name in SCHEMA.names if name != "id"),
)


def row_of(payload: dict[str, Any]) -> dict[str, Any]:
    """One row; what has no column of its own stands in `rest`."""
    row = {name: payload.pop(name, None) for name in SCALARS}
    usage = payload.get("usage") or {}
    row |= {name: usage.get(name) for name in USAGE}
    for name in ("tools", "metadata"):
        row[name] = orjson.dumps(payload.pop(name, None)).decode()
    return row | {"rest": orjson.dumps(payload).decode()}


def pages(http: httpx.Client, thread_id: str) -> Iterator[list[dict[str, Any]]]:
    """The pages of one thread, oldest first."""
    query: dict[str, str | int] = {"limit": PAGE_SIZE, "order": "asc"}
    while True:
        answer = http.get(f"threads/{thread_id}/runs", params=query)
        page = orjson.loads(answer.raise_for_status().content)
        yield page["data"]
        if not page["has_more"]:
            return
        query["after"] = page["last_id"]


def batches(http: httpx.Client, thread_ids: tuple[str, ...]) -> Iterator[list[Any]]:
    """Rows of some threads, some whole pages at a time."""
    rows: list[Any] = []
    for thread_id in thread_ids:
        for page in pages(http, thread_id):
            rows += map(row_of, page)
            if len(rows) >= BATCH:
                yield rows
                rows = []
    if rows:
        yield rows


def copy(base_url: str, database_url: str, thread_ids: tuple[str, ...]) -> None:
    """Copy some threads over one connection."""
    with (
        httpx.Client(base_url=base_url) as http,
        adbc.connect(database_url) as connection,
        connection.cursor() as cursor,
    ):
        for rows in batches(http, thread_ids):
            table = pa.Table.from_pylist(rows, schema=SCHEMA)
            cursor.adbc_ingest("staged", table, mode="create_append", temporary=True)
            cursor.execute(UPSERT)
            cursor.execute("TRUNCATE staged")
            connection.commit()


def main() -> None:
    """Copy the runs into the table `runs`."""
    asked = order()
    with adbc.connect(asked.database_url) as connection, connection.cursor() as cursor:
        cursor.execute(CREATE)
        connection.commit()
    shares = [asked.thread_ids[start::WORKERS] for start in range(WORKERS)]
    with ThreadPoolExecutor(WORKERS) as pool:
        list(pool.map(lambda ids: copy(asked.base_url, asked.database_url, ids), shares))


if __name__ == "__main__":
    main()
