"""What an operator asks: who works, on what, how large it grew, what was forgotten.

Also a function that makes a month's partition with its owner's rights, so that the
role that syncs need not own the tables.

Going down sets the new facts aside in `run_sync_0004_parked`; going up again takes
them back.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0004"
down_revision = "0003"

PARKED = "run_sync_0004_parked"
COLUMNS = ("source_ids", "failed_source_ids", "holder", "threads_due", "database_bytes")

MAKE_MONTH = """
CREATE FUNCTION run_sync.make_month(month date) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    low timestamptz := date_trunc('month', month::timestamp) AT TIME ZONE 'UTC';
    high timestamptz := (date_trunc('month', month::timestamp) + interval '1 month')
        AT TIME ZONE 'UTC';
    name text := 'runs_' || to_char(month, 'YYYY_MM');
BEGIN
    PERFORM pg_advisory_xact_lock(x'72756e73'::bigint);
    IF to_regclass('run_history.' || name) IS NOT NULL THEN
        RETURN;
    END IF;
    EXECUTE format('CREATE TABLE run_history.%I (LIKE run_history.runs INCLUDING ALL)', name);
    EXECUTE format('COMMENT ON TABLE run_history.%I IS %L', name,
                   'Runs created in ' || to_char(month, 'YYYY-MM') || ' (UTC).');
    EXECUTE format('WITH moved AS (DELETE FROM run_history.runs_default'
                   ' WHERE created_at >= %L AND created_at < %L RETURNING *)'
                   ' INSERT INTO run_history.%I SELECT * FROM moved', low, high, name);
    EXECUTE format('ALTER TABLE run_history.runs ATTACH PARTITION run_history.%I'
                   ' FOR VALUES FROM (%L) TO (%L)', name, low, high);
END
$$
"""


def upgrade() -> None:
    op.add_column(
        "syncs",
        sa.Column(
            "source_ids",
            postgresql.ARRAY(sa.SmallInteger()),
            comment="The sources it holds: no other sync reads them meanwhile.",
        ),
        schema="run_sync",
    )
    op.add_column(
        "syncs",
        sa.Column(
            "failed_source_ids",
            postgresql.ARRAY(sa.SmallInteger()),
            comment="Those of its sources that could not be read as a whole.",
        ),
        schema="run_sync",
    )
    op.add_column(
        "syncs",
        sa.Column("holder", sa.Text(), comment="The process it runs in, and where."),
        schema="run_sync",
    )
    op.add_column(
        "syncs",
        sa.Column("threads_due", sa.BigInteger(), comment="Threads it has before it."),
        schema="run_sync",
    )
    op.add_column(
        "syncs",
        sa.Column(
            "database_bytes",
            sa.BigInteger(),
            comment="Size of the whole database when the sync ended.",
        ),
        schema="run_sync",
    )
    if _is_parked():
        _take_back()
    else:
        _create_erasures()
    op.execute(MAKE_MONTH)
    op.execute("REVOKE ALL ON FUNCTION run_sync.make_month FROM PUBLIC")
    op.execute(
        "COMMENT ON FUNCTION run_sync.make_month IS"
        " 'Makes the partition of one month, with the rights of the tables'' owner.'"
    )


def downgrade() -> None:
    op.execute("DROP FUNCTION run_sync.make_month")
    op.execute(f"CREATE SCHEMA {PARKED}")
    op.execute(f"ALTER TABLE run_sync.erasures SET SCHEMA {PARKED}")
    op.execute(
        f"CREATE TABLE {PARKED}.syncs AS"
        f" SELECT sync_id, {', '.join(COLUMNS)} FROM run_sync.syncs"
    )
    for column in COLUMNS:
        op.drop_column("syncs", column, schema="run_sync")


def _is_parked() -> bool:
    return op.get_bind().scalar(sa.select(sa.func.to_regnamespace(PARKED))) is not None


def _take_back() -> None:
    op.execute(f"ALTER TABLE {PARKED}.erasures SET SCHEMA run_sync")
    taken = ", ".join(f"{column} = parked.{column}" for column in COLUMNS)
    op.execute(
        f"UPDATE run_sync.syncs SET {taken} FROM {PARKED}.syncs parked"
        " WHERE parked.sync_id = syncs.sync_id"
    )
    op.execute(f"DROP SCHEMA {PARKED} CASCADE")


def _create_erasures() -> None:
    op.create_table(
        "erasures",
        sa.Column(
            "source_id",
            sa.SmallInteger(),
            autoincrement=False,
            nullable=False,
            comment="The source the thread was read from.",
        ),
        sa.Column(
            "thread_digest",
            sa.Uuid(),
            nullable=False,
            comment="Digest of the thread's id, which is itself forgotten.",
        ),
        sa.Column(
            "erased_at",
            sa.DateTime(timezone=True),
            nullable=False,
            comment="When the thread was last erased.",
        ),
        sa.Column(
            "runs",
            sa.BigInteger(),
            server_default=sa.text("0"),
            nullable=False,
            comment="Runs that were erased.",
        ),
        sa.Column(
            "rejects",
            sa.BigInteger(),
            server_default=sa.text("0"),
            nullable=False,
            comment="Quarantined payloads that were erased.",
        ),
        sa.Column(
            "readmitted_at",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="When it was tracked again on purpose; null keeps it out.",
        ),
        sa.ForeignKeyConstraint(
            ["source_id"], ["run_sync.sources.source_id"], name="erasures_source_id_fkey"
        ),
        sa.PrimaryKeyConstraint("source_id", "thread_digest", name="erasures_pkey"),
        schema="run_sync",
        comment="Threads that were forgotten: that they were, and when.",
    )
