"""Run history as files that a warehouse reads: what changed, exactly once."""

from etl.warehouse.destination import Destination, Format, destination_at, require_extra
from etl.warehouse.export import Order, export
from etl.warehouse.manifest import MANIFEST, Manifest, decode
from etl.warehouse.report import Exported
from etl.warehouse.writing import Progress, Watch

__all__ = [
    "MANIFEST",
    "Destination",
    "Exported",
    "Format",
    "Manifest",
    "Order",
    "Progress",
    "Watch",
    "decode",
    "destination_at",
    "export",
    "require_extra",
]
