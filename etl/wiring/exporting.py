"""`export`: the database to one destination, as files of one format."""

from datetime import UTC, datetime

import sqlalchemy as sa

from etl.config import ExportConfig, Settings
from etl.load.database import connected
from etl.warehouse import Exported, Format, Order, Watch, destination_at, require_extra
from etl.warehouse import export as export_to
from etl.wiring.parts import ready_database

LAST_SYNC = sa.text("SELECT max(finished_at) FROM run_analytics.sync_health")
"""Which whoever may read for a report may read, too."""


def export(
    settings: Settings, entry: ExportConfig, *, is_full: bool, watch: Watch
) -> Exported:
    """Bring the files of a destination to what the tables say now.

    Raises ConfigError before anything is read, where it cannot be done at all.
    """
    check_export(entry)
    destination = destination_at(entry.to)
    order = Order(form=Format(entry.format), is_full=is_full)
    with ready_database(settings) as engine:
        return export_to(engine, destination, order, at=datetime.now(UTC), watch=watch)


def check_export(entry: ExportConfig) -> None:
    """Raise ConfigError where a package for it is missing, or its place cannot be one."""
    require_extra(Format(entry.format))
    destination_at(entry.to)


def last_sync_at(settings: Settings) -> datetime | None:
    """When a sync ended last, whoever made it; raises DatabaseError."""
    with ready_database(settings) as engine, connected(engine) as connection:
        ended: datetime | None = connection.scalar(LAST_SYNC)
    return ended
