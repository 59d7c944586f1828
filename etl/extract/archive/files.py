"""Files of run history, wherever they lie: found, opened, gone through."""

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from etl.domain.errors import ConfigError, FileError
from etl.domain.importing import Damage, Other
from etl.domain.page import Payload
from etl.domain.run import Instant
from etl.extract.archive.packing import Unpacked
from etl.extract.archive.scanning import ENDS, Scanner
from etl.extract.archive.things import thing_of

STANDARD_INPUT = "-"


@dataclass(slots=True)
class ArchiveFile:
    """One file; `bytes_read` grows while it is gone through.

    `path` is None for the standard input, which cannot be gone on with. It stands in
    the tables, so `place` is where the file is opened: names need not be UTF-8.
    """

    name: str
    path: str | None
    size: int
    modified_at: Instant
    place: Path | None = None
    bytes_read: int = 0

    def things(self, *, after: int) -> Iterator[Payload | Other | Damage]:
        """What the file holds, behind so many objects; damage is told as it is met.

        Raises FileError where it cannot be opened, or is something else.
        """
        with _opened(self.place) as file:
            unpacked = Unpacked(file)
            scanner = Scanner(self._noting(unpacked, file))
            last: Damage | None = None
            for thing in _things(scanner, after):
                last = thing if isinstance(thing, Damage) else None
                yield thing
            if unpacked.trouble and not (last and last.what == ENDS):
                raise FileError(f"is damaged: {unpacked.trouble}")

    def _noting(self, unpacked: Unpacked, file: BinaryIO) -> Iterator[bytes]:
        for piece in unpacked.pieces():
            if self.path is None:
                self.bytes_read += len(piece)
            else:
                self.bytes_read = file.tell()
            yield piece


def _things(scanner: Scanner, after: int) -> Iterator[Payload | Other | Damage]:
    elements = scanner.elements()
    left = after
    for element in elements:
        thing = element if isinstance(element, Damage) else thing_of(element)
        if thing is None:
            thing = Damage("is damaged", scanner.line, scanner.place)
        if left and not isinstance(thing, Damage):  # as long as that is there it is told
            left -= 1
        else:
            yield thing


def files_of(paths: Sequence[str]) -> Iterator[ArchiveFile]:
    """The files that are meant, those of folders in order, hidden ones left out."""
    for path in paths:
        if path == STANDARD_INPUT:
            yield ArchiveFile("standard input", None, 0, Instant(0))
        elif Path(path).is_dir():
            yield from map(_file, _below(Path(path)))
        else:
            yield _file(Path(path))


def check_paths(paths: Sequence[str]) -> None:
    """Raise ConfigError where a path that was given does not exist, or holds no file."""
    for path in paths:
        if path == STANDARD_INPUT:
            continue
        _check_there(path)
        if Path(path).is_dir() and next(_below(Path(path)), None) is None:
            raise ConfigError(
                f"There is no file in the folder {path}; nothing was imported."
            )
    if paths.count(STANDARD_INPUT) > 1:
        raise ConfigError("Standard input can be read once; nothing was imported.")


def _check_there(path: str) -> None:
    if not path:  # else it would be the current directory
        raise ConfigError("One of the paths is empty; nothing was imported.")
    try:
        Path(path).stat()
    except (FileNotFoundError, NotADirectoryError) as error:
        raise ConfigError(f"There is no {path}; nothing was imported.") from error
    except OSError as error:
        raise ConfigError(
            f"{path} cannot be read: {error.strerror}; nothing was imported."
        ) from error


def _below(folder: Path) -> Iterator[Path]:
    """All files below a folder; a folder that cannot be read comes last, as if a file.

    Links to folders are followed, each folder once, wherever they lead.
    """
    closed: list[OSError] = []
    met: set[str] = set()
    for above, folders, names in os.walk(folder, onerror=closed.append, followlinks=True):
        real = os.path.realpath(above)
        if real in met:
            folders.clear()
            continue
        met.add(real)
        folders[:] = sorted(each for each in folders if not each.startswith("."))
        yield from (Path(above, each) for each in sorted(names) if not each.startswith("."))
    yield from (Path(each.filename) for each in closed)


def _file(path: Path) -> ArchiveFile:
    size, modified_at = 0, Instant(0)
    with suppress(OSError):  # whoever opens it says why
        about = path.stat()
        size, modified_at = about.st_size, Instant(about.st_mtime_ns // 1000)
    real = os.path.realpath(path)
    return ArchiveFile(_as_text(path), _as_text(real), size, modified_at, path)


def _as_text(path: Path | str) -> str:
    """A path whose name is not UTF-8 as text, its odd bytes written out."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def _opened(place: Path | None) -> BinaryIO:
    if place is None:
        return open(sys.stdin.fileno(), "rb", closefd=False)  # has no path
    try:
        if place.is_dir():
            next(os.scandir(place), None)
        if not place.is_file():
            place.stat()
            raise FileError("is no ordinary file")
        return place.open("rb")
    except OSError as error:
        raise FileError(f"cannot be read: {error.strerror}") from error
