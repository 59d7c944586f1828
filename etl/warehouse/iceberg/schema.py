"""The columns of an Iceberg table, how they grow, and how a file has them."""

from typing import TYPE_CHECKING

from etl.domain.errors import ConfigError
from etl.warehouse.columns import Column, Kind, Table, arrow_type

if TYPE_CHECKING:
    import pyarrow as pa
    from pyiceberg.partitioning import PartitionSpec
    from pyiceberg.schema import Schema
    from pyiceberg.table import Transaction
    from pyiceberg.types import IcebergType

PARTITIONED_BY = ("source", "month")
FIELD_ID = b"PARQUET:field_id"
"""Where Arrow keeps the number that an Iceberg column is known by."""


def columns_of(table: Table) -> tuple[Column, ...]:
    """What the partition is, then the columns of the table."""
    return (*(Column(name, Kind.WORD) for name in PARTITIONED_BY), *table.columns)


def iceberg_type(kind: Kind, element_id: int = 0) -> "IcebergType":
    """What a kind of column is in Iceberg; `element_id` is that of a list's elements."""
    from pyiceberg import types  # noqa: PLC0415  # an extra

    if kind is Kind.TEXTS:
        text = types.StringType()
        return types.ListType(element_id, text, element_required=False)
    exact = {
        Kind.SMALL: types.IntegerType(),
        Kind.INTEGER: types.IntegerType(),
        Kind.BIG: types.LongType(),
        Kind.XID: types.LongType(),
        Kind.DOUBLE: types.DoubleType(),
        Kind.BOOLEAN: types.BooleanType(),
        Kind.DAY: types.DateType(),
        Kind.INSTANT: types.TimestamptzType(),
        Kind.USD: types.DecimalType(38, 18),
        Kind.PRICE: types.DecimalType(38, 12),
    }
    return exact.get(kind, types.StringType())


def new_schema(table: Table) -> "Schema":
    """The schema of a table that is made; all columns may be null, so they can grow."""
    from pyiceberg.schema import Schema  # noqa: PLC0415
    from pyiceberg.types import NestedField  # noqa: PLC0415

    columns = columns_of(table)
    return Schema(
        *(
            NestedField(
                number,
                each.name,
                iceberg_type(each.kind, len(columns) + number),
                required=False,
            )
            for number, each in enumerate(columns, 1)
        )
    )


def new_spec(schema: "Schema") -> "PartitionSpec":
    """Partitions by source and month, just as these columns say them."""
    from pyiceberg.partitioning import PartitionField, PartitionSpec  # noqa: PLC0415
    from pyiceberg.transforms import IdentityTransform  # noqa: PLC0415

    return PartitionSpec(
        *(
            PartitionField(
                schema.find_field(name).field_id, 1000 + place, IdentityTransform(), name
            )
            for place, name in enumerate(PARTITIONED_BY)
        )
    )


def stage_growth(transaction: "Transaction", table: Table, shown: str) -> "Schema":
    """Add the columns that a table lacks, and answer the schema that it has then.

    Raises ConfigError where it has a column that is not written, or of another type.
    """
    schema = transaction.table_metadata.schema()
    there = {each.name: each.field_type for each in schema.fields}
    wanted = {each.name: each.kind for each in columns_of(table)}
    if foreign := sorted(there.keys() - wanted.keys()):
        raise ConfigError(
            f"The table {shown} has a column {foreign[0]}, which this version of runtide"
            " does not write; install the version that does, drop the column, or name"
            " another namespace in [[exports]]."
        )
    with transaction.update_schema() as update:
        for name, kind in wanted.items():
            if name not in there:
                update.add_column(name, iceberg_type(kind))
            elif not _is_same(there[name], kind):
                _refuse_type(shown, name, there[name], kind)
    return transaction.table_metadata.schema()


def file_schema(schema: "Schema", table: Table) -> "pa.Schema":
    """The columns as a file has them, each with its number."""
    import pyarrow as pa  # noqa: PLC0415

    return pa.schema([_arrow_field(schema, each) for each in columns_of(table)])


def filled(
    batch: "pa.RecordBatch", schema: "pa.Schema", source: str, month: str
) -> "pa.RecordBatch":
    """A batch with its partition's columns, typed as a file has it."""
    import pyarrow as pa  # noqa: PLC0415

    told = [pa.repeat(pa.scalar(each), batch.num_rows) for each in (source, month)]
    arrays = [*told, *batch.columns]
    return pa.RecordBatch.from_arrays(
        [array.cast(kind) for array, kind in zip(arrays, schema.types, strict=True)],
        schema=schema,
    )


def _arrow_field(schema: "Schema", column: Column) -> "pa.Field":
    import pyarrow as pa  # noqa: PLC0415
    from pyiceberg.types import ListType  # noqa: PLC0415

    field = schema.find_field(column.name)
    kind = arrow_type(column.kind)
    if isinstance(field.field_type, ListType):
        metadata = {FIELD_ID: str(field.field_type.element_id)}
        kind = pa.list_(pa.field("element", pa.string(), metadata=metadata))
    elif column.kind is Kind.SMALL:
        kind = pa.int32()
    return pa.field(column.name, kind, metadata={FIELD_ID: str(field.field_id)})


def _is_same(there: "IcebergType", kind: Kind) -> bool:
    """Whether a column's type is that of its kind, whatever its numbers are."""
    from pyiceberg.types import ListType  # noqa: PLC0415

    wanted = iceberg_type(kind)
    if isinstance(there, ListType) and isinstance(wanted, ListType):
        return bool(there.element_type == wanted.element_type)
    return bool(there == wanted)


def _refuse_type(shown: str, name: str, there: "IcebergType", kind: Kind) -> None:
    raise ConfigError(
        f"The column {name} of the table {shown} is {there}, but runtide writes"
        f" {iceberg_type(kind)}; name another namespace in [[exports]]."
    )
