"""What is asked of an export: a format, and whether everything is written anew."""

from dataclasses import dataclass

from etl.warehouse.columns import RUNS, TABLES, Table
from etl.warehouse.destination import Format

FILE_BYTES = 128 << 20
"""A file that is so long is ended, and another one begun."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What is asked for: a format, and whether everything is written anew."""

    form: Format
    is_full: bool = False
    file_bytes: int = FILE_BYTES

    @property
    def tables(self) -> tuple[Table, ...]:
        """The tables of the format: what was a run's object is in its line."""
        return (RUNS,) if self.form is Format.JSONL else TABLES
