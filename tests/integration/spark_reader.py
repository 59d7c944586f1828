"""A script for Spark's own Python: reads the files of a table's plan with its executors.

Its argument is a JSON file with `files`, and `columns` with their numbers and types in
Spark's words; it prints one JSON object. Columns are found by their numbers alone.
"""

import json
import sys
from pathlib import Path
from typing import Any

from pyspark.sql import SparkSession  # type: ignore[import-not-found]
from pyspark.sql import functions as f
from pyspark.sql.types import (  # type: ignore[import-not-found]
    StructField,
    StructType,
    _parse_datatype_string,
)

plan = json.loads(Path(sys.argv[1]).read_text())
spark = (
    SparkSession.builder.master("local-cluster[2,1,1024]")
    .config("spark.ui.enabled", "false")
    .config("spark.sql.session.timeZone", "UTC")
    .config("spark.sql.parquet.fieldId.read.enabled", "true")
    .config("spark.sql.files.maxPartitionBytes", "16k")
    .getOrCreate()
)
schema = StructType(
    [
        StructField(
            f"c{each['id']}",
            _parse_datatype_string(each["type"]),
            metadata={"parquet.field.id": each["id"]},
        )
        for each in plan["columns"]
    ]
)
found = spark.read.schema(schema).parquet(*plan["files"])


def plain(column: dict[str, Any]) -> Any:
    """Instants as microseconds, what JSON cannot say exactly as text."""
    name = f"c{column['id']}"
    if column["type"] == "timestamp":
        return f.unix_micros(name).alias(name)
    if column["type"].startswith("decimal"):
        return f.col(name).cast("string").alias(name)
    return f.col(name)


rows = found.select(*(plain(each) for each in plan["columns"]))
told = {
    "executors": spark.sparkContext._jsc.sc().getExecutorMemoryStatus().size() - 1,
    "tasks": rows.rdd.getNumPartitions(),
    "sums": found.groupBy(f"c{plan['by']}").count().count(),
    "rows": [list(each) for each in rows.collect()],
}
spark.stop()
sys.stdout.write(json.dumps(told, default=str))
