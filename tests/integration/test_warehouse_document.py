"""What docs/warehouse.md shows, run as it stands there on files of an export."""

import json
import re
import subprocess
import sys
from pathlib import Path

import duckdb
import pytest
from sqlalchemy.engine import Engine

from tests.integration.builders import execute, query
from tests.integration.exported import MONTHS, exported_to, files_of, inserted, make_world

PAGE = Path(__file__).parents[2] / "docs" / "warehouse.md"
PLACE = "s3://bucket/runtide"


def shown(language: str, *, with_words: str) -> str:
    """The one example in a language that holds some words."""
    blocks = re.findall(rf"```{language}\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
    [found] = [block for block in blocks if with_words in block]
    return str(found)


@pytest.fixture
def place(swept_engine: Engine, tmp_path: Path) -> Path:
    make_world(swept_engine)
    exported_to(swept_engine, tmp_path / "files")
    return tmp_path / "files"


def test_duckdb_reads_the_files_that_the_manifest_names(
    place: Path, swept_engine: Engine
) -> None:
    (place / "runs/source=one/month=2026-11/part-left-behind.parquet").write_bytes(b"PAR1")
    statements = shown("sql", with_words="MACRO").replace(PLACE, str(place)).split(";\n")

    with duckdb.connect() as connection:
        for statement in filter(str.strip, statements):
            found = connection.execute(statement).fetchall()

    told = query(
        swept_engine,
        "SELECT s.name, to_char(created_at, 'YYYY-MM'), model, count(*), sum(total_tokens)"
        " FROM run_history.runs JOIN run_sync.sources s USING (source_id)"
        " GROUP BY 1, 2, 3",
    )
    assert sorted(map(str, found)) == sorted(
        str((source, month, model, runs, int(tokens)))
        for source, month, model, runs, tokens in told
    )


def test_months_that_have_changed_are_told_until_they_are_done(
    place: Path, swept_engine: Engine, tmp_path: Path
) -> None:
    script = tmp_path / "changes.py"
    script.write_text(shown("python", with_words="changes.py PLACE LOADED"))

    def changes(*more: str) -> list[list[str]]:
        loaded = tmp_path / "loaded.json"
        command: list[str | Path] = [sys.executable, script, place, loaded, *more]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        return [line.split("\t") for line in done.stdout.splitlines()]

    partitions = sum(
        len(table["partitions"])
        for table in json.loads((place / "manifest.json").read_bytes())["tables"].values()
    )
    assert len(changes()) == len(changes("--done")) == partitions
    assert changes() == []

    gone = "DELETE FROM run_history.runs WHERE source_id = 2"
    execute(swept_engine, gone, inserted("late", MONTHS[0], 1))
    exported_to(swept_engine, place)

    told = {tuple(line[:3]): line[3] for line in changes("--done")}
    tables = ("run_costs", "run_tools", "runs")
    assert told.keys() == {
        *((table, "one", "2026-09") for table in tables),
        *((table, "2", "2026-10") for table in tables),
    }
    assert told["runs", "2", "2026-10"] == ""
    assert told["runs", "one", "2026-09"] in files_of(place, "runs")
    assert changes() == []
