"""run_sync: sources, the thread registry, the ledger, quarantine and drift.

Going down sets the tables aside in `run_sync_parked`; going up again takes them
back, so that no row is lost either way.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0002"
down_revision = "0001"

TABLES = ("sources", "threads", "syncs", "rejects", "drift")


def upgrade() -> None:
    parked = sa.select(sa.func.to_regnamespace("run_sync_parked"))
    if op.get_bind().scalar(parked) is not None:
        _move("run_sync_parked", "run_sync")
        op.execute("DROP SCHEMA run_sync_parked")
        return
    op.execute("COMMENT ON SCHEMA run_sync IS 'How the run history got here.'")
    op.execute("COMMENT ON TABLE run_sync.alembic_version IS 'The schema''s own version.'")
    op.execute(
        "COMMENT ON COLUMN run_sync.alembic_version.version_num IS"
        " 'The last migration that was run.'"
    )
    _create_tables()


def downgrade() -> None:
    op.execute("CREATE SCHEMA run_sync_parked")
    _move("run_sync", "run_sync_parked")


def _move(here: str, there: str) -> None:
    for table in TABLES:
        op.execute(f"ALTER TABLE {here}.{table} SET SCHEMA {there}")


def _create_tables() -> None:
    op.create_table(
        "sources",
        sa.Column(
            "source_id",
            sa.SmallInteger(),
            sa.Identity(always=False),
            nullable=False,
            comment="Short key used by all tables.",
        ),
        sa.Column(
            "name", sa.Text(), nullable=False, comment="The name in the configuration."
        ),
        sa.Column("kind", sa.Text(), nullable=False, comment="The protocol it speaks."),
        sa.Column(
            "base_url",
            sa.Text(),
            nullable=False,
            comment="Its address when it was last used.",
        ),
        sa.PrimaryKeyConstraint("source_id", name="sources_pkey"),
        sa.UniqueConstraint("name", name="sources_name_key"),
        schema="run_sync",
        comment="Where runs come from: one row per configured source.",
    )
    op.create_table(
        "syncs",
        sa.Column(
            "sync_id",
            sa.BigInteger(),
            sa.Identity(always=False),
            nullable=False,
            comment="Counts syncs upward.",
        ),
        sa.Column(
            "started_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
            comment="When the sync began.",
        ),
        sa.Column(
            "finished_at",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="When it ended; null while it works or if it died.",
        ),
        sa.Column("trigger", sa.Text(), nullable=False, comment="What started it."),
        sa.Column(
            "outcome",
            sa.Text(),
            nullable=True,
            comment="succeeded, partial, failed or interrupted.",
        ),
        sa.Column(
            "threads",
            sa.BigInteger(),
            server_default=sa.text("0"),
            nullable=False,
            comment="Threads whose pass ended, well or not.",
        ),
        sa.Column(
            "threads_failed",
            sa.BigInteger(),
            server_default=sa.text("0"),
            nullable=False,
            comment="Threads whose pass failed.",
        ),
        sa.Column(
            "pages",
            sa.BigInteger(),
            server_default=sa.text("0"),
            nullable=False,
            comment="Pages committed.",
        ),
        sa.Column(
            "requests",
            sa.BigInteger(),
            server_default=sa.text("0"),
            nullable=False,
            comment="HTTP attempts.",
        ),
        sa.Column(
            "retries",
            sa.BigInteger(),
            server_default=sa.text("0"),
            nullable=False,
            comment="Second and later attempts.",
        ),
        sa.Column(
            "runs_read",
            sa.BigInteger(),
            server_default=sa.text("0"),
            nullable=False,
            comment="Runs on the committed pages.",
        ),
        sa.Column(
            "runs_created",
            sa.BigInteger(),
            server_default=sa.text("0"),
            nullable=False,
            comment="Rows inserted.",
        ),
        sa.Column(
            "runs_updated",
            sa.BigInteger(),
            server_default=sa.text("0"),
            nullable=False,
            comment="Rows changed.",
        ),
        sa.Column(
            "runs_unchanged",
            sa.BigInteger(),
            server_default=sa.text("0"),
            nullable=False,
            comment="Runs whose row was already right.",
        ),
        sa.Column(
            "rejects",
            sa.BigInteger(),
            server_default=sa.text("0"),
            nullable=False,
            comment="Payloads quarantined.",
        ),
        sa.Column(
            "error", sa.Text(), nullable=True, comment="Why it failed, in a sentence."
        ),
        sa.PrimaryKeyConstraint("sync_id", name="syncs_pkey"),
        schema="run_sync",
        comment="The ledger: one row per sync.",
    )
    op.create_table(
        "drift",
        sa.Column(
            "source_id",
            sa.SmallInteger(),
            autoincrement=False,
            nullable=False,
            comment="Where it was seen.",
        ),
        sa.Column("path", sa.Text(), nullable=False, comment="The place in the payload."),
        sa.Column(
            "kind",
            sa.Text(),
            nullable=False,
            comment="unknown_field, unknown_value or unexpected_type.",
        ),
        sa.Column(
            "value", sa.Text(), nullable=False, comment="The value or type that is new."
        ),
        sa.Column(
            "example_run_id", sa.Text(), nullable=True, comment="A run that shows it."
        ),
        sa.Column(
            "first_seen_at",
            sa.DateTime(timezone=True),
            nullable=False,
            comment="When it was first seen.",
        ),
        sa.Column(
            "last_seen_at",
            sa.DateTime(timezone=True),
            nullable=False,
            comment="When it was last seen.",
        ),
        sa.Column(
            "times_seen",
            sa.BigInteger(),
            server_default=sa.text("0"),
            nullable=False,
            comment="How often a run was read that shows it.",
        ),
        sa.ForeignKeyConstraint(
            ["source_id"], ["run_sync.sources.source_id"], name="drift_source_id_fkey"
        ),
        sa.PrimaryKeyConstraint("source_id", "path", "kind", "value", name="drift_pkey"),
        schema="run_sync",
        comment="Fields, values and types that the schema does not know.",
    )
    op.create_table(
        "rejects",
        sa.Column(
            "reject_id",
            sa.BigInteger(),
            sa.Identity(always=False),
            nullable=False,
            comment="Counts rejects upward.",
        ),
        sa.Column(
            "source_id",
            sa.SmallInteger(),
            autoincrement=False,
            nullable=False,
            comment="Where it was read.",
        ),
        sa.Column(
            "thread_id",
            sa.Text(),
            nullable=False,
            comment="The thread that was asked for.",
        ),
        sa.Column(
            "run_id",
            sa.Text(),
            nullable=True,
            comment="The run's id, if one could be read.",
        ),
        sa.Column("payload", sa.Text(), nullable=False, comment="The payload as it came."),
        sa.Column(
            "payload_id", sa.Uuid(), nullable=False, comment="Digest of the payload."
        ),
        sa.Column(
            "reason",
            sa.Text(),
            nullable=False,
            comment="Why it could not become a run.",
        ),
        sa.Column(
            "first_seen_at",
            sa.DateTime(timezone=True),
            nullable=False,
            comment="When it was first read.",
        ),
        sa.Column(
            "last_seen_at",
            sa.DateTime(timezone=True),
            nullable=False,
            comment="When it was last read.",
        ),
        sa.Column(
            "times_seen",
            sa.Integer(),
            server_default=sa.text("1"),
            nullable=False,
            comment="How often it was read.",
        ),
        sa.Column(
            "replayed_at",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="When a replay, or a later reading, gave the run.",
        ),
        sa.ForeignKeyConstraint(
            ["source_id"], ["run_sync.sources.source_id"], name="rejects_source_id_fkey"
        ),
        sa.PrimaryKeyConstraint("reject_id", name="rejects_pkey"),
        sa.UniqueConstraint(
            "source_id",
            "thread_id",
            "payload_id",
            name="rejects_source_id_thread_id_payload_id_key",
        ),
        schema="run_sync",
        comment="The quarantine: payloads that could not become runs.",
    )
    op.create_table(
        "threads",
        sa.Column(
            "source_id",
            sa.SmallInteger(),
            autoincrement=False,
            nullable=False,
            comment="The source that is asked for the thread.",
        ),
        sa.Column("thread_id", sa.Text(), nullable=False, comment="The thread's id."),
        sa.Column(
            "tracked_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
            comment="When tracking began.",
        ),
        sa.Column(
            "synced_through",
            sa.Text(),
            nullable=True,
            comment="The bookmark: the last run of the leading stretch of settled runs.",
        ),
        sa.Column(
            "synced_through_at",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="When the bookmark's run was created.",
        ),
        sa.Column(
            "overlap_from",
            sa.Text(),
            nullable=True,
            comment="The last run of a second before the bookmark's; the next pass asks after it.",
        ),
        sa.Column(
            "watched_run_ids",
            postgresql.ARRAY(sa.Text()),
            server_default=sa.text("'{}'"),
            nullable=False,
            comment="Stale open runs behind the bookmark, retrieved one by one.",
        ),
        sa.Column(
            "read_at",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="When the last page that was committed was asked for; always moves on. A pass that began before it may not write.",
        ),
        sa.Column(
            "last_pass_at",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="When the last complete pass read the thread's end.",
        ),
        sa.Column(
            "walked_at",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="When a pass last read the whole thread from its start.",
        ),
        sa.Column(
            "last_run_at",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="When the newest run seen was created.",
        ),
        sa.Column(
            "runs_seen",
            sa.BigInteger(),
            server_default=sa.text("0"),
            nullable=False,
            comment="Runs of the thread that were stored.",
        ),
        sa.Column(
            "consecutive_errors",
            sa.Integer(),
            server_default=sa.text("0"),
            nullable=False,
            comment="Passes that failed since the last complete one.",
        ),
        sa.Column(
            "last_error",
            sa.Text(),
            nullable=True,
            comment="What the last failed pass said; null after success.",
        ),
        sa.Column(
            "missing_since",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="When the server first said it does not know the thread.",
        ),
        sa.Column(
            "gone_at",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="When the thread was tombstoned.",
        ),
        sa.ForeignKeyConstraint(
            ["source_id"], ["run_sync.sources.source_id"], name="threads_source_id_fkey"
        ),
        sa.PrimaryKeyConstraint("source_id", "thread_id", name="threads_pkey"),
        schema="run_sync",
        comment="One row per tracked thread: its bookmark and its health.",
    )
