"""A folder of this machine as a destination."""

import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from errno import ENOTDIR
from pathlib import Path
from typing import BinaryIO

from etl.domain.errors import DestinationError
from etl.warehouse.destination import PARTIAL
from etl.warehouse.sink import Sink


@dataclass(frozen=True)
class Folder:
    """Files in a folder, which is made when it is first written to.

    A file bears `.partial` until it is published; what was published is on the disk.
    """

    path: Path

    @property
    def shown(self) -> str:
        return str(self.path)

    @property
    def key(self) -> str:
        """The folder behind all links."""
        return os.path.realpath(self.path)

    def files(self) -> Mapping[str, int]:
        """The size of every file by its path below the folder."""
        with self._told("read"):
            if not self.path.exists():
                return {}
            if not self.path.is_dir():
                raise NotADirectoryError(ENOTDIR, os.strerror(ENOTDIR))
            return dict(self._walked())

    def read(self, path: str) -> bytes | None:
        """What a file holds; None where there is none."""
        with self._told("read"), suppress(FileNotFoundError, NotADirectoryError):
            return (self.path / path).read_bytes()
        return None

    @contextmanager
    def create(self, path: str) -> Iterator[Sink]:
        """Write a new file, on the disk when it ends."""
        target = self.path / (path + PARTIAL)
        with self._told():
            target.parent.mkdir(parents=True, exist_ok=True)
            file = target.open("xb")
        try:
            yield Sink(file, self._told)
            with self._told():
                _sync(file)
                file.close()
        except BaseException:
            with suppress(OSError):
                file.close()  # which may want to write once more
            with suppress(OSError):
                target.unlink()
            raise

    def publish(self, paths: Iterable[str]) -> None:
        """Give files their names, all within a moment."""
        published = list(paths)
        with self._told():
            for path in published:
                (self.path / (path + PARTIAL)).rename(self.path / path)
            _sync_folders({(self.path / path).parent for path in published}, self.path)

    def put(self, path: str, content: bytes) -> None:
        """Write beside the file, then take its place."""
        target = self.path / path
        beside = target.with_name(f".{target.name}{PARTIAL}")
        with self._told():
            target.parent.mkdir(parents=True, exist_ok=True)
            try:
                with beside.open("wb") as file:
                    file.write(content)
                    _sync(file)
                beside.replace(target)
            except BaseException:
                with suppress(OSError):
                    beside.unlink()
                raise
            _sync_folders({target.parent}, self.path)

    def remove(self, paths: Iterable[str]) -> None:
        """Take files away, and the folders that are empty without them."""
        for path in paths:
            target = self.path / path
            with self._told("cleared"):
                target.unlink(missing_ok=True)
            for folder in target.relative_to(self.path).parents[:-1]:
                with suppress(OSError):  # it is not empty
                    (self.path / folder).rmdir()

    def _walked(self) -> Iterator[tuple[str, int]]:
        for folder, _, names in os.walk(self.path, onerror=_refuse):
            for name in names:
                found = Path(folder) / name
                with suppress(FileNotFoundError):
                    size = found.lstat().st_size
                    yield found.relative_to(self.path).as_posix(), size

    @contextmanager
    def _told(self, done: str = "written") -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise DestinationError(
                f"{self.path} cannot be {done}: {error.strerror or error}; what was"
                " exported before still stands."
            ) from error


def _refuse(error: OSError) -> None:
    raise error


def _sync(file: BinaryIO) -> None:
    file.flush()
    os.fsync(file.fileno())


def _sync_folders(folders: set[Path], root: Path) -> None:
    """Let the names in folders, and those of the folders above, outlive a crash."""
    above = {up for each in folders for up in each.parents if up.is_relative_to(root)}
    for folder in folders | above:
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
