"""Parquet files: row groups of bounded size, compressed with Zstandard."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from etl.warehouse.sink import Sink

if TYPE_CHECKING:
    import pyarrow as pa

COMPRESSION = "zstd"
COMPRESSION_LEVEL = 1
"""Three quarters of Snappy's size, and as fast (docs/export.md)."""

GROUP_BYTES = 32 << 20
"""How much of a row group is held in memory before it is written."""


class ParquetRows:
    """Record batches of one partition, on their way into files."""

    def __init__(
        self, schema: "pa.Schema", words: list[str], batches: "Iterator[pa.RecordBatch]"
    ) -> None:
        """`words` are the columns of few values, which are dictionary-encoded."""
        self._schema = schema
        self._words = words
        self._groups = _grouped(batches)
        self._next = next(self._groups, None)

    @property
    def is_at_end(self) -> bool:
        """Whether there are no more rows."""
        return self._next is None

    def into(self, sink: Sink, most_bytes: int) -> int:
        """Write row groups, one at least, until the file is long enough."""
        import pyarrow.parquet as pq  # noqa: PLC0415  # an extra

        rows = 0
        with pq.ParquetWriter(
            sink,
            self._schema,
            compression=COMPRESSION,
            compression_level=COMPRESSION_LEVEL,
            use_dictionary=self._words,
            store_schema=False,
        ) as writer:
            while self._next is not None and (rows == 0 or sink.bytes < most_bytes):
                writer.write_table(self._next, row_group_size=len(self._next))
                rows += len(self._next)
                self._next = next(self._groups, None)
        return rows


def _grouped(batches: "Iterator[pa.RecordBatch]") -> "Iterator[pa.Table]":
    """Batches as row groups: gathered until they fill one."""
    import pyarrow as pa  # noqa: PLC0415

    held: list[pa.RecordBatch] = []
    for batch in batches:
        held.append(batch)
        if sum(each.nbytes for each in held) >= GROUP_BYTES:
            yield pa.Table.from_batches(held)
            held = []
    if held:
        yield pa.Table.from_batches(held)
