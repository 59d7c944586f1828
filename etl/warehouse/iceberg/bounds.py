"""A file as a table has it: with bounds of a column only where they hold for every row."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pyarrow.parquet as pq
    from pyiceberg.io import FileIO
    from pyiceberg.manifest import DataFile
    from pyiceberg.table.metadata import TableMetadata

COUNTS = "counts"
"""What PyIceberg calls it to count values, and to tell no bounds of them."""


def data_file(io: "FileIO", metadata: "TableMetadata", location: str) -> "DataFile":
    """Describe a file to a table.

    Parquet has no bounds of a row group with texts of more than 4 KiB at its ends.
    PyIceberg 0.12 takes those of the others for the file's then, so that readers would
    pass over rows; and it fails at instants that Python does not know.
    """
    import pyarrow.parquet as pq  # noqa: PLC0415  # an extra
    from pyiceberg.io.pyarrow import parquet_file_to_data_file  # noqa: PLC0415

    with io.new_input(location).open() as file:
        unbounded = set(_unbounded(pq.read_metadata(file)))
    modes = {f"write.metadata.metrics.column.{name}": COUNTS for name in unbounded}
    properties = {**metadata.properties, **modes}
    told = metadata.model_copy(update={"properties": properties})
    return parquet_file_to_data_file(io, told, location)


def _unbounded(file: "pq.FileMetaData") -> Iterator[str]:
    """The columns with a row group whose bounds are not known."""
    for group in map(file.row_group, range(file.num_row_groups)):
        for column in map(group.column, range(group.num_columns)):
            if not _has_bounds(column.statistics):
                yield column.path_in_schema


def _has_bounds(statistics: "pq.Statistics | None") -> bool:
    """Also where there is no value at all, so that none is out of them."""
    if statistics is None or not statistics.has_min_max:
        return statistics is not None and statistics.num_values == 0
    try:
        _ = statistics.min, statistics.max
    except OverflowError:
        return False
    return True
