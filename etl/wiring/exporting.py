"""`export`: the database to one place, in one format."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import sqlalchemy as sa
from sqlalchemy.engine import Engine

from etl.config import ExportConfig, Settings
from etl.load.database import connected
from etl.warehouse import (
    Exported,
    Files,
    Format,
    Order,
    Place,
    Watch,
    destination_at,
    require_extra,
    require_place,
)
from etl.warehouse import export as export_to
from etl.wiring.parts import ready_database

if TYPE_CHECKING:
    from etl.warehouse.iceberg import CatalogChoice

STORE = {
    "s3.endpoint": ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"),
    "s3.region": ("AWS_REGION", "AWS_DEFAULT_REGION"),
}
"""Properties of a store, and the variables that tell them."""

LAST_SYNC = sa.text("SELECT max(finished_at) FROM run_analytics.sync_health")
"""Which whoever may read for a report may read, too."""


def export(
    settings: Settings, entry: ExportConfig, *, is_full: bool, watch: Watch
) -> Exported:
    """Bring what stands at a place to what the tables say now.

    Raises ConfigError before anything is read, where it cannot be done at all.
    """
    check_export(entry)
    order = Order(form=Format(entry.format), is_full=is_full)
    with ready_database(settings) as engine, _place_of(settings, entry, engine) as place:
        return export_to(engine, place, order, at=datetime.now(UTC), watch=watch)


def check_export(entry: ExportConfig) -> None:
    """Raise ConfigError where a package for it is missing, or its place cannot be one."""
    form = Format(entry.format)
    require_extra(form)
    if form is not Format.ICEBERG:
        destination_at(entry.to)
        return
    from etl.warehouse.iceberg import (  # noqa: PLC0415
        require_catalog,
        require_warehouse,
    )

    require_place(entry.to)
    require_warehouse(entry.to)
    require_catalog(_choice(entry, {}))


@contextmanager
def _place_of(settings: Settings, entry: ExportConfig, engine: Engine) -> Iterator[Place]:
    """The place of an entry, closed again where it is a catalog."""
    if Format(entry.format) is not Format.ICEBERG:
        yield Files(destination_at(entry.to))
        return
    from etl.warehouse.iceberg import (  # noqa: PLC0415
        IcebergTables,
        catalog_of,
        shown_address,
    )

    shown = shown_address(entry.to)
    warehouse = _warehouse(entry)
    choice = _choice(entry, _store_of(settings.environment))
    with catalog_of(choice, engine, warehouse, shown) as catalog:
        yield IcebergTables(catalog, entry.namespace, warehouse, shown)


def _choice(entry: ExportConfig, store: Mapping[str, str]) -> "CatalogChoice":
    from etl.warehouse.iceberg import CatalogChoice  # noqa: PLC0415

    if entry.catalog_name is None:
        return CatalogChoice(store=store)
    return CatalogChoice(
        name=entry.catalog_name,
        is_own=False,
        properties=entry.catalog_properties,
        store=store,
    )


def _store_of(environment: Mapping[str, str]) -> dict[str, str]:
    """What AWS's own variables tell of a store: PyIceberg's driver does not look there."""
    told = {
        name: next(filter(None, map(environment.get, variables)), None)
        for name, variables in STORE.items()
    }
    return {name: value for name, value in told.items() if value}


def _warehouse(entry: ExportConfig) -> str:
    """An address as catalogs have it: a folder of this machine is a URL, too."""
    if "://" in entry.to or entry.catalog is not None:
        return entry.to
    return f"file://{Path(entry.to).expanduser().absolute()}"


def last_sync_at(settings: Settings) -> datetime | None:
    """When a sync ended last, whoever made it; raises DatabaseError."""
    with ready_database(settings) as engine, connected(engine) as connection:
        ended: datetime | None = connection.scalar(LAST_SYNC)
    return ended
