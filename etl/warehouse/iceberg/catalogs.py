"""Catalogs: runtide's own, in tables of its database, or one that is configured."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy.engine import Engine

from etl.domain.errors import ConfigError
from etl.load.database import connected, opened, translated
from etl.warehouse.iceberg.telling import has_password, said, shown_address, told

if TYPE_CHECKING:
    from pyiceberg.catalog import Catalog

OWN = "runtide"
"""The name of the catalog in the database itself."""

SCHEMA = "run_iceberg"
"""Where its tables stand, beside runtide's own schemas."""


CUT = "#?"
"""Where the path of an address ends; all tables would stand in one place then."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CatalogChoice:
    """Which catalog: runtide's own, or one by name with what the settings say of it.

    `store` has what the environment tells of where files are, which the settings outdo.
    """

    name: str = OWN
    is_own: bool = True
    properties: Mapping[str, str] = field(default_factory=dict)
    store: Mapping[str, str] = field(default_factory=dict)


def require_catalog(choice: CatalogChoice) -> None:
    """Raise ConfigError where nobody has told what this catalog is."""
    from pyiceberg.catalog import list_catalogs  # noqa: PLC0415  # an extra

    if choice.is_own or choice.properties or choice.name in list_catalogs():
        return
    known = ", ".join(sorted(list_catalogs())) or "none"
    raise ConfigError(
        f"PyIceberg knows no catalog {choice.name!r} (known: {known}); describe it in"
        f" .pyiceberg.yaml or with PYICEBERG_CATALOG__{choice.name.upper()}__URI."
    )


def require_warehouse(to: str) -> None:
    """Raise ConfigError where PyIceberg would read a place as another one.

    Or where it holds a secret: the metadata of all tables would hold it, too.
    """
    shown = shown_address(to)
    if has_password(to):
        raise ConfigError(
            f"{shown!r} cannot be a warehouse of Iceberg tables with a password before it,"
            " which their metadata would tell; leave it out, and set the variables that"
            " hold credentials."
        )
    if cut := next((each for each in CUT if each in to), None):
        raise ConfigError(
            f"{shown!r} cannot be a warehouse of Iceberg tables: to an address, what"
            f" follows {cut} is not part of the path; name another place."
        )


@contextmanager
def catalog_of(
    choice: CatalogChoice, engine: Engine, warehouse: str, shown: str
) -> "Iterator[Catalog]":
    """Open a catalog and close it; raises ConfigError, DatabaseError, DestinationError."""
    if choice.is_own:
        with _own(engine, {**choice.store, "warehouse": warehouse}) as catalog:
            yield catalog
        return
    require_catalog(choice)
    catalog = _configured(choice, warehouse, shown)
    try:
        yield catalog
    finally:
        catalog.close()


def _configured(choice: CatalogChoice, warehouse: str, shown: str) -> "Catalog":
    from pyiceberg.catalog import load_catalog  # noqa: PLC0415
    from pyiceberg.exceptions import (  # noqa: PLC0415
        NoSuchPropertyException,
        NotInstalledError,
    )

    properties = {**choice.store, **choice.properties, "warehouse": warehouse}
    with told(shown, choice.name, "reached"):
        try:
            return load_catalog(choice.name, **properties)
        except sa.exc.ArgumentError as error:
            raise ConfigError(
                f"The uri of the catalog {choice.name!r} is no URL; correct it in"
                f" [[exports]] or in PYICEBERG_CATALOG__{choice.name.upper()}__URI."
            ) from error
        except (
            ImportError,
            NoSuchPropertyException,
            NotInstalledError,
            ValueError,
        ) as error:
            raise ConfigError(
                f"The catalog {choice.name!r} cannot be opened: {said(error)}; correct what"
                " [[exports]] or PyIceberg's own configuration says of it."
            ) from error


@contextmanager
def _own(engine: Engine, properties: Mapping[str, str]) -> "Iterator[Catalog]":
    """PyIceberg's SQL catalog over connections that see its schema alone."""
    from pyiceberg.catalog import MetastoreCatalog  # noqa: PLC0415
    from pyiceberg.catalog.sql import SqlCatalog  # noqa: PLC0415

    class OwnCatalog(SqlCatalog):
        """Has connections as runtide's own: the same limits, TLS and zone."""

        def __init__(self, lent: Engine) -> None:
            MetastoreCatalog.__init__(self, OWN, **properties)
            self.engine = lent
            self._init_catalog()

    _make_tables(engine)
    with opened(engine.url.render_as_string(hide_password=False)) as lent:
        sa.event.listen(lent, "connect", _look_there)
        with translated(engine.url):
            yield OwnCatalog(lent)


def _look_there(connection: Any, _: object) -> None:
    """Look into the catalog's schema only, for as long as the connection lives."""
    connection.autocommit = True
    connection.execute(f"SET search_path TO {SCHEMA}")
    connection.autocommit = False


def _make_tables(engine: Engine) -> None:
    """Make the catalog's schema and tables unless they are there; one at a time does."""
    from pyiceberg.catalog.sql import SqlCatalogBaseTable  # noqa: PLC0415

    with connected(engine) as connection:
        there = sa.select(sa.func.to_regclass(f"{SCHEMA}.iceberg_namespace_properties"))
        if connection.scalar(there) is not None:
            return
        lock = sa.func.pg_advisory_xact_lock(sa.func.hashtextextended(SCHEMA, 0))
        connection.execute(sa.select(lock))
        connection.execute(sa.text(f"CREATE SCHEMA IF NOT EXISTS {SCHEMA}"))
        connection.execute(sa.text(f"SET LOCAL search_path TO {SCHEMA}"))
        SqlCatalogBaseTable.metadata.create_all(connection)
        connection.commit()
