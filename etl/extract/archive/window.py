"""The part of a stream that is looked at: it moves on, and grows where it must."""

from collections.abc import Iterator

from etl.extract.archive.grammar import SPACE


class Window:
    """Some bytes of a stream, and two places in them: here, and where something began.

    Not more than `largest` bytes are kept from where something began.
    """

    def __init__(self, pieces: Iterator[bytes], *, largest: int) -> None:
        self._pieces = pieces
        self._largest = largest
        self._buffer = b""
        self._at = self._began = 0
        self._bytes_before = self._lines_before = 0

    @property
    def line(self) -> int:
        """The line of what was given out last, from 1."""
        return self._lines_before + self._buffer.count(b"\n", 0, self._began) + 1

    @property
    def place(self) -> int:
        """The byte at which it begins, from 0."""
        return self._bytes_before + self._began

    @property
    def _is_full(self) -> bool:
        return len(self._buffer) - self._at >= self._largest

    def _skip(self) -> bool:
        """Pass over what separates; answer whether anything follows."""
        while True:
            self._at = SPACE.match(self._buffer, self._at).end()  # type: ignore[union-attr]
            self._began = self._at
            if self._at < len(self._buffer):
                return True
            if not self._more():
                return False

    def _more(self) -> bool:
        """Read on, at least as much as there is; answer whether anything came.

        What was gone over is dropped, so places in the buffer change: `_at` is moved.
        """
        if self._is_full:
            return False
        kept = min(self._began, self._at)
        wanted = len(self._buffer) - kept
        parts = [self._buffer[kept:]]
        came = 0
        for piece in self._pieces:
            parts.append(piece)
            came += len(piece)
            if came >= wanted:
                break
        self._lines_before += self._buffer.count(b"\n", 0, kept)
        self._bytes_before += kept
        self._buffer = b"".join(parts)
        self._at -= kept
        self._began -= kept
        return came > 0
