"""What the tables are written with: metadata, and a comment on every column."""

from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    DateTime,
    Identity,
    MetaData,
    text,
)
from sqlalchemy.types import UserDefinedType

HISTORY, SYNC, ANALYTICS = "run_history", "run_sync", "run_analytics"

metadata = MetaData(
    naming_convention={
        "pk": "%(table_name)s_pkey",
        "uq": "%(table_name)s_%(column_0_N_name)s_key",
        "ix": "%(table_name)s_%(column_0_N_name)s_idx",
        "fk": "%(table_name)s_%(column_0_N_name)s_fkey",
    }
)


class Xid8(UserDefinedType[str]):
    """A 64-bit transaction id."""

    cache_ok = True

    def get_col_spec(self, **_: Any) -> str:
        """Answer the type's name in SQL."""
        return "xid8"


def column(name: str, kind: Any, comment: str, **options: Any) -> Column[Any]:
    """A column with its comment."""
    return Column(name, kind, comment=comment, **options)


def instant(name: str, comment: str, **options: Any) -> Column[Any]:
    """A timestamptz."""
    return column(name, DateTime(timezone=True), comment, **options)


def count(name: str, comment: str) -> Column[Any]:
    """A bigint that starts at 0."""
    return column(name, BigInteger, comment, nullable=False, server_default=text("0"))


def identity(name: str, kind: Any, comment: str) -> Column[Any]:
    """A key that the database counts up."""
    return Column(name, kind, Identity(), primary_key=True, comment=comment)
