"""The bytes of a file, unpacked where they are packed; what it begins with decides."""

import codecs
import gzip
import io
import re
import sys
import zlib
from collections.abc import Iterator
from typing import Any, BinaryIO

from etl.domain.errors import FileError

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

PIECE = 1024 * 1024
GZIP, ZSTD = b"\x1f\x8b", re.compile(rb"\x28\xb5\x2f\xfd|[\x50-\x5f]\x2a\x4d\x18")

FOREIGN = {
    rb"%PDF-": "a PDF document",
    rb"SQLite format 3\0": "an SQLite database",
    rb"PAR1": "a Parquet file",
    rb"PK\x03\x04": "a zip archive, which is to be unpacked first",
    rb"BZh[1-9]": "packed with bzip2, which is to be unpacked first",
    rb"\xfd7zXZ\0": "packed with xz, which is to be unpacked first",
    rb"(?s:.{257})ustar": "a tar archive, which is to be unpacked first",
    rb"\x89PNG|GIF8|\xff\xd8\xff": "a picture",
    rb"\xff\xfe|\xfe\xff|\0*[\[{]\0": "text in UTF-16 or UTF-32; write it as UTF-8",
}
"""How files begin that are something else."""

DAMAGE = (EOFError, zlib.error, gzip.BadGzipFile, zstd.ZstdError)


class Unpacked:
    """The content of an open file, in pieces; `trouble` is why it ended too soon."""

    def __init__(self, file: BinaryIO) -> None:
        self.trouble: str | None = None
        start = _peek(file)
        self._read = _opened(file, start)

    def pieces(self) -> Iterator[bytes]:
        """Read on and on; raises FileError where the content is surely no JSON."""
        first = self._gathered()
        if first.startswith(codecs.BOM_UTF8):
            first = first[len(codecs.BOM_UTF8) :]
        self._check(first)
        piece = first
        while piece:
            yield piece
            piece = self._gathered()

    def _gathered(self) -> bytes:
        """A piece of some size; damage is noted, and what came before it counts."""
        parts, size = [], 0
        while size < PIECE and self.trouble is None:
            try:
                part = self._read(PIECE)
            except DAMAGE:
                self.trouble = "its packed content is damaged, or ends too soon"
                break
            except OSError as error:
                self.trouble = f"it cannot be read on: {error.strerror or error}"
                break
            if not part:
                break
            parts.append(part)
            size += len(part)
        return b"".join(parts)

    def _check(self, first: bytes) -> None:
        for start, what in FOREIGN.items():
            if re.match(start, first):
                raise FileError(f"is {what}")
        text = first.lstrip(b" \t\r\n,\x1e")
        if not text and self.trouble is None:
            raise FileError("is empty")
        if text and text[:1] not in {b"{", b"["}:
            # what it does begin with may be a password: sentences are kept
            raise FileError("holds no JSON, which begins with { or [")


def _peek(file: BinaryIO) -> bytes:
    """The first bytes, which stay where they are."""
    if isinstance(file, io.BufferedReader):
        return file.peek(4)[:4]
    start = file.read(4)
    file.seek(0)
    return start


def _opened(file: BinaryIO, start: bytes) -> Any:
    """What reads some bytes of the content, however the file is packed."""
    if start.startswith(GZIP):
        return gzip.GzipFile(fileobj=file).read1
    if ZSTD.match(start):
        return zstd.ZstdFile(file).read1
    return file.read
