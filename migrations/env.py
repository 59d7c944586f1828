"""Runs migrations: one at a time over the whole database, under an advisory lock."""

import os
from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa
from alembic import context
from sqlalchemy.dialects.postgresql.base import ischema_names
from sqlalchemy.engine import Connection

from etl.load.database import opened
from etl.load.schema import SCHEMAS, is_partition
from etl.load.tables import SYNC, metadata
from etl.load.tables.columns import Xid8

LOCK = 0x72756E74696465  # "runtide"
ischema_names["xid8"] = Xid8  # which SQLAlchemy does not know


def _is_ours(name: str | None, kind: str, parents: Mapping[Any, str | None]) -> bool:
    if kind == "schema":
        return name in SCHEMAS
    return not is_partition(name if kind == "table" else parents.get("table_name"))


def _migrate(connection: Connection) -> None:
    connection.execute(sa.select(sa.func.pg_advisory_lock(LOCK)))
    try:
        connection.execute(sa.text("SET lock_timeout = '10s'"))
        connection.execute(sa.schema.CreateSchema(SYNC, if_not_exists=True))
        connection.commit()
        context.configure(
            connection=connection,
            target_metadata=metadata,
            version_table_schema=SYNC,
            include_schemas=True,
            include_name=_is_ours,
            transaction_per_migration=True,
        )
        with context.begin_transaction():
            context.run_migrations()
        connection.commit()
    finally:
        connection.rollback()
        connection.execute(sa.text("RESET lock_timeout"))
        connection.execute(sa.select(sa.func.pg_advisory_unlock(LOCK)))
        connection.commit()


given = context.config.attributes.get("connection")
if given is not None:
    _migrate(given)
else:
    with (
        opened(os.environ["RUNTIDE_DATABASE_URL"]) as engine,
        engine.connect() as connection,
    ):
        _migrate(connection)
