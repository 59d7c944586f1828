"""A script for Spark's own Python: runs SQL on a cluster of two executors.

Its argument is a JSON file with `settings` and `statements`; it prints one JSON object
with the columns and the rows of each statement, and how many bytes each executor read.
"""

import json
import sys
from pathlib import Path

from pyspark.sql import SparkSession  # type: ignore[import-not-found]

told = json.loads(Path(sys.argv[1]).read_text())
settings = {
    **told["settings"],
    "spark.scheduler.minRegisteredResourcesRatio": "1.0",
    "spark.sql.session.timeZone": "UTC",
    "spark.sql.shuffle.partitions": "4",
    "spark.ui.enabled": "false",
}
builder = SparkSession.builder.master("local-cluster[2,1,1024]")
spark = builder.config(map=settings).getOrCreate()
frames = map(spark.sql, told["statements"])  # one after the other: some change tables
answers = [
    {"columns": each.columns, "rows": [list(row) for row in each.collect()]}
    for each in frames
]
context = spark.sparkContext._jsc.sc()
context.listenerBus().waitUntilEmpty()
every = False  # not the living alone
executors = context.statusStore().executorList(every)
read = {
    executors.apply(place).id(): executors.apply(place).totalInputBytes()
    for place in range(executors.size())
}
spark.stop()
sys.stdout.write(json.dumps({"answers": answers, "read": read}, default=str))
