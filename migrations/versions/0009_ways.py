"""Ways in and a way on: discoveries, imports, and which months have changed.

Triggers note, for each source, the months in which a statement added, changed or took
runs or threads, with the transaction that did it. So whoever carries months away knows
which of them its last snapshot has not seen, deletions included. A partition that is
dropped or detached by hand is not noted, and what was carried away of it stays there.

Going down sets what is known of the ways in aside in `run_sync_0009_parked`; going up
again takes it back, and notes every month as changed.
"""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"

PARKED = "run_sync_0009_parked"
WAYS_IN = ("untracked", "discoveries", "imports")

MONTH = "date_trunc('month', {instant} AT TIME ZONE 'UTC')::date"


class Xid8(sa.types.UserDefinedType[str]):
    """A 64-bit transaction id."""

    cache_ok = True

    def get_col_spec(self, **_: object) -> str:
        return "xid8"


FOLLOWED = {
    "runs": ("run_history.runs", MONTH.format(instant="created_at")),
    "threads": ("run_sync.threads", MONTH.format(instant="tracked_at")),
}
"""Which table each name stands for, and the month of one of its rows."""

NOTE = """
    INSERT INTO run_analytics.month_changes AS m (relation, source_id, month, change_xid)
    SELECT DISTINCT '{relation}', source_id, {month}, pg_current_xact_id()
    FROM {changed} AS changed
    ORDER BY 2, 3
    ON CONFLICT (relation, source_id, month) DO UPDATE SET change_xid = excluded.change_xid
        WHERE m.change_xid <> excluded.change_xid;
"""

FOLLOW = """
CREATE FUNCTION run_analytics.note_months_of_{relation}() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        {inserted}
    ELSIF TG_OP = 'UPDATE' THEN
        {updated}
    ELSIF TG_OP = 'DELETE' THEN
        {deleted}
    ELSE
        UPDATE run_analytics.month_changes SET change_xid = pg_current_xact_id()
        WHERE relation = '{relation}';
    END IF;
    RETURN NULL;
END
$$
"""

TRIGGERS = {
    "INSERT": "REFERENCING NEW TABLE AS rows_after",
    "UPDATE": "REFERENCING OLD TABLE AS rows_before NEW TABLE AS rows_after",
    "DELETE": "REFERENCING OLD TABLE AS rows_before",
    "TRUNCATE": "",
}
"""What each is told of the statement that fired it."""

BOTH = "(TABLE rows_before UNION ALL TABLE rows_after)"

TRACKED_THREADS = """
CREATE VIEW run_analytics.tracked_threads AS
SELECT t.source_id, s.name AS source, t.thread_id, t.tracked_at, t.last_run_at,
       t.last_pass_at, t.runs_seen, t.consecutive_errors, t.missing_since, t.gone_at
FROM run_sync.threads t JOIN run_sync.sources s USING (source_id)
"""

COMMENTS = {
    "source_id": "The source, as the tables of run_history know it.",
    "source": "The source's name in the configuration.",
    "thread_id": "The thread.",
    "tracked_at": "When tracking began.",
    "last_run_at": "When the newest run seen was created.",
    "last_pass_at": "When the last complete pass read the thread's end.",
    "runs_seen": "Runs of the thread that were stored.",
    "consecutive_errors": "Passes that failed since the last complete one.",
    "missing_since": "When the server first said it does not know the thread.",
    "gone_at": "When the thread was tombstoned.",
}


def upgrade() -> None:
    op.alter_column(
        "sources",
        "base_url",
        nullable=True,
        comment="Its address when it was last used; null for an archive.",
        schema="run_sync",
    )
    if op.get_bind().scalar(sa.select(sa.func.to_regnamespace(PARKED))) is not None:
        for table in WAYS_IN:
            op.execute(f"ALTER TABLE {PARKED}.{table} SET SCHEMA run_sync")
        op.execute(f"DROP SCHEMA {PARKED}")
    else:
        _create_ways_in()
    _create_month_changes()
    for relation in FOLLOWED:
        _follow(relation)
    op.execute(TRACKED_THREADS)
    op.execute(
        "COMMENT ON VIEW run_analytics.tracked_threads IS"
        " 'One row per tracked thread: since when, and how far it is read.'"
    )
    for column, comment in COMMENTS.items():
        told = comment.replace("'", "''")
        op.execute(f"COMMENT ON COLUMN run_analytics.tracked_threads.{column} IS '{told}'")


def downgrade() -> None:
    op.execute("DROP VIEW run_analytics.tracked_threads")
    for relation, (table, _) in FOLLOWED.items():
        for event in TRIGGERS:
            op.execute(f"DROP TRIGGER note_months_{event.lower()} ON {table}")
        op.execute(f"DROP FUNCTION run_analytics.note_months_of_{relation}")
    op.drop_table("month_changes", schema="run_analytics")
    op.execute(f"CREATE SCHEMA {PARKED}")
    for table in WAYS_IN:
        op.execute(f"ALTER TABLE run_sync.{table} SET SCHEMA {PARKED}")
    op.execute("UPDATE run_sync.sources SET base_url = '' WHERE base_url IS NULL")
    op.alter_column(
        "sources",
        "base_url",
        nullable=False,
        comment="Its address when it was last used.",
        schema="run_sync",
    )


def _follow(relation: str) -> None:
    """Make the triggers of one table, and note all its months."""
    table, month = FOLLOWED[relation]

    def note(changed: str) -> str:
        return NOTE.format(relation=relation, month=month, changed=changed)

    op.execute(
        FOLLOW.format(
            relation=relation,
            inserted=note("rows_after"),
            updated=note(BOTH),
            deleted=note("rows_before"),
        )
    )
    function = f"run_analytics.note_months_of_{relation}"
    op.execute(
        f"COMMENT ON FUNCTION {function} IS 'Notes the months that a statement changed in {table}.'"
    )
    op.execute(f"REVOKE ALL ON FUNCTION {function} FROM PUBLIC")
    for event, told in TRIGGERS.items():
        op.execute(
            f"CREATE TRIGGER note_months_{event.lower()} AFTER {event} ON {table} {told}"
            f" FOR EACH STATEMENT EXECUTE FUNCTION {function}()"
        )
    op.execute(note(table))


def _create_month_changes() -> None:
    op.create_table(
        "month_changes",
        sa.Column("relation", sa.Text(), nullable=False, comment="runs or threads."),
        sa.Column(
            "source_id",
            sa.SmallInteger(),
            nullable=False,
            comment="The source, as run_sync.sources knows it.",
        ),
        sa.Column(
            "month",
            sa.Date(),
            nullable=False,
            comment="The first day (UTC) of the month in which runs were created, or threads tracked.",
        ),
        sa.Column(
            "change_xid",
            Xid8(),
            nullable=False,
            comment="The transaction that changed, added or took a row of it last.",
        ),
        sa.PrimaryKeyConstraint(
            "relation", "source_id", "month", name="month_changes_pkey"
        ),
        schema="run_analytics",
        comment="Which months have changed, for those who carry them away; follows the tables within each transaction.",
        postgresql_with={"fillfactor": 50},
    )


def _create_ways_in() -> None:
    op.create_table(
        "untracked",
        _source("The source the thread belongs to."),
        sa.Column("thread_id", sa.Text(), nullable=False, comment="The thread's id."),
        sa.Column(
            "untracked_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
            comment="When somebody said so.",
        ),
        sa.PrimaryKeyConstraint("source_id", "thread_id", name="untracked_pkey"),
        schema="run_sync",
        comment="Threads that were untracked by hand: no discovery tracks them again.",
    )
    op.create_table(
        "discoveries",
        _source("The source whose threads are discovered."),
        sa.Column(
            "question",
            sa.Uuid(),
            nullable=False,
            comment="Digest of the query, or of the list, that the position belongs to.",
        ),
        sa.Column(
            "position",
            sa.Text(),
            comment="Where the next discovery goes on: the largest value of the growing column.",
        ),
        sa.Column(
            "discovered_at",
            sa.DateTime(timezone=True),
            nullable=False,
            comment="When the last discovery succeeded.",
        ),
        sa.Column(
            "whole_at",
            sa.DateTime(timezone=True),
            nullable=False,
            comment="When everything was last asked for, from the start.",
        ),
        sa.PrimaryKeyConstraint("source_id", name="discoveries_pkey"),
        schema="run_sync",
        comment="How far the discovery of each source's threads has come.",
    )
    op.create_table(
        "imports",
        _source("The source whose runs the file holds."),
        sa.Column("path", sa.Text(), nullable=False, comment="The file."),
        sa.Column(
            "bytes", sa.BigInteger(), nullable=False, comment="Its size when it was read."
        ),
        sa.Column(
            "modified_at",
            sa.DateTime(timezone=True),
            nullable=False,
            comment="When it was changed last, by then.",
        ),
        sa.Column(
            "payloads",
            sa.BigInteger(),
            nullable=False,
            comment="How many of its objects, from the first on, are taken in.",
        ),
        sa.Column(
            "began_at",
            sa.DateTime(timezone=True),
            nullable=False,
            comment="When its import began.",
        ),
        sa.Column(
            "finished_at",
            sa.DateTime(timezone=True),
            comment="When its end was reached; null while it is read, or was interrupted.",
        ),
        sa.PrimaryKeyConstraint("source_id", "path", name="imports_pkey"),
        schema="run_sync",
        comment="Files of run history and how far each is taken in; moves with its rows.",
    )


def _source(comment: str) -> sa.Column[int]:
    return sa.Column(
        "source_id",
        sa.SmallInteger(),
        sa.ForeignKey("run_sync.sources.source_id"),
        autoincrement=False,
        nullable=False,
        comment=comment,
    )
