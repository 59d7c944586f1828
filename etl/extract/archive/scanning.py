"""Cut a stream of JSON of any size at its objects, in memory that does not grow with it.

Lists and list answers are gone into, and so is whatever else holds objects; what comes
out are the objects themselves. How the stream is cut into pieces changes nothing.
"""

from collections.abc import Iterator
from typing import NamedTuple

import msgspec

from etl.domain.importing import Damage
from etl.extract.archive.grammar import (
    BETWEEN,
    BRACKET,
    KEY,
    NEXT_OBJECT,
    SCALAR,
    SPACE,
    WHOLE,
)
from etl.extract.archive.heads import Kind, is_box, kind_at
from etl.extract.archive.window import Window

LARGEST = 64 * 1024 * 1024
"""Bytes of one object; a run has some kilobytes."""

FARTHEST_GUESS = 64 * 1024
"""Bytes in which the end of an object is guessed before it is searched."""

LONGEST_KEY = 64
"""Bytes in which the key of another object is found."""

DEEPEST = 16
"""Lists within lists that are gone into."""

DAMAGED = "is damaged"
ENDS = "ends in the middle"

OPEN, CLOSED = b"[{", b"]}"

_decode = msgspec.json.Decoder(msgspec.Raw).decode


class _Cut(NamedTuple):
    """Where an object ends; None where it does not, and whether all of it was seen."""

    end: int | None
    is_broken: bool = False


class Scanner(Window):
    """Goes through one stream once."""

    def __init__(self, pieces: Iterator[bytes], *, largest: int = LARGEST) -> None:
        super().__init__(pieces, largest=largest)
        self._boxes: list[int] = []
        self._has_lines = False
        self._between = b""

    def elements(self) -> Iterator[bytes | Damage]:
        """Give out each object, and what else stands in lists, as its text."""
        while self._skip():
            sign = self._buffer[self._at]
            if self._boxes and sign in CLOSED:
                self._boxes.pop()
                self._at += 1
            elif self._boxes and self._boxes[-1] == OPEN[1] and not self._pass_key():
                yield self._damaged(DAMAGED)
            else:
                yield from self._value()
        if self._boxes:
            yield self._damage(ENDS)

    def _value(self) -> Iterator[bytes | Damage]:
        sign = self._buffer[self._at]
        if sign == OPEN[0] and len(self._boxes) < DEEPEST:
            self._enter()
        elif sign in OPEN:
            yield from self._object()
        elif self._boxes:
            yield from self._scalar()
        else:
            yield self._damaged("is no JSON")

    def _object(self) -> Iterator[bytes | Damage]:
        self._began = self._at
        kind = self._kind()
        if kind is Kind.BOX and len(self._boxes) < DEEPEST:
            self._enter()
            return
        cut = self._cut()
        if cut.end is None and kind is Kind.UNCLEAR and not cut.is_broken:
            self._enter()  # too large to be looked at as a whole
        elif cut.end is None:
            yield self._uncut(cut)
        elif kind is Kind.UNCLEAR and is_box(self._buffer[self._began : cut.end]):
            self._enter()
        else:
            self._at = cut.end
            yield self._buffer[self._began : cut.end]

    def _enter(self) -> None:
        self._boxes.append(self._buffer[self._at])
        self._at += 1

    def _scalar(self) -> Iterator[bytes | Damage]:
        """A text or number in a list is given out; what an object says of itself is not."""
        while True:
            found = SCALAR.match(self._buffer, self._at)
            if (found and found.end() < len(self._buffer)) or not self._more():
                break
        if found is None:
            yield self._damaged(DAMAGED)
            return
        self._at = found.end()
        if self._boxes[-1] == OPEN[0]:
            yield found.group()

    def _pass_key(self) -> bool:
        while True:
            found = KEY.match(self._buffer, self._at)
            if (found and found.end() < len(self._buffer)) or not self._more():
                break
        if found is None or found.end() == len(self._buffer):
            return False
        self._at = self._began = found.end()
        return True

    def _kind(self) -> Kind:
        if self._buffer[self._at] == OPEN[0]:
            return Kind.RECORD
        while True:
            kind = kind_at(self._buffer, self._at)
            if kind is not None or not self._more():
                return kind or Kind.RECORD

    def _cut(self) -> _Cut:
        """Find the end of what begins here."""
        guessed = self._guess()
        return self._search() if guessed is None else guessed

    def _guess(self) -> _Cut | None:
        """Cut where what stood behind the last object stands again.

        A text that is valid as a whole cannot go on: ten times as quick as a search.
        """
        if not self._between:
            return None
        end = self._buffer.find(self._between, self._at, self._at + FARTHEST_GUESS)
        if end < 0:
            return None
        try:
            _decode(self._buffer[self._at : end])
        except (msgspec.DecodeError, RecursionError):
            return None
        return _Cut(end)

    def _search(self) -> _Cut:
        if self._has_lines and not self._boxes:
            cut = self._cut_line()
            if cut is not None:
                return cut
        found = WHOLE.match(self._buffer, self._at)
        cut = _Cut(found.end()) if found else self._counted()
        return cut if cut.end is None else self._looked_after(cut.end)

    def _looked_after(self, end: int) -> _Cut:
        """Note what follows an object, and whether it had one line for itself."""
        length = end - self._at
        while self._at + length + 2 > len(self._buffer) and self._more():
            pass
        end = self._at + length
        between = BETWEEN.match(self._buffer, end)
        self._between = between.group() if between else b""
        self._has_lines = (
            not self._boxes
            and self._buffer[end : end + 2].startswith((b"\n", b"\r\n"))
            and b"\n" not in self._buffer[self._at : end]
        )
        return _Cut(end)

    def _cut_line(self) -> _Cut | None:
        """The object on this line; None where it may well go on on the next one."""
        length = self._line_length()
        if length is None:
            return _Cut(None)
        found = WHOLE.match(self._buffer, self._at, self._at + length)
        if found:
            return self._looked_after(found.end())
        return self._counted(length) if self._follows_another(length) else None

    def _line_length(self) -> int | None:
        """How long this line is, without its break; None where that is too much."""
        searched = 0
        while True:
            found = self._buffer.find(b"\n", self._at + searched)
            if found >= 0:
                return found - self._at
            searched = len(self._buffer) - self._at
            if self._is_full:
                return None
            if not self._more():
                return len(self._buffer) - self._at

    def _follows_another(self, length: int) -> bool:
        """Whether after so many bytes another object begins, or the stream ends."""
        while True:
            end = SPACE.match(self._buffer, self._at + length).end()  # type: ignore[union-attr]
            if end < len(self._buffer):
                return self._buffer[end] == OPEN[1]
            if not self._more():
                return True

    def _counted(self, length: int | None = None) -> _Cut:
        """Count brackets, for so many bytes or until the stream ends."""
        depth, offset = 0, 0
        while True:
            end = len(self._buffer) if length is None else self._at + length
            for found in BRACKET.finditer(self._buffer, self._at + offset, end):
                sign = found.group()
                if sign == b'"':
                    if length is not None or self._buffer.find(b"\n", found.start()) >= 0:
                        return _Cut(None, is_broken=True)
                    offset = found.start() - self._at
                    break  # the rest of the string is not there yet
                depth += (sign in {b"[", b"{"}) - (sign in {b"]", b"}"})
                offset = found.end() - self._at
                if depth == 0:
                    return _Cut(found.end())
            if length is not None or not self._more():
                return _Cut(None, is_broken=not self._is_full)

    # what is wrong ------------------------------------------------------------------

    def _uncut(self, cut: _Cut) -> Damage:
        if cut.is_broken:
            return self._damaged(DAMAGED)
        return self._damaged(f"holds an object of more than {self._largest:,} bytes")

    def _damaged(self, what: str) -> Damage:
        """Go on behind the damage: at the next line, or at the next likely object."""
        damage = self._damage(what)
        begins = self._next_place()
        if begins is None:
            if what == DAMAGED:
                damage = damage._replace(what=ENDS)
            self._drain()
        else:
            self._at = begins
        return damage

    def _damage(self, what: str) -> Damage:
        return Damage(what, self.line, self.place)

    def _next_place(self) -> int | None:
        """Where it is worth going on; what lies before that is not kept."""
        while True:
            if self._boxes:
                found = NEXT_OBJECT.search(self._buffer, self._at)
                place = found.end() if found else None
            else:
                place = self._buffer.find(b"\n", self._at) + 1 or None
            if place is not None:
                return place
            self._at = self._began = max(self._at, len(self._buffer) - LONGEST_KEY)
            if not self._more():
                return None

    def _drain(self) -> None:
        self._at = len(self._buffer)
        self._boxes.clear()
