"""What an export holds, read through its manifest, and what the tables hold."""

import gzip
import hashlib
import json
from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import sqlalchemy as sa
from sqlalchemy.engine import Engine

from etl.domain.batch import SourceId
from etl.load.database import connected
from etl.load.reading import read_runs
from etl.transform import rebuild
from etl.warehouse import (
    MANIFEST,
    Exported,
    Files,
    Format,
    Manifest,
    Order,
    Progress,
    decode,
    destination_at,
    export,
)
from etl.warehouse.columns import TABLES, Kind, Table
from tests.integration.builders import execute

AT = datetime(2026, 11, 22, 3, tzinfo=UTC)

INSERT = """
INSERT INTO run_history.runs (source_id, run_id, thread_id, assistant_id, status, model,
    created_at, prompt_tokens, cached_prompt_tokens, completion_tokens, total_tokens,
    metadata, code_interpreter_file_ids, tool_set_id, first_seen_at, changed_at, sync_id)
SELECT {source}, 'run_{name}_' || n, 'thread_' || n % 3, 'asst_' || n % 2, 'completed',
    (ARRAY['gpt-4o', 'gpt-4o-mini', 'house-model'])[1 + n % 3],
    timestamptz '{month} 00:00+00' + make_interval(secs => n * 1000 % 2400000),
    1000 + n, n % 7, n % 100, 1000 + n + n % 100, jsonb_build_object('n', n),
    CASE n % 3 WHEN 0 THEN ARRAY['file_a', 'file_b'] WHEN 1 THEN '{{}}'::text[] END,
    '00000000-0000-0000-0000-000000000001', '2026-11-20', '2026-11-20', 1
FROM generate_series(1, {count}) AS n
"""

WORLD = (
    (
        "INSERT INTO run_sync.sources (source_id, name, kind, base_url)"
        " VALUES (1, 'one', 'openai', 'http://one'), (2, '2', 'openai', 'http://two')"
    ),
    (
        "INSERT INTO run_history.tools (tool_set_id, position, tool_type, function_name,"
        " parameters) VALUES"
        " ('00000000-0000-0000-0000-000000000001', 0, 'function', 'weather', '{}'),"
        " ('00000000-0000-0000-0000-000000000001', 1, 'code_interpreter', NULL, NULL)"
        " ON CONFLICT DO NOTHING"
    ),
    (
        "INSERT INTO run_sync.threads (source_id, thread_id, tracked_at, last_pass_at)"
        " SELECT s, 'thread_' || n, '2026-09-15', '2026-11-22 02:00+00'"
        " FROM generate_series(1, 2) s, generate_series(0, 2) n"
    ),
    *(
        f"SELECT run_sync.make_month('{month}')"
        for month in ("2026-09-01", "2026-10-01", "2026-11-01")
    ),
)
MONTHS = ("2026-09-01", "2026-10-01", "2026-11-01")


def inserted(name: str, month: str, count: int, *, source: int = 1) -> str:
    """SQL that adds runs of a month."""
    return INSERT.format(source=source, name=name, month=month, count=count)


def make_world(engine: Engine, *, runs: int = 20) -> None:
    """Two sources, one of them with a number for its name, and three months."""
    execute(engine, *WORLD)
    execute(engine, *(inserted(f"a{each[5:7]}", each, runs) for each in MONTHS))
    execute(engine, inserted("b", MONTHS[1], runs, source=2))


def exported_to(
    engine: Engine,
    to: Path | str,
    *,
    form: Format = Format.PARQUET,
    is_full: bool = False,
    file_bytes: int = 128 << 20,
) -> Exported:
    """Export as the command does."""
    order = Order(form=form, is_full=is_full, file_bytes=file_bytes)
    return export(engine, Files(destination_at(str(to))), order, at=AT, watch=unwatched)


def unwatched(_: Progress) -> None:
    """Look at nothing."""


def manifest_at(to: Path) -> Manifest:
    return decode((to / MANIFEST).read_bytes(), str(to))


def files_of(to: Path, table: str) -> list[str]:
    """The paths of a table's files, as any reader takes them from the manifest."""
    told = json.loads((to / MANIFEST).read_bytes())["tables"][table]["partitions"]
    return [str(to / file["path"]) for part in told for file in part["files"]]


def by_month(to: Path) -> dict[tuple[str, str, str], tuple[str, ...]]:
    """The files of each table, source and month."""
    return {
        (name, part.source, part.month): tuple(file.path for file in part.files)
        for name, table in manifest_at(to).tables.items()
        for part in table.partitions
    }


def rewritten(before: dict[Any, Any], after: dict[Any, Any]) -> set[tuple[str, ...]]:
    """The tables, sources and months whose files are others."""
    keys = before.keys() | after.keys()
    return {key for key in keys if before.get(key) != after.get(key)}


def assert_whole(to: Path) -> Manifest:
    """Every file of the manifest is there, as long and with the digest it says."""
    manifest = manifest_at(to)
    for file in manifest.files:
        content = (to / file.path).read_bytes()
        found = len(content), hashlib.sha256(content).hexdigest()
        assert found == (file.bytes, file.sha256), file.path
    return manifest


def assert_equal_to_tables(engine: Engine, to: Path) -> None:
    """The files hold the rows of the tables, each once, and nothing else stands there."""
    manifest = assert_whole(to)
    named = {file.path for file in manifest.files} | {MANIFEST}
    found = {path.relative_to(to).as_posix() for path in to.rglob("*") if path.is_file()}
    assert found == named
    for table in TABLES:
        there, expected = rows_of_files(to, manifest, table), rows_of_table(engine, table)
        differing = sorted(set(there) ^ set(expected))[:2]
        assert not differing, (table.name, differing)
        assert len(there) == len(expected), table.name


def rows_of_files(to: Path, manifest: Manifest, table: Table) -> list[str]:
    """Every row, with the source and the month of its path."""
    rows = []
    for part in manifest.tables[table.name].partitions:
        read = [pq.ParquetFile(to / file.path).read() for file in part.files]
        assert [len(each) for each in read] == [file.rows for file in part.files]
        assert part.rows == sum(map(len, read))
        for each in read:
            rows += [
                comparable((part.source, part.month, *row.values()))
                for row in each.to_pylist()
            ]
    return sorted(rows)


def rows_of_table(engine: Engine, table: Table) -> list[str]:
    """Every row of Postgres, in the same form."""
    exact = {Kind.USD, Kind.PRICE}
    columns = ", ".join(
        f"t.{each.name if each.kind in exact else each.sql}" for each in table.columns
    )
    statement = (
        f"SELECT s.name, to_char(t.{table.instant} AT TIME ZONE 'UTC', 'YYYY-MM'),"
        f" {columns} FROM {table.rows} t JOIN run_sync.sources s USING (source_id)"
    )
    with engine.connect() as connection:
        rows = connection.execute(sa.text(statement.replace(":", "\\:"))).all()
    return sorted(comparable(row) for row in rows)


def comparable(row: Sequence[Any]) -> str:
    """A row as a text that is equal for equal values."""
    return repr([_plain(value) for value in row])


def _plain(value: Any) -> Any:
    match value:
        case datetime():
            return value.astimezone(UTC).isoformat()
        case Decimal():
            return f"{value.normalize():f}"
        case _:
            return value


def lines_at(to: Path) -> list[str]:
    """Every line of an export as JSON Lines, as canonical JSON."""
    found = []
    for path in files_of(to, "runs"):
        with gzip.open(path, "rt", encoding="utf-8") as lines:
            found += [json.dumps(json.loads(line), sort_keys=True) for line in lines]
    return sorted(found)


def payloads_of(engine: Engine, *source_ids: int) -> list[str]:
    """Every run of some sources, rebuilt from the tables."""
    with connected(engine) as connection:
        return sorted(
            json.dumps(rebuild(run), sort_keys=True)
            for source_id in source_ids
            for run in read_runs(connection, SourceId(source_id))
        )
