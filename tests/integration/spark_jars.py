"""Iceberg's connector for Spark, from a package of PyPI.

Its jar there lacks Jackson, which Maven's holds under a name of its own. Spark brings the
same classes: they are copied under that name.
"""

import struct
import zipfile
from collections.abc import Iterator
from pathlib import Path

CONNECTOR = "snowpark_connect_deps_iceberg/jars/iceberg-spark-runtime-3.5_2.12-*.jar"
JACKSON = ("jackson-annotations", "jackson-core", "jackson-databind")
OLD, NEW = b"com/fasterxml/", b"org/apache/iceberg/shaded/com/fasterxml/"

TEXT = 1
SIZES = dict.fromkeys((7, 8, 16, 19, 20), 2) | {15: 3} | dict.fromkeys((5, 6), 8)
"""How long the constants of a class file are behind their tags; the others are 4 long."""

TWO_PLACES = (5, 6)
"""The tags of constants that count as two."""


def connector(packages: Path, folder: Path) -> list[Path]:
    """The jars of the connector; `packages` is where pyspark and it are installed."""
    [jar] = packages.glob(CONNECTOR)
    renamed = folder / "jackson.jar"
    with zipfile.ZipFile(renamed, "w") as target:
        for name, content in _classes(packages / "pyspark/jars"):
            target.writestr(name.replace(OLD.decode(), NEW.decode()), _renamed(content))
    return [jar, renamed]


def _classes(jars: Path) -> Iterator[tuple[str, bytes]]:
    for each in JACKSON:
        [path] = jars.glob(f"{each}-2.*.jar")
        with zipfile.ZipFile(path) as source:
            for name in source.namelist():
                if name.startswith(OLD.decode()) and name.endswith(".class"):
                    yield name, source.read(name)


def _renamed(content: bytes) -> bytes:
    """A class that calls itself, and what it uses, by the new name."""
    head, place = content[:10], 10
    (left,) = struct.unpack(">H", content[8:10])
    pool = bytearray()
    while left > 1:
        tag = content[place]
        size = SIZES.get(tag, 4)
        if tag == TEXT:
            (size,) = struct.unpack(">H", content[place + 1 : place + 3])
            text = _retold(content[place + 3 : place + 3 + size])
            pool += struct.pack(">BH", tag, len(text)) + text
            size += 2
        else:
            pool += content[place : place + 1 + size]
        place += 1 + size
        left -= 2 if tag in TWO_PLACES else 1
    return head + bytes(pool) + content[place:]


def _retold(text: bytes) -> bytes:
    old, new = (each.replace(b"/", b".") for each in (OLD, NEW))
    return text.replace(OLD, NEW).replace(old, new)
