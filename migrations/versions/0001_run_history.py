"""run_history: runs by month, and the dictionaries of instructions and tools.

Going down sets the schema aside as `run_history_parked`; going up again takes it
back, so that no row is lost either way.
"""

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None


class Xid8(sa.types.UserDefinedType[str]):
    """A 64-bit transaction id."""

    cache_ok = True

    def get_col_spec(self, **_: Any) -> str:
        """Answer the type's name in SQL."""
        return "xid8"


def upgrade() -> None:
    parked = sa.select(sa.func.to_regnamespace("run_history_parked"))
    if op.get_bind().scalar(parked) is not None:
        op.execute("ALTER SCHEMA run_history_parked RENAME TO run_history")
        return
    op.execute("CREATE SCHEMA run_history")
    op.execute("COMMENT ON SCHEMA run_history IS 'What was observed.'")
    _create_tables()
    op.execute(
        "CREATE TABLE run_history.runs_default PARTITION OF run_history.runs DEFAULT"
    )
    op.execute(
        "COMMENT ON TABLE run_history.runs_default IS"
        " 'Runs of instants that no real run can have, and of months yet to come.'"
    )


def downgrade() -> None:
    op.execute("ALTER SCHEMA run_history RENAME TO run_history_parked")


def _create_tables() -> None:
    op.create_table(
        "instructions",
        sa.Column(
            "instructions_id", sa.Uuid(), nullable=False, comment="Digest of the text."
        ),
        sa.Column("body", sa.Text(), nullable=False, comment="The text."),
        sa.PrimaryKeyConstraint("instructions_id", name="instructions_pkey"),
        schema="run_history",
        comment="Each distinct instructions text, once.",
    )
    op.create_table(
        "runs",
        sa.Column(
            "source_id",
            sa.SmallInteger(),
            autoincrement=False,
            nullable=False,
            comment="Where the run was read: run_sync.sources.",
        ),
        sa.Column(
            "run_id",
            sa.Text(),
            nullable=False,
            comment="The run's id as the server gave it.",
        ),
        sa.Column(
            "thread_id",
            sa.Text(),
            nullable=False,
            comment="The thread the run belongs to.",
        ),
        sa.Column(
            "assistant_id", sa.Text(), nullable=True, comment="The assistant that ran."
        ),
        sa.Column(
            "status",
            sa.Text(),
            nullable=False,
            comment="The run's status when it was last read.",
        ),
        sa.Column(
            "model",
            sa.Text(),
            nullable=True,
            comment="The model, by the name the server uses.",
        ),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            nullable=False,
            comment="When the run was created; never changes.",
        ),
        sa.Column(
            "started_at",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="When the run started.",
        ),
        sa.Column(
            "expires_at",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="When an open run will expire; null once it ended.",
        ),
        sa.Column(
            "cancelled_at",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="When the run was cancelled.",
        ),
        sa.Column(
            "failed_at",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="When the run failed.",
        ),
        sa.Column(
            "completed_at",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="When the run completed, or ended as incomplete.",
        ),
        sa.Column(
            "prompt_tokens",
            sa.BigInteger(),
            nullable=True,
            comment="Prompt tokens, the cached ones included.",
        ),
        sa.Column(
            "completion_tokens",
            sa.BigInteger(),
            nullable=True,
            comment="Completion tokens, reasoning included.",
        ),
        sa.Column(
            "total_tokens",
            sa.BigInteger(),
            nullable=True,
            comment="Prompt and completion tokens together.",
        ),
        sa.Column(
            "cached_prompt_tokens",
            sa.BigInteger(),
            nullable=True,
            comment="Prompt tokens read from a cache.",
        ),
        sa.Column(
            "reasoning_tokens",
            sa.BigInteger(),
            nullable=True,
            comment="Completion tokens spent on reasoning.",
        ),
        sa.Column(
            "truncation_type",
            sa.Text(),
            nullable=True,
            comment="truncation_strategy.type.",
        ),
        sa.Column(
            "truncation_last_messages",
            sa.BigInteger(),
            nullable=True,
            comment="truncation_strategy.last_messages.",
        ),
        sa.Column(
            "max_prompt_tokens",
            sa.BigInteger(),
            nullable=True,
            comment="The limit on prompt tokens.",
        ),
        sa.Column(
            "max_completion_tokens",
            sa.BigInteger(),
            nullable=True,
            comment="The limit on completion tokens.",
        ),
        sa.Column(
            "temperature",
            sa.Double(),
            nullable=True,
            comment="The sampling temperature.",
        ),
        sa.Column(
            "top_p",
            sa.Double(),
            nullable=True,
            comment="The share of probability sampled from.",
        ),
        sa.Column(
            "parallel_tool_calls",
            sa.Boolean(),
            nullable=True,
            comment="Whether tools may run in parallel.",
        ),
        sa.Column(
            "reasoning_effort",
            sa.Text(),
            nullable=True,
            comment="The reasoning effort asked for.",
        ),
        sa.Column(
            "response_format_type",
            sa.Text(),
            nullable=True,
            comment="The type of response_format, or its word.",
        ),
        sa.Column(
            "response_format",
            postgresql.JSONB(astext_type=sa.Text()),
            nullable=True,
            comment="response_format where it is an object.",
        ),
        sa.Column(
            "tool_choice_type",
            sa.Text(),
            nullable=True,
            comment="The type of tool_choice, or its word.",
        ),
        sa.Column(
            "tool_choice_function",
            sa.Text(),
            nullable=True,
            comment="The function that tool_choice names.",
        ),
        sa.Column(
            "tool_choice",
            postgresql.JSONB(astext_type=sa.Text()),
            nullable=True,
            comment="tool_choice where it is an object.",
        ),
        sa.Column("last_error_code", sa.Text(), nullable=True, comment="last_error.code."),
        sa.Column(
            "last_error_message",
            sa.Text(),
            nullable=True,
            comment="last_error.message.",
        ),
        sa.Column(
            "incomplete_reason",
            sa.Text(),
            nullable=True,
            comment="incomplete_details.reason.",
        ),
        sa.Column(
            "required_action_type",
            sa.Text(),
            nullable=True,
            comment="required_action.type.",
        ),
        sa.Column(
            "required_action",
            postgresql.JSONB(astext_type=sa.Text()),
            nullable=True,
            comment="What an open run waits for.",
        ),
        sa.Column(
            "instructions_id",
            sa.Uuid(),
            nullable=True,
            comment="The text in run_history.instructions.",
        ),
        sa.Column(
            "tool_set_id",
            sa.Uuid(),
            nullable=True,
            comment="The tool list in run_history.tools.",
        ),
        sa.Column(
            "code_interpreter_file_ids",
            postgresql.ARRAY(sa.Text()),
            nullable=True,
            comment="tool_resources.code_interpreter.file_ids.",
        ),
        sa.Column(
            "file_search_vector_store_ids",
            postgresql.ARRAY(sa.Text()),
            nullable=True,
            comment="tool_resources.file_search.vector_store_ids.",
        ),
        sa.Column(
            "metadata",
            postgresql.JSONB(astext_type=sa.Text()),
            nullable=True,
            comment="The run's metadata.",
        ),
        sa.Column(
            "extra",
            postgresql.JSONB(astext_type=sa.Text()),
            nullable=True,
            comment="Every part of the payload that no other column gives back.",
        ),
        sa.Column(
            "first_seen_at",
            sa.DateTime(timezone=True),
            nullable=False,
            comment="When the run was first read.",
        ),
        sa.Column(
            "changed_at",
            sa.DateTime(timezone=True),
            nullable=False,
            comment="When a changed value was last read.",
        ),
        sa.Column(
            "sync_id",
            sa.BigInteger(),
            nullable=False,
            comment="The sync that wrote the row last: run_sync.syncs.",
        ),
        sa.Column(
            "change_xid",
            Xid8(),
            server_default=sa.text("pg_current_xact_id()"),
            nullable=False,
            comment="The transaction that wrote the row last, for incremental readers.",
        ),
        sa.PrimaryKeyConstraint("source_id", "run_id", "created_at", name="runs_pkey"),
        schema="run_history",
        comment="One row per run, as it was last read.",
        postgresql_partition_by="RANGE (created_at)",
    )
    op.create_index(
        "runs_source_id_thread_id_created_at_idx",
        "runs",
        ["source_id", "thread_id", "created_at"],
        unique=False,
        schema="run_history",
    )
    op.create_table(
        "tools",
        sa.Column(
            "tool_set_id",
            sa.Uuid(),
            nullable=False,
            comment="Digest of the whole tool list.",
        ),
        sa.Column(
            "position",
            sa.Integer(),
            autoincrement=False,
            nullable=False,
            comment="Place in the list, from 0.",
        ),
        sa.Column("tool_type", sa.Text(), nullable=True, comment="The tool's type."),
        sa.Column(
            "function_name", sa.Text(), nullable=True, comment="The function's name."
        ),
        sa.Column(
            "description",
            sa.Text(),
            nullable=True,
            comment="The function's description.",
        ),
        sa.Column(
            "strict",
            sa.Boolean(),
            nullable=True,
            comment="Whether the function's arguments follow its schema.",
        ),
        sa.Column(
            "parameters",
            postgresql.JSONB(astext_type=sa.Text()),
            nullable=True,
            comment="The function's parameters, a JSON Schema.",
        ),
        sa.Column(
            "settings",
            postgresql.JSONB(astext_type=sa.Text()),
            nullable=True,
            comment="Every other part of the tool.",
        ),
        sa.PrimaryKeyConstraint("tool_set_id", "position", name="tools_pkey"),
        schema="run_history",
        comment="Each distinct tool list, once: one row per tool.",
    )
