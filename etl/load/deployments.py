"""Names of a source's own, and the models they stand for, as the configuration has them."""

from collections.abc import Mapping

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.engine import Connection

from etl.domain.batch import SourceId
from etl.load.tables import deployments, sources


def record_deployments(
    connection: Connection, source_id: SourceId, models: Mapping[str, str]
) -> None:
    """Make a source's names what they should be, within the caller's transaction.

    Nothing is written, and nothing locked, where they are so already.
    """
    if _noted(connection, source_id) == models:
        return
    _wait_for_others(connection, source_id)
    noted = _noted(connection, source_id)
    _forget(connection, source_id, noted.keys() - models.keys())
    for name in sorted(name for name in models if noted.get(name) != models[name]):
        _note(connection, source_id, name, models[name])


def _noted(connection: Connection, source_id: SourceId) -> dict[str, str]:
    statement = sa.select(deployments.c.name, deployments.c.model).where(
        deployments.c.source_id == source_id
    )
    return {row.name: row.model for row in connection.execute(statement)}


def _wait_for_others(connection: Connection, source_id: SourceId) -> None:
    """Whoever changes names of the same source comes after us; syncs are not held up."""
    mine = sa.select(sources.c.source_id).where(sources.c.source_id == source_id)
    connection.execute(mine.with_for_update(key_share=True))


def _forget(connection: Connection, source_id: SourceId, names: set[str]) -> None:
    gone = sa.delete(deployments).where(
        deployments.c.source_id == source_id, deployments.c.name.in_(sorted(names))
    )
    connection.execute(gone)


def _note(connection: Connection, source_id: SourceId, name: str, model: str) -> None:
    statement = insert(deployments).values(source_id=source_id, name=name, model=model)
    key = [deployments.c.source_id, deployments.c.name]
    connection.execute(
        statement.on_conflict_do_update(index_elements=key, set_={"model": model})
    )
