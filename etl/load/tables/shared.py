"""Schema `run_sync`: what a sync has before it, and what its processes share."""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Double,
    ForeignKey,
    Index,
    Integer,
    Table,
    Text,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY

from etl.load.tables.columns import SYNC, column, count, identity, instant, metadata
from etl.load.tables.sync import source_id, syncs


def _sync_id(*, primary_key: bool = False) -> Column[int]:
    return Column(
        "sync_id",
        BigInteger,
        ForeignKey(syncs.c.sync_id, ondelete="CASCADE"),
        autoincrement=False,
        primary_key=primary_key,
        nullable=False,
        comment="The sync.",
    )


plans = Table(
    "plans",
    metadata,
    _sync_id(primary_key=True),
    source_id("The source.", primary_key=True),
    instant("planned_at", "When it was planned; null while it is not."),
    column(
        "factor",
        Double,
        "A thread was due once it had waited this many times as long as it was idle;"
        " null where every thread was.",
    ),
    count("threads_known", "Tracked threads, tombstones not due left out."),
    count("threads_due", "Threads the sync has before it."),
    count("threads_left", "Threads that are left for a later sync."),
    count(
        "requests_expected",
        "Requests that the threads due should take; 0 where all are asked.",
    ),
    count("answered", "Threads that the server has answered for."),
    count("missing", "Threads that the server said it does not know."),
    column(
        "last_pages",
        ARRAY(Integer),
        "Runs on pages that were the last ones when the server was asked after.",
        nullable=False,
        server_default=text("'{}'"),
    ),
    column("cut_at", Integer, "Runs on the shortest page that was not the last one."),
    column(
        "cursors_go_by_creation",
        Boolean,
        "Whether a run with a lower id, created later, was seen to follow a cursor.",
        nullable=False,
        server_default=text("false"),
    ),
    schema=SYNC,
    comment="What each sync has before it: one row per sync and source.",
)

leases = Table(
    "leases",
    metadata,
    identity(
        "lease_id", BigInteger, "Counts leases upward; the first are the most urgent."
    ),
    _sync_id(),
    source_id("The source.", nullable=False),
    column(
        "thread_ids", ARRAY(Text), "The threads that are leased together.", nullable=False
    ),
    column(
        "token",
        BigInteger,
        "How often it was taken; who holds an older one may not write.",
        nullable=False,
        server_default=text("0"),
    ),
    column("holder", Text, "The process that took it last."),
    instant("lapses_at", "Until when it is taken; null or past is free."),
    Index(None, "sync_id", "source_id", "lease_id"),
    schema=SYNC,
    comment="Threads that syncs have before them, handed out in parts; gone once done.",
)

budgets = Table(
    "budgets",
    metadata,
    source_id("The source whose server is asked.", primary_key=True),
    instant("free_at", "When all that is reserved may have been sent.", nullable=False),
    column(
        "share",
        Double,
        "The part of the budget that was used at `cut_at`; it has grown back since.",
        nullable=False,
        server_default=text("1"),
    ),
    instant(
        "written_at",
        "When the row was written last; shows that the clock was set back.",
        nullable=False,
    ),
    instant("cut_at", "When the share was halved last, as the server refused."),
    schema=SYNC,
    comment="The request budget that the processes of a shared sync have in common.",
)
