"""JSON Lines: the API's own run objects again, a line each, so that anybody can leave."""

import gzip
from collections.abc import Iterator
from functools import lru_cache

import msgspec

from etl.domain.run import Run
from etl.transform import rebuild
from etl.transform.dictionaries import tools_of
from etl.transform.json_text import dump
from etl.warehouse.sink import Sink

LEVEL = 3
"""Of gzip: a quarter larger than the best, in less than a third of its time."""

MOST_TOOL_LISTS = 64
"""Lists of tools that are kept: many runs share one."""

_encode = msgspec.json.Encoder().encode

LINES_BETWEEN_LOOKS = 1_000


class RunLines:
    """The runs of one partition, on their way into files."""

    def __init__(self, runs: Iterator[Run]) -> None:
        self._runs = runs
        self._tools_of = lru_cache(MOST_TOOL_LISTS)(tools_of)
        self._next = next(runs, None)

    @property
    def is_at_end(self) -> bool:
        """Whether there are no more runs."""
        return self._next is None

    def into(self, sink: Sink, most_bytes: int) -> int:
        """Write lines, some at least, until the file is long enough."""
        rows = 0
        with gzip.GzipFile("", "wb", LEVEL, sink, mtime=0) as packed:
            while self._next is not None and (rows == 0 or sink.bytes < most_bytes):
                for _ in range(LINES_BETWEEN_LOOKS):
                    packed.write(self._line(self._next))
                    rows += 1
                    self._next = next(self._runs, None)
                    if self._next is None:
                        break
        return rows

    def _line(self, run: Run) -> bytes:
        payload = rebuild(run, self._tools_of)
        try:
            return _encode(payload) + b"\n"
        except OverflowError:  # an integer of more than 64 bits
            return dump(payload).encode() + b"\n"
