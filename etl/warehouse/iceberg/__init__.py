"""Iceberg tables as a place for exports: one a table, a commit each, by PyIceberg."""

from etl.warehouse.iceberg.catalogs import (
    CatalogChoice,
    catalog_of,
    require_catalog,
    require_warehouse,
)
from etl.warehouse.iceberg.tables import IcebergTables
from etl.warehouse.iceberg.telling import shown_address

__all__ = [
    "CatalogChoice",
    "IcebergTables",
    "catalog_of",
    "require_catalog",
    "require_warehouse",
    "shown_address",
]
