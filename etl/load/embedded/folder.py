"""The data directory: what is where, and whether it is ours to use."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from etl.domain.errors import DatabaseError

ELSEWHERE = "choose another data directory or set [database] url"


@dataclass(frozen=True, slots=True)
class Folder:
    """The places inside one data directory."""

    path: Path

    @property
    def cluster(self) -> Path:
        """PostgreSQL's own data directory."""
        return self.path / "cluster"

    @property
    def gate(self) -> Path:
        """Locked by whoever starts or stops the server."""
        return self.path / "gate.lock"

    @property
    def holders(self) -> Path:
        """Shared by the commands that use the server."""
        return self.path / "holders.lock"

    @property
    def alive(self) -> Path:
        """Locked as long as any process of the server lives."""
        return self.path / "server.lock"

    @property
    def keep(self) -> Path:
        """There while the server stays up between commands; holds its port."""
        return self.path / "keep"

    @property
    def log(self) -> Path:
        """Where the server writes."""
        return self.path / "log"

    @property
    def password(self) -> Path:
        """The password for connections over TCP."""
        return self.path / "password"

    def is_in_use(self) -> bool:
        """Whether a server was ever set up here."""
        with told(self.path):
            return self.gate.exists()

    def prepare(self) -> None:
        """Make the directory, for its owner only, or see that it is ours.

        One missing parent is made too, a longer missing path is not: it may
        be a disk that is not mounted.
        """
        with told(self.path):
            self._make()
            self._reject_strangers()
            if not self.gate.exists():
                self._reject_other_content()
                self.gate.touch(mode=0o600)

    def close(self) -> None:
        """Close it to everybody but its owner; for whoever holds the gate."""
        with told(self.path):
            if self.path.stat().st_uid == os.geteuid():
                self.path.chmod(0o700)

    def _make(self) -> None:
        if not self.path.is_dir():
            self.path.parent.mkdir(exist_ok=True)
            self.path.mkdir(mode=0o700, exist_ok=True)

    def _reject_strangers(self) -> None:
        owner = self.path.stat().st_uid
        if owner not in {os.geteuid(), 0}:
            message = (
                f"The data directory {self.path} belongs to user id {owner}; "
                f"start runtide as that user, or {ELSEWHERE}."
            )
            raise DatabaseError(message)

    def _reject_other_content(self) -> None:
        names = {entry.name for entry in self.path.iterdir()}
        if names and self.gate.name not in names:
            message = (
                f"The data directory {self.path} holds other files, such as "
                f"{min(names)}; name a new or an empty directory."
            )
            raise DatabaseError(message)


@contextmanager
def told(path: Path) -> Iterator[None]:
    """Turn what the operating system refuses into a sentence about `path`."""
    try:
        yield
    except OSError as error:
        is_file = isinstance(error, FileExistsError)
        reason = "it is not a directory" if is_file else error.strerror or error
        message = (
            f"The embedded PostgreSQL cannot use {error.filename or path}: {reason}; "
            f"put that right, {ELSEWHERE}."
        )
        raise DatabaseError(message) from error


def write(path: Path, text: str, *, mode: int) -> None:
    """Write a whole file that only its owner, and if so its group, can read."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW
    with os.fdopen(os.open(path, flags, mode), "w", encoding="utf-8") as file:
        os.fchmod(file.fileno(), mode)
        file.write(text)
