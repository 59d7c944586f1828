"""How far the discovery of each source has come."""

from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.engine import Connection, Engine

from etl.domain.batch import SourceId
from etl.domain.discovery import Position
from etl.load.database import connected
from etl.load.tables import discoveries


@dataclass(frozen=True, slots=True, kw_only=True)
class Reached:
    """Where a discovery goes on; `is_stale` asks for everything once more."""

    position: Position | None
    is_stale: bool


def reached(
    engine: Engine, source_id: SourceId, question: UUID, *, whole_every: timedelta
) -> Reached | None:
    """How far this question has come; None where it was never answered as a whole."""
    stale = discoveries.c.whole_at <= sa.func.now() - whole_every
    statement = sa.select(discoveries.c.position, stale.label("is_stale")).where(
        discoveries.c.source_id == source_id, discoveries.c.question == question
    )
    with connected(engine) as connection:
        row = connection.execute(statement).one_or_none()
    if row is None:
        return None
    return Reached(position=row.position, is_stale=row.is_stale)


def note_whole(
    engine: Engine, source_id: SourceId, question: UUID, position: Position | None
) -> None:
    """Note that a question was answered from its start to its end."""
    facts = {
        "question": question,
        "position": position,
        "discovered_at": sa.func.clock_timestamp(),
        "whole_at": sa.func.clock_timestamp(),
    }
    statement = insert(discoveries).values(source_id=source_id, **facts)
    upsert = statement.on_conflict_do_update(index_elements=["source_id"], set_=facts)
    with connected(engine) as connection, connection.begin():
        connection.execute(upsert)


def note_on(engine: Engine, source_id: SourceId, position: Position | None) -> None:
    """Note that what came after the last position is answered too."""
    statement = sa.update(discoveries).where(discoveries.c.source_id == source_id)
    facts = {"position": position, "discovered_at": sa.func.clock_timestamp()}
    with connected(engine) as connection, connection.begin():
        connection.execute(statement.values(facts))


def note_hints(engine: Engine, source_id: SourceId, *, told: bool) -> None:
    """Note whether the last answer told when threads were active."""
    mine = discoveries.c.source_id == source_id
    statement = sa.update(discoveries).where(mine, discoveries.c.hints != told)
    with connected(engine) as connection, connection.begin():
        connection.execute(statement.values(hints=told))


def are_hints_fresh(
    connection: Connection, source_id: SourceId, *, within: timedelta
) -> bool:
    """Whether a source's discovery tells when threads were active, and did so lately."""
    lately = sa.func.clock_timestamp() - within
    statement = sa.select(discoveries.c.hints).where(
        discoveries.c.source_id == source_id, discoveries.c.discovered_at >= lately
    )
    return connection.scalar(statement) or False
