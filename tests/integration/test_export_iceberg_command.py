"""`runtide export --format iceberg`: what it prints, which catalogs it takes."""

from collections.abc import Iterator
from pathlib import Path

import fsspec
import pytest
from pyiceberg.catalog.sql import SqlCatalog
from sqlalchemy.engine import Engine

from etl.demo.listener import Reply
from etl.load.database import opened
from etl.warehouse import destination
from etl.warehouse.columns import TABLES
from tests.integration.builders import execute, query
from tests.integration.commands import Runtide
from tests.integration.exported import MONTHS, inserted, make_world, rows_of_table
from tests.integration.icebergs import (
    FORGET_CATALOG,
    assert_iceberg_equals_tables,
    rows_by_arrow,
)
from tests.integration.role_server import Call, OwnedDatabase, granted
from tests.integration.serving import listening
from tests.integration.test_export_object_store import bucket, endpoint

__all__ = ["bucket", "endpoint"]

THROUGH = "complete through 2026-11-22 02:00 UTC."
AS_ICEBERG = ("--format", "iceberg")
NOWHERE = "http://127.0.0.1:9/v1"


@pytest.fixture
def runtide(
    tmp_path: Path, swept_engine: Engine, capsys: pytest.CaptureFixture[str]
) -> Iterator[Runtide]:
    execute(swept_engine, FORGET_CATALOG)
    make_world(swept_engine)
    runtide = Runtide(tmp_path, swept_engine, capsys)
    runtide.configure(NOWHERE)
    yield runtide
    execute(swept_engine, FORGET_CATALOG)


def entry(to: Path | str, catalog: str) -> str:
    return f'[[exports]]\nto = "{to}"\nformat = "iceberg"\ncatalog = {catalog}\n'


def test_the_last_line_says_what_was_written(
    runtide: Runtide, swept_engine: Engine, tmp_path: Path
) -> None:
    to = tmp_path / "lake house"
    first = runtide("export", "--to", str(to), *AS_ICEBERG)
    again = runtide("export", "--to", str(to), *AS_ICEBERG)
    whole = runtide("export", "--to", str(to), *AS_ICEBERG, "--full")
    assert (first.code, first.err) == (0, "")
    assert first.out.startswith(f"{to}: 5 months of 5 rewritten: 326 rows, 14 files, ")
    assert again.out == f"{to}: nothing has changed; {THROUGH}\n"
    assert whole.out.startswith(f"{to}: 5 months of 5 rewritten: 326 rows, 14 files, ")
    assert_iceberg_equals_tables(swept_engine, to)


def test_a_catalog_of_the_file_is_used(
    runtide: Runtide, swept_engine: Engine, tmp_path: Path
) -> None:
    uri, to = f"sqlite:///{tmp_path}/catalog.db", f"file://{tmp_path}/lake"
    told = f'{{ name = "lake", type = "sql", uri = "{uri}" }}\nnamespace = "ai.runs"\n'
    runtide.configure(NOWHERE, sync=entry(to, told))
    answer = runtide("export", "--quiet")
    assert (answer.code, answer.out, answer.err) == (0, "", "")
    catalog = SqlCatalog("lake", uri=uri, warehouse=to)
    for table in TABLES:
        there = catalog.load_table(("ai", "runs", table.name))
        assert rows_by_arrow(there, table) == rows_of_table(swept_engine, table)
    catalog.close()
    asked = "SELECT to_regnamespace('run_iceberg') IS NULL"
    assert query(swept_engine, asked) == [(True,)]


@pytest.mark.parametrize(
    ("catalog", "code", "said"),
    [
        (
            '"nobody"',
            2,
            (
                "PyIceberg knows no catalog 'nobody' (known: none); describe it in"
                " .pyiceberg.yaml or with PYICEBERG_CATALOG__NOBODY__URI."
            ),
        ),
        (
            '{ name = "lake", type = "sqll", uri = "sqlite://" }',
            2,
            (
                "The catalog 'lake' cannot be opened: 'sqll' is not a valid CatalogType;"
                " correct what [[exports]] or PyIceberg's own configuration says of it."
            ),
        ),
        (
            '{ name = "lake", type = "sql", uri = "sqlite:////no/such/folder/x.db" }',
            1,
            (
                "The catalog 'lake' did not do what it was asked: unable to open database"
                " file; check that it runs, and what [[exports]] and PyIceberg's own"
                " configuration say of it."
            ),
        ),
        (
            '{ name = "lake", type = "sql", uri = "nonsense" }',
            2,
            (
                "The uri of the catalog 'lake' is no URL; correct it in [[exports]] or in"
                " PYICEBERG_CATALOG__LAKE__URI."
            ),
        ),
    ],
    ids=["unknown", "no type", "no file", "no URL"],
)
def test_a_catalog_that_is_none_is_told(
    runtide: Runtide, tmp_path: Path, catalog: str, code: int, said: str
) -> None:
    runtide.configure(NOWHERE, sync=entry(f"file://{tmp_path}/lake", catalog))
    answer = runtide("export")
    assert (answer.code, answer.out, answer.err) == (code, "", f"runtide: {said}\n")


def test_a_catalog_that_does_not_answer_is_told(runtide: Runtide, tmp_path: Path) -> None:
    told = '{ name = "lake", type = "rest", uri = "http://127.0.0.1:9" }'
    runtide.configure(NOWHERE, sync=entry("lake", told))
    answer = runtide("export")
    assert answer.code == 1
    assert answer.err.startswith(
        "runtide: The catalog 'lake' did not do what it was asked: HTTPConnectionPool("
    )
    assert answer.err.endswith(
        "; check that it runs, and what [[exports]] and PyIceberg's own configuration say"
        " of it.\n"
    )


def test_a_password_is_not_told(runtide: Runtide) -> None:
    told = '{ name = "lake", type = "rest", uri = "user:geheim@127.0.0.1:9" }'
    runtide.configure(NOWHERE, sync=entry("lake", told))
    answer = runtide("export")
    assert (answer.code, answer.err) == (
        2,
        (
            "runtide: The catalog 'lake' cannot be opened: No connection adapters were"
            " found for '127.0.0.1:9/v1/config'; correct what [[exports]] or PyIceberg's"
            " own configuration says of it.\n"
        ),
    )


def test_an_answer_of_somebody_else_is_told_in_one_line(runtide: Runtide) -> None:
    with listening(lambda *_: Reply(200, {"overrides": "geheim"})) as uri:
        told = f'{{ name = "lake", type = "rest", uri = "{uri}" }}'
        runtide.configure(NOWHERE, sync=entry("lake", told))
        answer = runtide("export")
    assert answer.code == 2
    assert answer.err.count("\n") == 1
    assert "geheim" not in answer.err


def test_who_may_not_make_the_catalog_is_told(
    as_role: Call, owned: OwnedDatabase, name: str, tmp_path: Path
) -> None:
    """A reader may export files; a catalog in the database is written, too."""
    with opened(owned.url()) as engine:
        make_world(engine, runs=5)
        assert granted(as_role, "reader", name)[0] == 0
        arguments = ("export", "--to", str(tmp_path / "out"), *AS_ICEBERG)
        by_reader = as_role(*arguments, role=name)
        assert by_reader[0] == 1
        assert "The database user may not do this at " in by_reader[2]
        by_owner = as_role(*arguments)
        assert (by_owner[0], by_owner[2]) == (0, "")
        assert_iceberg_equals_tables(engine, tmp_path / "out")


def test_an_empty_warehouse_is_refused(runtide: Runtide) -> None:
    answer = runtide("export", "--to", " ", *AS_ICEBERG)
    assert (answer.code, answer.err) == (
        2,
        (
            "runtide: ' ' names no place to export to; write a folder, or a bucket such as"
            " s3://bucket/runtide.\n"
        ),
    )


def test_a_folder_that_is_cut_as_an_address_is_refused(
    runtide: Runtide, swept_engine: Engine, tmp_path: Path
) -> None:
    answer = runtide("export", "--to", str(tmp_path / "lake #1"), *AS_ICEBERG)
    assert (answer.code, answer.err) == (
        2,
        (
            f"runtide: '{tmp_path}/lake #1' cannot be a warehouse of Iceberg tables: to an"
            " address, what follows # is not part of the path; name another place.\n"
        ),
    )
    assert query(swept_engine, "SELECT to_regnamespace('run_iceberg')") == [(None,)]
    assert not list(tmp_path.glob("lake*"))


@pytest.mark.parametrize(
    "to", ["s3://key:geheim@history/lake", "s3://history/lake?secret_key=geheim"]
)
def test_an_address_with_a_secret_is_refused_without_telling_it(
    runtide: Runtide, swept_engine: Engine, to: str
) -> None:
    answer = runtide("export", "--to", to, *AS_ICEBERG)
    assert answer.code == 2
    assert answer.err.startswith("runtide: 's3://history/lake' cannot be a warehouse of")
    assert "geheim" not in answer.err
    assert query(swept_engine, "SELECT to_regnamespace('run_iceberg')") == [(None,)]


def test_a_missing_package_is_named(
    runtide: Runtide, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(destination, "find_spec", lambda name: name != "pyiceberg" or None)
    answer = runtide("export", "--to", str(tmp_path), *AS_ICEBERG)
    assert (answer.code, answer.err) == (
        2,
        (
            "runtide: An export as iceberg needs pyiceberg, which is not installed; run"
            " `pip install 'runtide[iceberg]'`.\n"
        ),
    )


def test_a_warehouse_may_be_a_bucket(
    runtide: Runtide, swept_engine: Engine, bucket: fsspec.AbstractFileSystem
) -> None:
    to = "s3://history/lake"
    first = runtide("export", "--to", to, *AS_ICEBERG)
    execute(swept_engine, inserted("late", MONTHS[0], 5))
    again = runtide("export", "--to", to, *AS_ICEBERG)
    bucket.invalidate_cache()
    assert (first.code, again.code) == (0, 0), first.err
    assert again.out.startswith(f"{to}: 1 month of 5 rewritten: 100 rows, 3 files, ")
    files = [path for path in bucket.find("history/lake") if path.endswith(".parquet")]
    assert len(files) == 17


def test_a_bucket_that_does_not_exist_is_told(
    runtide: Runtide, bucket: fsspec.AbstractFileSystem
) -> None:
    answer = runtide("export", "--to", "s3://no-such-bucket/x", *AS_ICEBERG)
    assert answer.code == 1
    assert answer.err.startswith("runtide: s3://no-such-bucket/x cannot be read: ")
    assert answer.err.endswith(
        "; check that it exists and that the credentials in the environment may write"
        " there. Tables that are not committed stand as they were.\n"
    )
