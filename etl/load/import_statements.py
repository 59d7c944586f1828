"""The SQL of an import's batch, beside that of every batch."""

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from etl.load.copying import OBSERVED, staging
from etl.load.statements import KEY, has_ended, instant, proved_by_row
from etl.load.tables import imports, runs

VALUES = [column for column in OBSERVED if column.name not in KEY]


def _staged(column: sa.Column[object]) -> sa.ColumnElement[object]:
    value = staging.c[column.name]
    return instant(value) if isinstance(column.type, sa.DateTime) else value


_same_run = sa.and_(*(runs.c[name] == _staged(runs.c[name]) for name in KEY))
_differs = sa.tuple_(*(runs.c[each.name] for each in VALUES)).is_distinct_from(
    sa.tuple_(*map(_staged, VALUES))
)
_wins = (instant(staging.c.read_at) > proved_by_row()) | has_ended(staging.c)
_count = sa.func.count()

COUNT_LEFT = sa.select(_count).select_from(staging).join(runs, _same_run).where(_differs)
"""Staged runs that still differ after the upsert: the rows are as new or newer."""

COMPARE = (
    sa.select(
        _count.filter(runs.c.run_id.is_(None)),
        _count.filter(runs.c.run_id.is_not(None), _differs, _wins),
        _count.filter(runs.c.run_id.is_not(None), _differs, ~_wins),
    )
    .select_from(staging)
    .outerjoin(runs, _same_run)
)
"""Rows that the upsert would create, change, and leave although they differ."""

NOTE_IMPORTED = sa.text(
    """
    UPDATE run_sync.threads t
    SET runs_seen = t.runs_seen + n.created,
        last_run_at = greatest(t.last_run_at, n.last_run_at)
    FROM unnest(
        CAST(:thread_ids AS text[]), CAST(:created AS bigint[]),
        CAST(:last_run_at AS timestamptz[])
    ) AS n (thread_id, created, last_run_at)
    WHERE t.source_id = :source_id AND t.thread_id = n.thread_id
        AND (n.created > 0 OR t.last_run_at IS NULL OR t.last_run_at < n.last_run_at)
    """
)

SETTLE_REJECTS = sa.text(
    """
    UPDATE run_sync.rejects q SET replayed_at = clock_timestamp()
    WHERE q.source_id = :source_id AND q.run_id = ANY(CAST(:run_ids AS text[]))
        AND q.replayed_at IS NULL
        AND EXISTS (
            SELECT FROM run_history.runs r
            WHERE r.source_id = q.source_id AND r.run_id = q.run_id
                AND q.thread_id IN (r.thread_id, '')
                AND r.changed_at > q.last_seen_at)
    """
)
"""A damaged copy of a run that was read whole at a later instant needs nobody."""

_progress = insert(imports)
_goes_on = sa.and_(
    imports.c.bytes == _progress.excluded.bytes,
    imports.c.modified_at == _progress.excluded.modified_at,
    imports.c.finished_at.is_(None),
)
PROGRESS = _progress.on_conflict_do_update(
    index_elements=["source_id", "path"],
    set_={
        "began_at": sa.case(
            (_goes_on, imports.c.began_at), else_=_progress.excluded.began_at
        ),
        "bytes": _progress.excluded.bytes,
        "modified_at": _progress.excluded.modified_at,
        "payloads": _progress.excluded.payloads,
        "finished_at": sa.case(
            (_progress.excluded.finished_at.is_(None), sa.null()),
            else_=sa.func.clock_timestamp(),
        ),
    },
)
