"""An S3-compatible server on loopback takes an export and gives it back."""

import json
from collections.abc import Iterator

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from moto.server import ThreadedMotoServer
from sqlalchemy.engine import Engine

from etl.domain.errors import DestinationError
from etl.warehouse import MANIFEST, decode
from etl.warehouse.remote import ObjectStore
from tests.integration.builders import execute, query
from tests.integration.exported import MONTHS, exported_to, inserted, make_world

TO = "s3://history/runs of 2026"


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def bucket(
    endpoint: str, monkeypatch: pytest.MonkeyPatch
) -> Iterator[fsspec.AbstractFileSystem]:
    """An empty bucket, its address and credentials in the environment."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    files = fsspec.filesystem("s3", skip_instance_cache=True)
    files.mkdir("history")
    yield files
    files.rm("history", recursive=True)


def rows_at(files: fsspec.AbstractFileSystem, to: str, table: str) -> pa.Table:
    manifest = decode(files.cat_file(f"{to}/{MANIFEST}"), to)
    parts = manifest.tables[table].partitions
    read = [
        pq.ParquetFile(pa.BufferReader(files.cat_file(f"{to}/{file.path}"))).read()
        for part in parts
        for file in part.files
    ]
    return pa.concat_tables(read)


def test_a_bucket_takes_exports_and_gives_them_back(
    swept_engine: Engine, bucket: fsspec.AbstractFileSystem
) -> None:
    make_world(swept_engine)
    first = exported_to(swept_engine, TO)
    execute(swept_engine, inserted("late", MONTHS[1], 4))
    again = exported_to(swept_engine, TO)
    bucket.invalidate_cache()
    path = TO.removeprefix("s3://")
    found = {name.removeprefix(f"{path}/") for name in bucket.find(path)}
    manifest = decode(bucket.cat_file(f"{path}/{MANIFEST}"), path)
    assert (first.months_rewritten, again.months_rewritten) == (5, 1)
    assert found == {MANIFEST} | {file.path for file in manifest.files}
    [(runs, tokens)] = query(
        swept_engine, "SELECT count(*), sum(total_tokens)::bigint FROM run_history.runs"
    )
    table = rows_at(bucket, path, "runs")
    assert (len(table), sum(table["total_tokens"].to_pylist())) == (runs, tokens)


def test_a_bucket_that_does_not_exist_is_told(
    swept_engine: Engine, bucket: fsspec.AbstractFileSystem
) -> None:
    make_world(swept_engine, runs=1)
    with pytest.raises(DestinationError) as caught:
        exported_to(swept_engine, "s3://no-such-bucket/x")
    assert str(caught.value) == (
        "s3://no-such-bucket/x cannot be written: The specified bucket does not exist;"
        " check that it exists and that the credentials in the environment may write"
        " there. What was exported before still stands."
    )


def test_a_password_in_an_address_is_not_shown() -> None:
    store = ObjectStore("memory://somebody:hunter2@host/x?key=hunter3", "memory")
    assert store.shown == "memory://host/x"


def test_memory_stands_for_any_other_store(swept_engine: Engine) -> None:
    make_world(swept_engine, runs=2)
    exported_to(swept_engine, "memory://history/x")
    files = fsspec.filesystem("memory")
    told = json.loads(files.cat_file(f"/history/x/{MANIFEST}"))
    assert told["complete_through"] == "2026-11-22T02:00:00Z"
    files.rm("/history", recursive=True)
