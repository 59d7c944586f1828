"""Schema `run_sync`: how it got here."""

from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ForeignKey,
    Integer,
    SmallInteger,
    Table,
    Text,
    UniqueConstraint,
    Uuid,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY

from etl.load.tables.columns import SYNC, column, count, identity, instant, metadata

sources = Table(
    "sources",
    metadata,
    identity("source_id", SmallInteger, "Short key used by all tables."),
    column("name", Text, "The name in the configuration.", nullable=False, unique=True),
    column("kind", Text, "The protocol it speaks.", nullable=False),
    column("base_url", Text, "Its address when it was last used; null for an archive."),
    column(
        "price_provider",
        Text,
        "Whose prices its models have: run_analytics.model_prices.",
        nullable=False,
        server_default="openai",
    ),
    schema=SYNC,
    comment="Where runs come from: one row per configured source.",
)


def source_id(comment: str, **options: Any) -> Column[Any]:
    """A column that points to `sources`."""
    return Column(
        "source_id",
        SmallInteger,
        ForeignKey(sources.c.source_id),
        autoincrement=False,
        comment=comment,
        **options,
    )


threads = Table(
    "threads",
    metadata,
    source_id("The source that is asked for the thread.", primary_key=True),
    column("thread_id", Text, "The thread's id.", primary_key=True),
    instant(
        "tracked_at",
        "When tracking began.",
        nullable=False,
        server_default=text("now()"),
    ),
    column(
        "synced_through",
        Text,
        "The bookmark: the last run of the leading stretch of settled runs.",
    ),
    instant("synced_through_at", "When the bookmark's run was created."),
    column(
        "overlap_from",
        Text,
        "The last run of a second before the bookmark's; the next pass asks after it.",
    ),
    column(
        "watched_run_ids",
        ARRAY(Text),
        "Stale open runs behind the bookmark, retrieved one by one.",
        nullable=False,
        server_default=text("'{}'"),
    ),
    instant(
        "read_at",
        "When the last page that was committed was asked for; always moves on. A"
        " pass that began before it may not write.",
    ),
    instant("last_pass_at", "When the last complete pass read the thread's end."),
    instant("walked_at", "When a pass last read the whole thread from its start."),
    instant("last_run_at", "When the newest run seen was created."),
    count("runs_seen", "Runs of the thread that were stored."),
    column(
        "consecutive_errors",
        Integer,
        "Passes that failed since the last complete one.",
        nullable=False,
        server_default=text("0"),
    ),
    column("last_error", Text, "What the last failed pass said; null after success."),
    instant("missing_since", "When the server first said it does not know the thread."),
    instant("gone_at", "When the thread was tombstoned."),
    instant("asked_at", "When the last pass over it ended, well or not."),
    instant("active_at", "When it was last active, as a discovery has told."),
    column(
        "unsettled",
        Boolean,
        "Whether the last complete pass left a run behind the bookmark: open, or too"
        " young.",
        nullable=False,
        server_default=text("false"),
    ),
    schema=SYNC,
    comment="One row per tracked thread: its bookmark and its health.",
)

syncs = Table(
    "syncs",
    metadata,
    identity("sync_id", BigInteger, "Counts syncs upward."),
    instant(
        "started_at",
        "When the sync began.",
        nullable=False,
        server_default=text("now()"),
    ),
    instant("finished_at", "When it ended; null while it works or if it died."),
    column("trigger", Text, "What started it.", nullable=False),
    column("outcome", Text, "succeeded, partial, failed or interrupted."),
    count("threads", "Threads whose pass ended, well or not."),
    count("threads_failed", "Threads whose pass failed."),
    count("pages", "Pages committed."),
    count("requests", "HTTP attempts."),
    count("retries", "Second and later attempts."),
    count("runs_read", "Runs on the committed pages."),
    count("runs_created", "Rows inserted."),
    count("runs_updated", "Rows changed."),
    count("runs_unchanged", "Runs whose row was already right."),
    count("rejects", "Payloads quarantined."),
    column("error", Text, "Why it failed, in a sentence."),
    column(
        "source_ids",
        ARRAY(SmallInteger),
        "The sources it holds: no other sync reads them meanwhile.",
    ),
    column(
        "failed_source_ids",
        ARRAY(SmallInteger),
        "Those of its sources that could not be read as a whole.",
    ),
    column("holder", Text, "The process it runs in, and where."),
    column("threads_due", BigInteger, "Threads it has before it."),
    column("database_bytes", BigInteger, "Size of the whole database when the sync ended."),
    column(
        "shared",
        Boolean,
        "Whether other processes may join it.",
        nullable=False,
        server_default=text("false"),
    ),
    column("threads_left", BigInteger, "Threads it left for a later sync."),
    schema=SYNC,
    comment="The ledger: one row per sync.",
)

rejects = Table(
    "rejects",
    metadata,
    identity("reject_id", BigInteger, "Counts rejects upward."),
    source_id("Where it was read.", nullable=False),
    column("thread_id", Text, "The thread that was asked for.", nullable=False),
    column("run_id", Text, "The run's id, if one could be read."),
    column("payload", Text, "The payload as it came.", nullable=False),
    column("payload_id", Uuid, "Digest of the payload.", nullable=False),
    column("reason", Text, "Why it could not become a run.", nullable=False),
    instant("first_seen_at", "When it was first read.", nullable=False),
    instant("last_seen_at", "When it was last read.", nullable=False),
    column(
        "times_seen",
        Integer,
        "How often it was read.",
        nullable=False,
        server_default=text("1"),
    ),
    instant("replayed_at", "When a replay, or a later reading, gave the run."),
    UniqueConstraint("source_id", "thread_id", "payload_id"),
    schema=SYNC,
    comment="The quarantine: payloads that could not become runs.",
)

drift = Table(
    "drift",
    metadata,
    source_id("Where it was seen.", primary_key=True),
    column("path", Text, "The place in the payload.", primary_key=True),
    column(
        "kind",
        Text,
        "unknown_field, unknown_value or unexpected_type.",
        primary_key=True,
    ),
    column("value", Text, "The value or type that is new.", primary_key=True),
    column("example_run_id", Text, "A run that shows it."),
    instant("first_seen_at", "When it was first seen.", nullable=False),
    instant("last_seen_at", "When it was last seen.", nullable=False),
    count("times_seen", "How often a run was read that shows it."),
    schema=SYNC,
    comment="Fields, values and types that the schema does not know.",
)

erasures = Table(
    "erasures",
    metadata,
    source_id("The source the thread was read from.", primary_key=True),
    column(
        "thread_digest",
        Uuid,
        "Digest of the thread's id, which is itself forgotten.",
        primary_key=True,
    ),
    instant("erased_at", "When the thread was last erased.", nullable=False),
    count("runs", "Runs that were erased."),
    count("rejects", "Quarantined payloads that were erased."),
    instant("readmitted_at", "When it was tracked again on purpose; null keeps it out."),
    schema=SYNC,
    comment="Threads that were forgotten: that they were, and when.",
)
