"""The SQL of one batch, as values; the rules stand where the races are."""

from collections.abc import Callable
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB, insert

from etl.domain.run import SECOND, TERMINAL
from etl.load.copying import OBSERVED, staging
from etl.load.tables import drift, instructions, rejects, runs, tools

KEY = ["source_id", "run_id", "created_at"]


def instant(microseconds: sa.ColumnElement[Any]) -> sa.ColumnElement[Any]:
    """Microseconds since 1970 as timestamptz, exactly.

    Postgres multiplies intervals as floats, hence seconds and the rest apart.
    """
    epoch = sa.cast("epoch", sa.DateTime(timezone=True))
    seconds = (microseconds // SECOND) * sa.text("interval '1 second'")
    return epoch + seconds + (microseconds % SECOND) * sa.text("interval '1 microsecond'")


def microseconds(moment: sa.ColumnElement[Any]) -> sa.ColumnElement[Any]:
    """A timestamptz as microseconds since 1970, exactly."""
    return sa.cast(sa.extract("epoch", moment) * 1_000_000, sa.BigInteger)


def _staged(column: sa.Column[Any]) -> sa.ColumnElement[Any]:
    value = staging.c[column.name]
    return instant(value) if isinstance(column.type, sa.DateTime) else value


def upsert_runs() -> sa.Select[Any]:
    """Move the staged runs into `runs`; count created and updated rows by thread.

    The guard: an older reading never overwrites a newer one, and a row that has
    not changed is not written.
    """
    return _upsert(lambda new: new.changed_at > runs.c.changed_at)


def upsert_runs_of_files() -> sa.Select[Any]:
    """The same for readings out of files, whose instants are only what they prove.

    A run that has ended does so once, so an ended state also wins over an open one,
    whatever the two clocks say.
    """
    return _upsert(lambda new: (new.changed_at > proved_by_row()) | has_ended(new))


def proved_by_row() -> sa.ColumnElement[Any]:
    """When a row was read, or what it proves itself where the server's clock is ahead."""
    ends = (runs.c.completed_at, runs.c.failed_at, runs.c.cancelled_at)
    moment = sa.text("interval '1 microsecond'")
    return sa.func.greatest(
        runs.c.changed_at,
        runs.c.created_at,
        runs.c.started_at,
        *(each + moment for each in ends),
    )


def has_ended(new: Any) -> sa.ColumnElement[bool]:
    """Whether a reading shows the end of a run that the tables show open."""
    ended = sorted(TERMINAL)
    return sa.and_(new.status.in_(ended), runs.c.status.not_in(ended))


def _upsert(wins: Callable[[Any], sa.ColumnElement[bool]]) -> sa.Select[Any]:
    read_at = instant(staging.c.read_at)
    xid = sa.func.pg_current_xact_id()
    reading = sa.select(
        *map(_staged, OBSERVED), read_at, read_at, sa.bindparam("sync_id"), xid
    )
    statement = insert(runs).from_select(runs.c.keys(), reading)
    new = statement.excluded
    values = [column.name for column in OBSERVED if column.name not in KEY]
    moved = {name: new[name] for name in (*values, "sync_id", "change_xid")}
    later = runs.c.changed_at + sa.text("interval '1 microsecond'")
    guarded = statement.on_conflict_do_update(
        index_elements=KEY,
        set_={**moved, "changed_at": sa.func.greatest(new.changed_at, later)},
        where=wins(new)
        & sa.tuple_(*(runs.c[name] for name in values)).is_distinct_from(
            sa.tuple_(*(new[name] for name in values))
        ),
    )
    is_new = (runs.c.first_seen_at == runs.c.changed_at).label("is_new")
    written = guarded.returning(runs.c.source_id, runs.c.thread_id, is_new).cte()
    created = sa.func.count().filter(written.c.is_new)
    return sa.select(
        written.c.source_id,
        written.c.thread_id,
        created.label("created"),
        (sa.func.count() - created).label("updated"),
    ).group_by(written.c.source_id, written.c.thread_id)


ADD_INSTRUCTIONS = insert(instructions).on_conflict_do_nothing()


def _json(name: str) -> sa.ColumnElement[Any]:
    """A parameter that is JSON text already."""
    return sa.cast(sa.bindparam(name, type_=sa.Text), JSONB)


ADD_TOOLS = (
    insert(tools)
    .values(parameters=_json("parameters"), settings=_json("settings"))
    .on_conflict_do_nothing()
)

_reject = insert(rejects)
ADD_REJECTS = _reject.on_conflict_do_update(
    index_elements=["source_id", "thread_id", "payload_id"],
    set_={
        "reason": _reject.excluded.reason,
        "last_seen_at": sa.func.greatest(
            rejects.c.last_seen_at, _reject.excluded.last_seen_at
        ),
        "times_seen": rejects.c.times_seen + 1,
        "replayed_at": None,  # whatever it was before, now it waits
    },
)

RELEASE_REJECTS = (
    sa.update(rejects)
    .where(
        rejects.c.replayed_at.is_(None),
        rejects.c.source_id == staging.c.source_id,
        rejects.c.thread_id == staging.c.thread_id,
        rejects.c.run_id == staging.c.run_id,
        rejects.c.last_seen_at < instant(staging.c.read_at),
    )
    .values(replayed_at=sa.func.clock_timestamp())
)
"""A run that was read since then has left the quarantine. Without this a replay
could set it back: the guard looks at the last change, not at the last reading."""

_drift = insert(drift)
ADD_DRIFT = _drift.on_conflict_do_update(
    index_elements=["source_id", "path", "kind", "value"],
    set_={
        "last_seen_at": sa.func.greatest(
            drift.c.last_seen_at, _drift.excluded.last_seen_at
        ),
        "times_seen": drift.c.times_seen + _drift.excluded.times_seen,
    },
)

LOCK_THREADS = sa.text(
    """
    SELECT t.source_id, t.thread_id,
           (extract(epoch FROM t.read_at) * 1000000)::bigint AS read_at
    FROM run_sync.threads t
    JOIN unnest(CAST(:source_ids AS smallint[]), CAST(:thread_ids AS text[]))
         AS wanted (source_id, thread_id) USING (source_id, thread_id)
    ORDER BY t.source_id, t.thread_id
    FOR UPDATE OF t
    """
)

MOVE_THREADS = sa.text(
    """
    UPDATE run_sync.threads t
    SET synced_through = n.synced_through,
        synced_through_at = n.synced_through_at,
        overlap_from = n.overlap_from,
        watched_run_ids = ARRAY(SELECT jsonb_array_elements_text(n.watched::jsonb)),
        walked_at = CASE WHEN n.walked THEN n.read_at ELSE t.walked_at END,
        missing_since = NULL,
        gone_at = NULL,
        read_at = n.read_at,
        last_pass_at = CASE WHEN n.completes THEN n.read_at ELSE t.last_pass_at END,
        asked_at = CASE WHEN n.completes THEN clock_timestamp() ELSE t.asked_at END,
        unsettled = CASE WHEN n.completes THEN n.unsettled ELSE t.unsettled END,
        last_run_at = greatest(t.last_run_at, n.last_run_at),
        runs_seen = t.runs_seen + n.created,
        consecutive_errors = CASE WHEN n.completes THEN 0
            ELSE t.consecutive_errors END,
        last_error = CASE WHEN n.completes THEN NULL ELSE t.last_error END
    FROM unnest(
        CAST(:source_ids AS smallint[]), CAST(:thread_ids AS text[]),
        CAST(:synced_through AS text[]), CAST(:synced_through_at AS timestamptz[]),
        CAST(:read_at AS timestamptz[]), CAST(:completes AS boolean[]),
        CAST(:last_run_at AS timestamptz[]), CAST(:created AS bigint[]),
        CAST(:overlap_from AS text[]), CAST(:watched AS text[]),
        CAST(:walked AS boolean[]), CAST(:unsettled AS boolean[])
    ) AS n (source_id, thread_id, synced_through, synced_through_at, read_at,
            completes, last_run_at, created, overlap_from, watched, walked, unsettled)
    WHERE t.source_id = n.source_id AND t.thread_id = n.thread_id
    """
)

MARK_MISSING = sa.text(
    """
    UPDATE run_sync.threads t
    SET missing_since = coalesce(t.missing_since, clock_timestamp()),
        gone_at = CASE
            WHEN t.missing_since <= clock_timestamp() - interval '1 hour'
            THEN coalesce(t.gone_at, clock_timestamp()) ELSE t.gone_at END,
        consecutive_errors = t.consecutive_errors + 1,
        last_error = n.message,
        asked_at = clock_timestamp()
    FROM unnest(
        CAST(:source_ids AS smallint[]), CAST(:thread_ids AS text[]),
        CAST(:messages AS text[])
    ) AS n (source_id, thread_id, message)
    WHERE t.source_id = n.source_id AND t.thread_id = n.thread_id
    """
)
"""A second sync at least an hour after the first that missed it makes a tombstone."""

NOTE_REPLAYED = sa.text(
    """
    UPDATE run_sync.threads
    SET runs_seen = runs_seen + :created,
        last_run_at = greatest(last_run_at, CAST(:created_at AS timestamptz))
    WHERE source_id = :source_id AND thread_id = :thread_id
    """
)

NOTE_FAILURES = sa.text(
    """
    UPDATE run_sync.threads t
    SET consecutive_errors = t.consecutive_errors + 1, last_error = n.message,
        asked_at = clock_timestamp()
    FROM unnest(
        CAST(:source_ids AS smallint[]), CAST(:thread_ids AS text[]),
        CAST(:messages AS text[])
    ) AS n (source_id, thread_id, message)
    WHERE t.source_id = n.source_id AND t.thread_id = n.thread_id
    """
)
