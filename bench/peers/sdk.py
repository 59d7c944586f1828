"""The peer SDK: the official client in threads, upserts with SQLAlchemy Core."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import Any

import sqlalchemy as sa
from openai import OpenAI
from openai.types.beta.threads import Run
from sqlalchemy.dialects.postgresql import JSONB, insert

from bench.peers import PAGE_SIZE, WORKERS, order

BATCH = 1_000
"""Rows per statement and transaction; SQLAlchemy's own size of a page of values."""

BIG, TEXT = sa.BigInteger, sa.Text
runs = sa.Table(
    "runs",
    sa.MetaData(),
    sa.Column("id", TEXT, primary_key=True),
    *(sa.Column(name, TEXT) for name in ("thread_id", "assistant_id", "status", "model")),
    *(sa.Column(f"{name}_at", BIG) for name in ("created", "started", "expires")),
    *(sa.Column(f"{name}_at", BIG) for name in ("cancelled", "failed", "completed")),
    *(sa.Column(f"{name}_tokens", BIG) for name in ("prompt", "completion", "total")),
    *(sa.Column(f"max_{name}_tokens", BIG) for name in ("prompt", "completion")),
    *(sa.Column(name, sa.Double) for name in ("temperature", "top_p")),
    sa.Column("parallel_tool_calls", sa.Boolean),
    sa.Column("instructions", TEXT),
    sa.Column("tools", JSONB),
    sa.Column("metadata", JSONB),
    sa.Column("rest", JSONB),
)

COLUMNS = frozenset(runs.c.keys())
USAGE = ("prompt_tokens", "completion_tokens", "total_tokens")

fresh = insert(runs)
UPSERT = fresh.on_conflict_do_update(
    index_elements=[runs.c.id],
    set_={name: fresh.excluded[name] for name in sorted(COLUMNS - {"id"})},
)


def row_of(run: Run) -> dict[str, Any]:
    """One row; what has no column of its own stands in `rest`."""
    payload = run.to_dict()
    usage: Any = payload.get("usage") or {}
    row = {name: payload.pop(name, None) for name in COLUMNS - {"rest", *USAGE}}
    return row | {name: usage.get(name) for name in USAGE} | {"rest": payload}


class Copier:
    """Copies threads; each worker has its own connection."""

    def __init__(self, base_url: str, engine: sa.Engine) -> None:
        self._client = OpenAI(base_url=base_url, api_key="none")
        self._engine = engine
        self._list = self._client.beta.threads.runs.list

    def copy(self, thread_ids: list[str]) -> None:
        """Copy some threads, a batch in each transaction."""
        rows = self._rows(thread_ids)
        while batch := list(islice(rows, BATCH)):
            with self._engine.begin() as connection:
                connection.execute(UPSERT, batch)

    def _rows(self, thread_ids: list[str]) -> Iterator[dict[str, Any]]:
        for thread_id in thread_ids:
            for run in self._list(thread_id, limit=PAGE_SIZE, order="asc"):
                yield row_of(run)


def main() -> None:
    """Copy the runs into the table `runs`."""
    asked = order()
    url = sa.make_url(asked.database_url).set(drivername="postgresql+psycopg")
    engine = sa.create_engine(url, pool_size=WORKERS)
    runs.create(engine)
    shares = [list(asked.thread_ids[start::WORKERS]) for start in range(WORKERS)]
    copier = Copier(asked.base_url, engine)
    with ThreadPoolExecutor(WORKERS) as pool:
        list(pool.map(copier.copy, shares))


if __name__ == "__main__":
    main()
