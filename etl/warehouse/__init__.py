"""Run history as files that a warehouse reads: what changed, exactly once."""

from etl.warehouse.destination import (
    Destination,
    Format,
    destination_at,
    require_extra,
    require_place,
)
from etl.warehouse.export import export
from etl.warehouse.files import Files
from etl.warehouse.manifest import MANIFEST, Manifest, decode
from etl.warehouse.order import Order
from etl.warehouse.place import Place
from etl.warehouse.report import Exported
from etl.warehouse.writing import Progress, Watch

__all__ = [
    "MANIFEST",
    "Destination",
    "Exported",
    "Files",
    "Format",
    "Manifest",
    "Order",
    "Place",
    "Progress",
    "Watch",
    "decode",
    "destination_at",
    "export",
    "require_extra",
    "require_place",
]
