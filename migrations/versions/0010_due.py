"""Past one night and past one machine: when threads are due, and shared work.

The registry's rows are rewritten at every pass, so its pages keep room for that, and its
vacuum comes often. Going down sets what each sync had before it, and the columns of this
revision, aside in `run_sync_0010_parked`; going up again takes them back.
"""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"

PARKED = "run_sync_0010_parked"

SHARED = ("budgets", "leases", "plans")

ADDED = {
    "threads": (("source_id", "thread_id"), ("asked_at", "active_at", "unsettled")),
    "discoveries": (("source_id",), ("hints",)),
    "syncs": (("sync_id",), ("shared", "threads_left")),
}
"""The columns of this revision, by table, behind the key of their rows."""

ROOM = {
    "fillfactor": 70,
    "autovacuum_vacuum_scale_factor": 0.05,
    "autovacuum_vacuum_cost_delay": 0,
}

BEHIND = """
    UPDATE run_sync.threads SET unsettled = true
    WHERE NOT unsettled AND last_run_at IS NOT NULL
        AND (synced_through_at IS NULL OR synced_through_at < last_run_at)
"""
"""Who was read last by an older program may have open runs all the same."""

WAITING = """
    CREATE OR REPLACE VIEW run_analytics.freshness AS
    SELECT s.source_id, s.name AS source, s.kind,
           count(t.thread_id) AS threads,
           count(*) FILTER (WHERE t.gone_at IS NULL AND t.consecutive_errors = 0 AND t.last_pass_at IS NOT NULL) AS threads_complete,
           count(*) FILTER (WHERE t.gone_at IS NULL AND t.consecutive_errors > 0) AS threads_failing,
           count(t.thread_id) FILTER (WHERE t.gone_at IS NULL AND t.last_pass_at IS NULL) AS threads_never_read,
           count(*) FILTER (WHERE t.gone_at IS NOT NULL) AS threads_gone,
           CASE WHEN count(t.thread_id) FILTER (WHERE t.gone_at IS NULL AND t.last_pass_at IS NULL) = 0
                THEN min(t.last_pass_at) FILTER (WHERE t.gone_at IS NULL) END AS complete_through,
           max(t.last_run_at) AS newest_run_at{more}
    FROM run_sync.sources s
    LEFT JOIN run_sync.threads t USING (source_id){last}
    GROUP BY s.source_id, s.name, s.kind
"""
NEW_OF_FRESHNESS = """,
           count(*) FILTER (WHERE t.gone_at IS NULL AND t.consecutive_errors = 0
                            AND coalesce(t.asked_at, t.last_pass_at) < y.began_at) AS threads_waiting,
           max(t.last_pass_at) AS newest_pass_at"""
LAST_SYNC = """
    LEFT JOIN LATERAL (
        SELECT max(started_at) AS began_at FROM run_sync.syncs
        WHERE trigger IN ('sync', 'schedule') AND outcome IN ('succeeded', 'partial')
            AND s.source_id = ANY (source_ids)
            AND NOT coalesce(s.source_id = ANY (failed_source_ids), false)
    ) y ON true"""

TRACKED_THREADS = """
    CREATE OR REPLACE VIEW run_analytics.tracked_threads AS
    SELECT t.source_id, s.name AS source, t.thread_id, t.tracked_at, t.last_run_at,
           t.last_pass_at, t.runs_seen, t.consecutive_errors, t.missing_since, t.gone_at{more}
    FROM run_sync.threads t JOIN run_sync.sources s USING (source_id)
"""

VIEWS = {
    "freshness": (
        WAITING.format(more=NEW_OF_FRESHNESS, last=LAST_SYNC),
        WAITING.format(more="", last=""),
        {
            "threads_waiting": "Complete threads that the last sync which went well left for a later one.",
            "newest_pass_at": "When the last complete pass over any thread read its end.",
        },
    ),
    "tracked_threads": (
        TRACKED_THREADS.format(more=", t.asked_at, t.active_at"),
        TRACKED_THREADS.format(more=""),
        {
            "asked_at": "When the last pass over it ended, well or not.",
            "active_at": "When it was last active, as a discovery has told.",
        },
    ),
}
"""Each view as it is now and as it was, with what is said of its new columns."""

COMMENTED = """
    SELECT format('COMMENT ON VIEW %s IS %L', c.oid::regclass, obj_description(c.oid)) AS command
    FROM pg_class c WHERE c.oid = CAST(:view AS regclass)
    UNION ALL
    SELECT format('COMMENT ON COLUMN %s.%I IS %L', a.attrelid::regclass, a.attname,
                  col_description(a.attrelid, a.attnum))
    FROM pg_attribute a
    WHERE a.attrelid = CAST(:view AS regclass) AND a.attnum > 0
        AND a.attname NOT IN ('threads_waiting', 'newest_pass_at', 'asked_at', 'active_at')
    UNION ALL
    SELECT format('GRANT %s ON %s TO %s', g.privilege_type, c.oid::regclass,
                  CASE g.grantee WHEN 0 THEN 'PUBLIC' ELSE g.grantee::regrole::text END)
    FROM pg_class c CROSS JOIN LATERAL aclexplode(c.relacl) g
    WHERE c.oid = CAST(:view AS regclass) AND g.grantee <> c.relowner
"""
"""What makes the same said and granted of a view's older columns."""


def upgrade() -> None:
    op.add_column(
        "threads",
        _instant("asked_at", "When the last pass over it ended, well or not."),
        schema="run_sync",
    )
    op.add_column(
        "threads",
        _instant("active_at", "When it was last active, as a discovery has told."),
        schema="run_sync",
    )
    op.add_column(
        "threads",
        _flag(
            "unsettled",
            "Whether the last complete pass left a run behind the bookmark: open, or too young.",
        ),
        schema="run_sync",
    )
    told = ", ".join(f"{key} = {value}" for key, value in ROOM.items())
    op.execute(f"ALTER TABLE run_sync.threads SET ({told})")
    op.add_column(
        "discoveries",
        _flag("hints", "Whether its answer tells when each thread was active."),
        schema="run_sync",
    )
    op.add_column(
        "syncs",
        _flag("shared", "Whether other processes may join it."),
        schema="run_sync",
    )
    op.add_column(
        "syncs",
        sa.Column(
            "threads_left", sa.BigInteger(), comment="Threads it left for a later sync."
        ),
        schema="run_sync",
    )
    if op.get_bind().scalar(sa.select(sa.func.to_regnamespace(PARKED))) is not None:
        _take_back()
    else:
        _create_plans()
        _create_leases()
        _create_budgets()
    op.execute(BEHIND)
    for view, (now, _, comments) in VIEWS.items():
        op.execute(now)
        for column, told in comments.items():
            op.execute(f"COMMENT ON COLUMN run_analytics.{view}.{column} IS '{told}'")


def downgrade() -> None:
    for view, (_, before, _) in VIEWS.items():
        _put_back(view, before)
    op.execute(f"CREATE SCHEMA {PARKED}")
    for table in SHARED:
        op.execute(f"ALTER TABLE run_sync.{table} SET SCHEMA {PARKED}")
    for table, (key, columns) in ADDED.items():
        op.execute(
            f"CREATE TABLE {PARKED}.of_{table} AS"
            f" SELECT {', '.join((*key, *columns))} FROM run_sync.{table}"
        )
        for column in columns:
            op.drop_column(table, column, schema="run_sync")
    op.execute(f"ALTER TABLE run_sync.threads RESET ({', '.join(ROOM)})")


def _take_back() -> None:
    for table in SHARED:
        op.execute(f"ALTER TABLE {PARKED}.{table} SET SCHEMA run_sync")
    for table, (key, columns) in ADDED.items():
        taken = ", ".join(f"{column} = parked.{column}" for column in columns)
        same = " AND ".join(f"t.{column} = parked.{column}" for column in key)
        op.execute(
            f"UPDATE run_sync.{table} t SET {taken} FROM {PARKED}.of_{table} parked"
            f" WHERE {same}"
        )
    op.execute(f"DROP SCHEMA {PARKED} CASCADE")


def _put_back(view: str, definition: str) -> None:
    """A view without its last columns, with what was said and granted of the others.

    A view's columns cannot be dropped, so it is made anew.
    """
    told = op.get_bind().execute(sa.text(COMMENTED), {"view": f"run_analytics.{view}"})
    said = [row.command for row in told]
    op.execute(f"DROP VIEW run_analytics.{view}")
    op.execute(definition)
    for command in said:
        op.execute(sa.text(command.replace(":", "\\:")))


def _create_plans() -> None:
    op.create_table(
        "plans",
        _sync("The sync."),
        _source("The source."),
        _instant("planned_at", "When it was planned; null while it is not."),
        sa.Column(
            "factor",
            sa.Double(),
            comment="A thread was due once it had waited this many times as long as it was idle; null where every thread was.",
        ),
        _count("threads_known", "Tracked threads, tombstones not due left out."),
        _count("threads_due", "Threads the sync has before it."),
        _count("threads_left", "Threads that are left for a later sync."),
        _count(
            "requests_expected",
            "Requests that the threads due should take; 0 where all are asked.",
        ),
        _count("answered", "Threads that the server has answered for."),
        _count("missing", "Threads that the server said it does not know."),
        sa.Column(
            "last_pages",
            sa.ARRAY(sa.Integer()),
            server_default=sa.text("'{}'"),
            nullable=False,
            comment="Runs on pages that were the last ones when the server was asked after.",
        ),
        sa.Column(
            "cut_at",
            sa.Integer(),
            comment="Runs on the shortest page that was not the last one.",
        ),
        _flag(
            "cursors_go_by_creation",
            "Whether a run with a lower id, created later, was seen to follow a cursor.",
        ),
        sa.PrimaryKeyConstraint("sync_id", "source_id", name="plans_pkey"),
        schema="run_sync",
        comment="What each sync has before it: one row per sync and source.",
    )


def _create_leases() -> None:
    op.create_table(
        "leases",
        sa.Column(
            "lease_id",
            sa.BigInteger(),
            sa.Identity(),
            nullable=False,
            comment="Counts leases upward; the first are the most urgent.",
        ),
        _sync("The sync."),
        _source("The source."),
        sa.Column(
            "thread_ids",
            sa.ARRAY(sa.Text()),
            nullable=False,
            comment="The threads that are leased together.",
        ),
        sa.Column(
            "token",
            sa.BigInteger(),
            server_default=sa.text("0"),
            nullable=False,
            comment="How often it was taken; who holds an older one may not write.",
        ),
        sa.Column("holder", sa.Text(), comment="The process that took it last."),
        _instant("lapses_at", "Until when it is taken; null or past is free."),
        sa.PrimaryKeyConstraint("lease_id", name="leases_pkey"),
        schema="run_sync",
        comment="Threads that syncs have before them, handed out in parts; gone once done.",
    )
    op.create_index(
        "leases_sync_id_source_id_lease_id_idx",
        "leases",
        ["sync_id", "source_id", "lease_id"],
        schema="run_sync",
    )


def _create_budgets() -> None:
    op.create_table(
        "budgets",
        _source("The source whose server is asked."),
        _instant(
            "free_at", "When all that is reserved may have been sent.", nullable=False
        ),
        sa.Column(
            "share",
            sa.Double(),
            server_default=sa.text("1"),
            nullable=False,
            comment="The part of the budget that was used at `cut_at`; it has grown back since.",
        ),
        _instant(
            "written_at",
            "When the row was written last; shows that the clock was set back.",
            nullable=False,
        ),
        _instant("cut_at", "When the share was halved last, as the server refused."),
        sa.PrimaryKeyConstraint("source_id", name="budgets_pkey"),
        schema="run_sync",
        comment="The request budget that the processes of a shared sync have in common.",
        postgresql_with={"fillfactor": 50},
    )


def _sync(comment: str) -> sa.Column[int]:
    return sa.Column(
        "sync_id",
        sa.BigInteger(),
        sa.ForeignKey("run_sync.syncs.sync_id", ondelete="CASCADE"),
        autoincrement=False,
        nullable=False,
        comment=comment,
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


def _instant(name: str, comment: str, *, nullable: bool = True) -> sa.Column[object]:
    return sa.Column(name, sa.DateTime(timezone=True), nullable=nullable, comment=comment)


def _flag(name: str, comment: str) -> sa.Column[bool]:
    return sa.Column(
        name,
        sa.Boolean(),
        server_default=sa.text("false"),
        nullable=False,
        comment=comment,
    )


def _count(name: str, comment: str) -> sa.Column[int]:
    return sa.Column(
        name,
        sa.BigInteger(),
        server_default=sa.text("0"),
        nullable=False,
        comment=comment,
    )
