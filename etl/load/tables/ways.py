"""Schema `run_sync`: the ways in, beside the server that is asked: discoveries, files."""

from sqlalchemy import BigInteger, Boolean, Table, Text, Uuid, text

from etl.load.tables.columns import SYNC, column, instant, metadata
from etl.load.tables.sync import source_id

untracked = Table(
    "untracked",
    metadata,
    source_id("The source the thread belongs to.", primary_key=True),
    column("thread_id", Text, "The thread's id.", primary_key=True),
    instant(
        "untracked_at",
        "When somebody said so.",
        nullable=False,
        server_default=text("now()"),
    ),
    schema=SYNC,
    comment="Threads that were untracked by hand: no discovery tracks them again.",
)

discoveries = Table(
    "discoveries",
    metadata,
    source_id("The source whose threads are discovered.", primary_key=True),
    column(
        "question",
        Uuid,
        "Digest of the query, or of the list, that the position belongs to.",
        nullable=False,
    ),
    column(
        "position",
        Text,
        "Where the next discovery goes on: the largest value of the growing column.",
    ),
    instant("discovered_at", "When the last discovery succeeded.", nullable=False),
    instant(
        "whole_at",
        "When everything was last asked for, from the start.",
        nullable=False,
    ),
    column(
        "hints",
        Boolean,
        "Whether its answer tells when each thread was active.",
        nullable=False,
        server_default=text("false"),
    ),
    schema=SYNC,
    comment="How far the discovery of each source's threads has come.",
)

imports = Table(
    "imports",
    metadata,
    source_id("The source whose runs the file holds.", primary_key=True),
    column("path", Text, "The file.", primary_key=True),
    column("bytes", BigInteger, "Its size when it was read.", nullable=False),
    instant("modified_at", "When it was changed last, by then.", nullable=False),
    column(
        "payloads",
        BigInteger,
        "How many of its objects, from the first on, are taken in.",
        nullable=False,
    ),
    instant("began_at", "When its import began.", nullable=False),
    instant(
        "finished_at",
        "When its end was reached; null while it is read, or was interrupted.",
    ),
    schema=SYNC,
    comment="Files of run history and how far each is taken in; moves with its rows.",
)
