"""A file that is being written: counted and digested on its way."""

import hashlib
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, BinaryIO


class Sink:
    """Takes bytes, in order; knows how many they are, and their digest."""

    def __init__(
        self, file: BinaryIO, told: Callable[[], AbstractContextManager[None]]
    ) -> None:
        """`told` turns what goes wrong with the file into a sentence."""
        self._file = file
        self._told = told
        self._digest = hashlib.sha256()
        self.bytes = 0
        self.closed = False

    def write(self, content: Any) -> int:
        """Write some bytes; raises DestinationError."""
        with memoryview(content) as view:
            self._digest.update(view)
            with self._told():
                self._file.write(view)
            self.bytes += view.nbytes
            return view.nbytes

    def tell(self) -> int:
        """How many bytes were written."""
        return self.bytes

    def flush(self) -> None:
        """Do nothing: whoever opened the file ends it."""

    def close(self) -> None:
        """Do nothing, likewise."""

    @property
    def sha256(self) -> str:
        """The digest of everything so far."""
        return self._digest.hexdigest()

    def readable(self) -> bool:
        """Nothing is read here."""
        return False

    def writable(self) -> bool:
        """It takes bytes."""
        return True

    def seekable(self) -> bool:
        """Bytes come in order."""
        return False
