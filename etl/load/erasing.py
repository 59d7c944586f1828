"""Erasing: a thread out of every table, and what no run refers to any more."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.engine import Connection

from etl.domain.batch import SourceId
from etl.domain.digest import digest
from etl.domain.run import ThreadId
from etl.load.naming import naming


class Leftovers(NamedTuple):
    """Entries of the dictionaries that no run referred to, and are gone."""

    instructions: int
    tool_sets: int


class Erased(NamedTuple):
    """What a thread has left behind, and is gone."""

    was_there: bool
    runs: int
    rejects: int
    leftovers: Leftovers


class Traces(NamedTuple):
    """What is there of a thread."""

    runs: int
    rejects: int


def traces(
    connection: Connection, source_ids: Sequence[SourceId], thread_id: ThreadId
) -> Traces:
    """Count what erasing a thread would take."""
    row = connection.execute(COUNT_TRACES, _facts(source_ids, thread_id)).one()
    return Traces(*row)


def erase(
    connection: Connection, source_ids: Sequence[SourceId], thread_id: ThreadId
) -> Erased:
    """Erase a thread of some sources, and note that it was; the caller commits.

    A thread that is not there is noted all the same, so that it stays out.
    """
    facts = _facts(source_ids, thread_id)
    was_tracked = connection.execute(DELETE_THREAD, facts).rowcount > 0
    was_noted = connection.execute(DELETE_NOTE, facts).rowcount > 0
    connection.execute(CREATE_ERASED)
    connection.execute(DELETE_RUNS, facts)
    runs = _by_source(connection, COUNT_ERASED, {})
    leftovers = Leftovers(
        connection.execute(DELETE_INSTRUCTIONS).scalar_one(),
        connection.execute(DELETE_TOOLS).scalar_one(),
    )
    rejects = _by_source(connection, DELETE_REJECTS, facts)
    connection.execute(FORGET_EXAMPLES)
    named = sum(connection.execute(each, facts).rowcount for each in FORGET_TEXTS)
    for source_id in source_ids:
        mine = {"runs": runs.get(source_id, 0), "rejects": rejects.get(source_id, 0)}
        connection.execute(NOTE_ERASURE, {**mine, **_key(source_id, thread_id)})
    return Erased(
        was_there=was_tracked or was_noted or bool(runs or rejects or named),
        runs=sum(runs.values()),
        rejects=sum(rejects.values()),
        leftovers=leftovers,
    )


def sweep(connection: Connection) -> Leftovers:
    """Erase every entry of the dictionaries that no run refers to; the caller commits."""
    return Leftovers(
        connection.execute(SWEEP_INSTRUCTIONS).scalar_one(),
        connection.execute(SWEEP_TOOLS).scalar_one(),
    )


def _facts(source_ids: Sequence[SourceId], thread_id: ThreadId) -> dict[str, object]:
    return {
        "source_ids": list(source_ids),
        "thread_id": thread_id,
        "naming": naming(thread_id),
    }


def _key(source_id: SourceId, thread_id: ThreadId) -> dict[str, object]:
    return {"source_id": source_id, "thread_digest": digest(thread_id.encode())}


def _by_source(
    connection: Connection, statement: sa.TextClause, facts: Mapping[str, object]
) -> dict[SourceId, int]:
    rows = connection.execute(statement, facts)
    return {SourceId(row.source_id): row.number for row in rows}


def _of_sources(statement: str) -> sa.TextClause:
    source_ids = sa.bindparam("source_ids", type_=ARRAY(sa.SmallInteger))
    return sa.text(statement).bindparams(source_ids)


COUNT_TRACES = _of_sources(
    """
    SELECT (SELECT count(*) FROM run_history.runs
            WHERE source_id = ANY(:source_ids) AND thread_id = :thread_id),
           (SELECT count(*) FROM run_sync.rejects
            WHERE source_id = ANY(:source_ids)
                AND (thread_id = :thread_id OR payload ~ :naming))
    """
)

DELETE_THREAD = _of_sources(
    "DELETE FROM run_sync.threads"
    " WHERE source_id = ANY(:source_ids) AND thread_id = :thread_id"
)
"""First, as every batch locks its threads first."""

DELETE_NOTE = _of_sources(
    "DELETE FROM run_sync.untracked"
    " WHERE source_id = ANY(:source_ids) AND thread_id = :thread_id"
)
"""That it was untracked by hand: it stays out anyway, and the note names it."""

CREATE_ERASED = sa.text(
    "CREATE TEMPORARY TABLE runtide_erased (source_id smallint, run_id text,"
    " instructions_id uuid, tool_set_id uuid) ON COMMIT DROP"
)

DELETE_RUNS = _of_sources(
    """
    WITH gone AS (
        DELETE FROM run_history.runs
        WHERE source_id = ANY(:source_ids) AND thread_id = :thread_id
        RETURNING source_id, run_id, instructions_id, tool_set_id
    )
    INSERT INTO runtide_erased SELECT * FROM gone
    """
)

COUNT_ERASED = sa.text(
    "SELECT source_id, count(*) AS number FROM runtide_erased GROUP BY source_id"
)

_DELETE_INSTRUCTIONS = """
    WITH gone AS (
        DELETE FROM run_history.instructions i
        WHERE NOT EXISTS (SELECT FROM run_history.runs r
                          WHERE r.instructions_id = i.instructions_id) {more}
        RETURNING 1
    )
    SELECT count(*) FROM gone
"""
_DELETE_TOOLS = """
    WITH gone AS (
        DELETE FROM run_history.tools t
        WHERE NOT EXISTS (SELECT FROM run_history.runs r
                          WHERE r.tool_set_id = t.tool_set_id) {more}
        RETURNING t.tool_set_id
    )
    SELECT count(DISTINCT tool_set_id) FROM gone
"""
SWEEP_INSTRUCTIONS = sa.text(_DELETE_INSTRUCTIONS.format(more=""))
SWEEP_TOOLS = sa.text(_DELETE_TOOLS.format(more=""))
DELETE_INSTRUCTIONS = sa.text(
    _DELETE_INSTRUCTIONS.format(
        more="AND i.instructions_id IN (SELECT instructions_id FROM runtide_erased)"
    )
)
DELETE_TOOLS = sa.text(
    _DELETE_TOOLS.format(
        more="AND t.tool_set_id IN (SELECT tool_set_id FROM runtide_erased)"
    )
)

DELETE_REJECTS = _of_sources(
    """
    WITH gone AS (
        DELETE FROM run_sync.rejects
        WHERE source_id = ANY(:source_ids)
            AND (thread_id = :thread_id OR payload ~ :naming)
        RETURNING source_id
    )
    SELECT source_id, count(*) AS number FROM gone GROUP BY source_id
    """
)

FORGET_EXAMPLES = sa.text(
    """
    UPDATE run_sync.drift d SET example_run_id = NULL
    FROM runtide_erased e
    WHERE d.source_id = e.source_id AND d.example_run_id = e.run_id
    """
)

FORGET_TEXTS = (
    sa.text(
        """
        UPDATE run_sync.syncs SET error = 'It named a thread that was forgotten.'
        WHERE error ~ :naming
        """
    ),
    sa.text(
        """
        UPDATE run_sync.syncs SET trigger = 'backfill of a thread that was forgotten'
        WHERE trigger ~ :naming
        """
    ),
    _of_sources(
        """
        UPDATE run_sync.threads SET last_error = 'It named a thread that was forgotten.'
        WHERE source_id = ANY(:source_ids) AND last_error ~ :naming
        """
    ),
    _of_sources(
        """
        DELETE FROM run_sync.imports
        WHERE source_id = ANY(:source_ids) AND path ~ :naming
        """
    ),
)
"""The ledger is of all sources together; what else a sentence says of the thread, a
run's id for one, goes with it."""

NOTE_ERASURE = sa.text(
    """
    INSERT INTO run_sync.erasures AS e (source_id, thread_digest, erased_at, runs, rejects)
    VALUES (:source_id, :thread_digest, clock_timestamp(), :runs, :rejects)
    ON CONFLICT (source_id, thread_digest) DO UPDATE
    SET erased_at = excluded.erased_at,
        runs = e.runs + excluded.runs,
        rejects = e.rejects + excluded.rejects,
        readmitted_at = NULL
    """
).bindparams(sa.bindparam("thread_digest", type_=sa.Uuid))
