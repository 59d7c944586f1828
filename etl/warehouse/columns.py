"""The tables of a Parquet export, their columns and how each is typed exactly."""

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Literal

from etl.load.tables import runs

if TYPE_CHECKING:
    import pyarrow as pa

LAYOUT = 1
"""Counted up when the same columns get another meaning: then all is written anew."""


class Kind(StrEnum):
    """What a column is in the files."""

    SMALL = "smallint"
    INTEGER = "integer"
    BIG = "bigint"
    DOUBLE = "double"
    BOOLEAN = "boolean"
    TEXT = "text"
    WORD = "text, dictionary-encoded"
    TEXTS = "list of text"
    JSON = "text (JSON)"
    ID = "text (UUID)"
    DAY = "date"
    INSTANT = "timestamp, microseconds, UTC"
    USD = "decimal(38, 18)"
    PRICE = "decimal(38, 12)"
    XID = "bigint (transaction id)"

    @property
    def told(self) -> str:
        """What a manifest says of it: how a file is encoded is its own matter."""
        return self.value.partition(", dictionary")[0]


@dataclass(frozen=True, slots=True)
class Column:
    """One column of the files."""

    name: str
    kind: Kind

    @property
    def sql(self) -> str:
        """What is asked of Postgres: what Arrow does not know comes as text."""
        match self.kind:
            case Kind.JSON | Kind.ID | Kind.USD | Kind.PRICE:
                return f"{self.name}::text AS {self.name}"
            case Kind.XID:
                return f"{self.name}::text::bigint AS {self.name}"
            case _:
                return self.name


@dataclass(frozen=True, slots=True)
class Table:
    """One table of the export: where its rows stand, and what makes their month.

    `relation` is whose changes concern it in run_analytics.month_changes.
    """

    name: str
    rows: str
    relation: Literal["runs", "threads"]
    instant: str
    columns: tuple[Column, ...]
    is_priced: bool = False


def _columns(listed: str) -> tuple[Column, ...]:
    """Columns from lines of a kind and its names."""
    lines = (line.split(":") for line in listed.strip().splitlines())
    return tuple(
        Column(name, Kind[kind.strip()]) for kind, names in lines for name in names.split()
    )


_RUNS = _columns("""
    SMALL: source_id
    TEXT: run_id thread_id
    WORD: assistant_id status model
    INSTANT: created_at started_at expires_at cancelled_at failed_at completed_at
    BIG: prompt_tokens completion_tokens total_tokens cached_prompt_tokens reasoning_tokens
    WORD: truncation_type
    BIG: truncation_last_messages max_prompt_tokens max_completion_tokens
    DOUBLE: temperature top_p
    BOOLEAN: parallel_tool_calls
    WORD: reasoning_effort response_format_type
    JSON: response_format
    WORD: tool_choice_type tool_choice_function
    JSON: tool_choice
    WORD: last_error_code
    TEXT: last_error_message
    WORD: incomplete_reason required_action_type
    JSON: required_action
    ID: instructions_id tool_set_id
    TEXTS: code_interpreter_file_ids file_search_vector_store_ids
    JSON: metadata extra
    INSTANT: first_seen_at changed_at
    BIG: sync_id
    XID: change_xid
""")

_RUN_TOOLS = _columns("""
    SMALL: source_id
    TEXT: run_id thread_id
    INSTANT: created_at
    INTEGER: position
    WORD: tool_type function_name
    TEXT: description
    BOOLEAN: strict
    JSON: parameters settings
""")

_THREADS = _columns("""
    SMALL: source_id
    TEXT: thread_id
    INSTANT: tracked_at last_run_at last_pass_at
    BIG: runs_seen
    INTEGER: consecutive_errors
    INSTANT: missing_since gone_at asked_at active_at
""")

_RUN_COSTS = _columns("""
    SMALL: source_id
    TEXT: run_id thread_id
    WORD: assistant_id model status
    INSTANT: created_at
    DAY: day
    BIG: input_tokens cached_input_tokens output_tokens reasoning_output_tokens total_tokens
    BOOLEAN: is_wasted
    WORD: cost_status
    USD: cost_usd
    WORD: price_provider price_model
    INSTANT: price_from
    PRICE: input_usd_per_million cached_input_usd_per_million output_usd_per_million
    WORD: price_origin
    JSON: metadata
    WORD: error_code incomplete_reason
""")

RUNS = Table("runs", str(runs), "runs", "created_at", _RUNS)

TABLES = (
    RUNS,
    Table("run_tools", "run_history.run_tools", "runs", "created_at", _RUN_TOOLS),
    Table("run_costs", "run_analytics.run_costs", "runs", "created_at", _RUN_COSTS, True),  # noqa: FBT003
    Table("threads", "run_analytics.tracked_threads", "threads", "tracked_at", _THREADS),
)


def arrow_schema(columns: tuple[Column, ...]) -> "pa.Schema":
    """The columns as Arrow types them."""
    import pyarrow as pa  # noqa: PLC0415  # an extra

    return pa.schema([(each.name, arrow_type(each.kind)) for each in columns])


def arrow_type(kind: Kind) -> "pa.DataType":
    """What a kind of column is in Arrow."""
    import pyarrow as pa  # noqa: PLC0415

    types = {
        Kind.SMALL: pa.int16(),
        Kind.INTEGER: pa.int32(),
        Kind.BIG: pa.int64(),
        Kind.XID: pa.int64(),
        Kind.DOUBLE: pa.float64(),
        Kind.BOOLEAN: pa.bool_(),
        Kind.TEXTS: pa.list_(pa.string()),
        Kind.DAY: pa.date32(),
        Kind.INSTANT: pa.timestamp("us", tz="UTC"),
        Kind.USD: pa.decimal128(38, 18),
        Kind.PRICE: pa.decimal128(38, 12),
    }
    return types.get(kind, pa.string())
