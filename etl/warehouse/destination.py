"""Where an export goes: a folder or an object store, and what of it is ours."""

import re
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager
from enum import StrEnum
from importlib.util import find_spec
from pathlib import Path
from typing import Protocol
from urllib.parse import quote

from etl.domain.errors import ConfigError
from etl.warehouse.columns import TABLES
from etl.warehouse.manifest import MANIFEST
from etl.warehouse.sink import Sink

EXTRA = {
    "parquet": ("adbc_driver_postgresql", "pyarrow"),
    "jsonl": (),
    "iceberg": ("adbc_driver_postgresql", "pyarrow", "pyiceberg"),
}


class Format(StrEnum):
    """What the files of an export are."""

    PARQUET = "parquet"
    JSONL = "jsonl"
    ICEBERG = "iceberg"

    @property
    def suffix(self) -> str:
        """How its files' names end."""
        return "jsonl.gz" if self is Format.JSONL else "parquet"

    @property
    def extra(self) -> str:
        """What is installed to write it."""
        return "iceberg" if self is Format.ICEBERG else "warehouse"


class Destination(Protocol):
    """A place for files, whose errors are DestinationErrors with its name in them."""

    @property
    def shown(self) -> str:
        """Its address as a message may show it: without secrets."""

    @property
    def key(self) -> str:
        """The same for every way of writing its address."""

    def files(self) -> Mapping[str, int]:
        """The size of every file by its path, from the destination on."""

    def read(self, path: str) -> bytes | None:
        """What a file holds; None where there is none."""

    def create(self, path: str) -> AbstractContextManager[Sink]:
        """Write a new file; one that is not finished is thrown away."""

    def publish(self, paths: Iterable[str]) -> None:
        """Give files that were created their names, so that they outlive a crash."""

    def put(self, path: str, content: bytes) -> None:
        """Write a file at once: who reads it sees the old or the new."""

    def remove(self, paths: Iterable[str]) -> None:
        """Take files away, those that are gone already too."""


PARTIAL = ".partial"
"""How the name of a file ends that is being written."""

BESIDE = f".{MANIFEST}{PARTIAL}"
"""A manifest on its way: who was killed then, or had no more space, leaves it behind."""

OURS = re.compile(
    rf"({'|'.join(table.name for table in TABLES)})/source=[^/]+/month=[^/]+/"
    r"part-[0-9a-f]{16}-[0-9]{4,}\.(parquet|jsonl\.gz)"
    rf"({re.escape(PARTIAL)})?"
)
"""What an export names its files; nothing else is ever removed."""


def is_ours(path: str) -> bool:
    """Whether a path is one that an export gives its files."""
    return OURS.fullmatch(path) is not None


def folder_of(table: str, source: str, month: str) -> str:
    """Where the files of a partition stand, in Hive's way."""
    return f"{table}/source={quote(source, safe='')}/month={quote(month, safe='')}"


def refuse_foreign(paths: Iterable[str], shown: str) -> None:
    """Raise ConfigError where a destination holds files that no export has written."""
    foreign = min(
        (path for path in paths if path not in {MANIFEST, BESIDE} and not is_ours(path)),
        default="",
    )
    if foreign:
        raise ConfigError(
            f"{shown} holds files that are not of an export, such as {foreign}; export to"
            " an empty place, or to one that an export has made."
        )


def destination_at(to: str) -> Destination:
    """The destination of an address; raises ConfigError where there can be none."""
    require_place(to)
    scheme, separator, rest = to.partition("://")
    scheme = scheme.lower() if separator else ""
    if scheme in {"", "file"}:
        from etl.warehouse.local import Folder  # noqa: PLC0415

        path = re.sub("^localhost/", "/", rest) if separator else to
        return Folder(Path(path).expanduser().absolute())
    from etl.warehouse.remote import ObjectStore  # noqa: PLC0415

    return ObjectStore(to, scheme)


def require_place(to: str) -> None:
    """Raise ConfigError where an address is empty, such as one that nobody has set."""
    _, separator, rest = to.partition("://")
    if not (rest if separator else to).strip("/ ") and to != "/":
        raise ConfigError(
            f"{to!r} names no place to export to; write a folder, or a bucket such as"
            " s3://bucket/runtide."
        )


def require_extra(form: Format) -> None:
    """Raise ConfigError where what writes this format is not installed."""
    if missing := [name for name in EXTRA[form] if find_spec(name) is None]:
        raise ConfigError(
            f"An export as {form} needs {missing[0].replace('_', '-')}, which is not"
            f" installed; run `pip install 'runtide[{form.extra}]'`."
        )
