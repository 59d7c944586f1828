"""The peer dlt: its REST client, its parallel extraction, its merge by upsert."""

import os
from collections.abc import Iterator
from tempfile import TemporaryDirectory
from typing import Any

from bench.peers import PAGE_SIZE, WORKERS, order

CORES = str(os.cpu_count() or 1)

# dlt reads its settings when it is imported. The sizes follow its page "Optimizing dlt":
# several files for each worker of the normalizer, no compression of files that stay here.
os.environ |= {
    "RUNTIME__DLTHUB_TELEMETRY": "false",
    "RUNTIME__LOG_LEVEL": "ERROR",
    "EXTRACT__WORKERS": str(WORKERS),
    "EXTRACT__MAX_PARALLEL_ITEMS": str(4 * WORKERS),
    "EXTRACT__DATA_WRITER__BUFFER_MAX_ITEMS": "5000",
    "EXTRACT__DATA_WRITER__FILE_MAX_ITEMS": "10000",
    "NORMALIZE__WORKERS": CORES,
    "NORMALIZE__DATA_WRITER__BUFFER_MAX_ITEMS": "5000",
    "NORMALIZE__DATA_WRITER__FILE_MAX_ITEMS": "10000",
    "DATA_WRITER__DISABLE_COMPRESSION": "true",
    "LOAD__WORKERS": CORES,
    "LOAD__TRUNCATE_STAGING_DATASET": "true",
}

import dlt  # noqa: E402
from dlt.sources.helpers.rest_client import RESTClient  # noqa: E402
from dlt.sources.helpers.rest_client.paginators import (  # noqa: E402
    JSONResponseCursorPaginator,
)


@dlt.source(max_table_nesting=0)
def assistants(base_url: str, thread_ids: tuple[str, ...]) -> Any:
    """The runs of these threads; lists become JSON columns, not tables of their own."""
    client = RESTClient(base_url=base_url)

    @dlt.resource(name="threads")
    def threads() -> Iterator[str]:
        yield from thread_ids

    @dlt.transformer(
        data_from=threads,
        name="runs",
        parallelized=True,
        primary_key="id",
        write_disposition={"disposition": "merge", "strategy": "upsert"},
    )
    def runs(thread_id: str) -> Iterator[list[Any]]:
        paginator = JSONResponseCursorPaginator(
            cursor_path="last_id", cursor_param="after", has_more_path="has_more"
        )
        yield from client.paginate(
            f"threads/{thread_id}/runs",
            params={"limit": PAGE_SIZE, "order": "asc"},
            paginator=paginator,
            data_selector="data",
        )

    return runs


def main() -> None:
    """Copy the runs into the schema `dlt_runs`."""
    asked = order()
    with TemporaryDirectory() as place:
        pipeline = dlt.pipeline(
            pipeline_name="bench",
            pipelines_dir=place,
            destination=dlt.destinations.postgres(asked.database_url),
            dataset_name="dlt_runs",
        )
        source = assistants(asked.base_url, asked.thread_ids)
        pipeline.run(source, loader_file_format="csv").raise_on_failed_jobs()


if __name__ == "__main__":
    main()
