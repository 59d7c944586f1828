"""What each sync has before it: one row per sync and source, written once."""

import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.engine import Connection, Engine

from etl.domain.batch import Batch, SourceId
from etl.load.database import connected
from etl.load.tables import plans

SPACE = 0x706C616E  # "plan": the first half of the locks' keys; a source is the second
SECONDS_BETWEEN_TRIES = 0.2

COUNT_UP = sa.text(
    """
    UPDATE run_sync.plans p
    SET answered = p.answered + n.answered, missing = p.missing + n.missing
    FROM unnest(CAST(:source_ids AS smallint[]), CAST(:answered AS bigint[]),
                CAST(:missing AS bigint[])) AS n (source_id, answered, missing)
    WHERE p.sync_id = :sync_id AND p.source_id = n.source_id
    """
)


@contextmanager
def turn(
    engine: Engine,
    sync_id: int,
    source_id: SourceId,
    *,
    wait: Callable[[float], object] = time.sleep,
) -> Iterator[bool]:
    """Whether it is up to this process to plan a source; if so, it is alone in it.

    Whoever comes while another plans waits until that one has done so, or died. `wait`
    may raise to give up.
    """
    key = {"space": SPACE, "source_id": source_id}
    attempt = sa.text("SELECT pg_try_advisory_lock(:space, :source_id)")
    with connected(engine) as connection:
        connection.detach()  # many sources have a turn at once, and need the pool meanwhile
        while not (is_planned := _is_planned(connection, sync_id, source_id)):
            if connection.scalar(attempt, key):
                break
            connection.rollback()
            wait(SECONDS_BETWEEN_TRIES)
        connection.rollback()
        if is_planned:
            yield False
            return
        try:
            yield not _is_planned(connection, sync_id, source_id)
        finally:
            with suppress(sa.exc.SQLAlchemyError):  # a lost connection has lost its lock
                connection.rollback()
                connection.execute(
                    sa.text("SELECT pg_advisory_unlock(:space, :source_id)"), key
                )
                connection.rollback()


def _is_planned(connection: Connection, sync_id: int, source_id: SourceId) -> bool:
    mine = sa.select(plans.c.planned_at).where(
        plans.c.sync_id == sync_id, plans.c.source_id == source_id
    )
    return connection.scalar(mine) is not None


def write(
    connection: Connection,
    sync_id: int,
    source_id: SourceId,
    *,
    known: int,
    due: int,
    requests_expected: int = 0,
    factor: float | None = None,
) -> bool:
    """Write down what a sync has before it in one source.

    Answers whether it was up to us: whoever loses the connection of its turn may go on
    planning beside the next one, and the first plan stands.
    """
    statement = insert(plans).values(
        sync_id=sync_id,
        source_id=source_id,
        planned_at=sa.func.clock_timestamp(),
        factor=factor,
        threads_known=known,
        threads_due=due,
        threads_left=known - due,
        requests_expected=requests_expected,
    )
    written = statement.on_conflict_do_nothing().returning(plans.c.sync_id)
    return connection.scalar(written) is not None


def count_up(connection: Connection, sync_id: int, batch: Batch) -> None:
    """Add what a batch says of its sources: who answered, and who is not known."""
    answered = Counter(part.source_id for part in batch.increments if part.completes)
    missing = Counter(part.source_id for part in batch.unknown if not part.was_gone)
    ids = sorted({*answered, *missing})
    if ids:
        facts = {
            "sync_id": sync_id,
            "source_ids": ids,
            "answered": [answered[each] for each in ids],
            "missing": [missing[each] for each in ids],
        }
        connection.execute(COUNT_UP, facts)


def answers(engine: Engine, sync_id: int, source_id: SourceId) -> tuple[int, int]:
    """How many threads of a source have answered, and how many it does not know."""
    mine = sa.select(plans.c.answered, plans.c.missing).where(
        plans.c.sync_id == sync_id, plans.c.source_id == source_id
    )
    with connected(engine) as connection:
        row = connection.execute(mine).one_or_none()
    return (0, 0) if row is None else (row.answered, row.missing)
