"""`export`: the database to one destination, as files of one format."""

from datetime import UTC, datetime

from etl.config import ExportConfig, Settings
from etl.warehouse import Exported, Format, Order, Watch, destination_at, require_extra
from etl.warehouse import export as export_to
from etl.wiring.parts import ready_database


def export(
    settings: Settings, entry: ExportConfig, *, is_full: bool, watch: Watch
) -> Exported:
    """Bring the files of a destination to what the tables say now.

    Raises ConfigError before anything is read, where it cannot be done at all.
    """
    form = Format(entry.format)
    require_extra(form)
    destination = destination_at(entry.to)
    order = Order(form=form, is_full=is_full)
    with ready_database(settings) as engine:
        return export_to(engine, destination, order, at=datetime.now(UTC), watch=watch)
