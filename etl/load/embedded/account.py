"""Whom the server's processes belong to, and their way to its files.

An ordinary user's server is his own. PostgreSQL refuses to be root, so root's
server belongs to a system user of its own in root's group; directories that
are closed to it are opened to root's group, never to anybody else.
"""

import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from etl.domain.errors import DatabaseError
from etl.load.embedded.locks import alone

if sys.platform != "win32":
    import pwd

SYSTEM_USER = "runtide-postgres"
SYSTEM_PATH = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
ROOT = 0

TURN = Path("/run/runtide-postgres.lock")
"""Held while the system user is added; only root may open it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """The user of the server's processes."""

    uid: int
    name: str

    @property
    def is_separate(self) -> bool:
        """Whether that is somebody else than the user of this process."""
        return self.uid != os.geteuid()

    def own(self, path: Path) -> None:
        """Hand a file or directory that was just made to the server's user."""
        if self.is_separate:
            os.chown(path, self.uid, ROOT, follow_symlinks=False)

    def open_way(self, path: Path) -> None:
        """Let the server's user pass through a directory and its parents."""
        if self.is_separate:
            for directory in (path, *path.parents):
                self._open(directory, 0o1)

    def open_content(self, roots: Iterable[Path]) -> None:
        """Let the server's user read programs and libraries."""
        if not self.is_separate:
            return
        for root in roots:
            self.open_way(root)
            for path in (root, *root.rglob("*")):
                self._open(path, 0o5 if _is_executable(path) else 0o4)

    def _open(self, path: Path, wanted: int) -> None:
        found = path.stat()
        if self._allowed(found) & wanted == wanted:
            return
        if (found.st_uid, found.st_gid) != (ROOT, ROOT):
            message = (
                f"{path} is closed to {self.name}, as whom root starts the embedded "
                "PostgreSQL; open it, start runtide as an ordinary user, choose "
                "another data directory or set [database] url."
            )
            raise DatabaseError(message)
        path.chmod(stat.S_IMODE(found.st_mode) | wanted << 3)

    def _allowed(self, found: os.stat_result) -> int:
        if found.st_uid == self.uid:
            return found.st_mode >> 6 & 0o7
        if found.st_gid == ROOT:
            return found.st_mode >> 3 & 0o7
        return found.st_mode & 0o7


def _is_executable(path: Path) -> bool:
    return bool(path.stat().st_mode & 0o100)


def account() -> Account:
    """The user the server belongs to: the caller, or root's stand-in."""
    uid = os.geteuid()
    if uid == ROOT:
        return _stand_in()
    try:
        return Account(uid=uid, name=pwd.getpwuid(uid).pw_name)
    except KeyError:
        message = (
            f"The embedded PostgreSQL needs a user with a name, and user id {uid} "
            "has none on this machine; add one to /etc/passwd or set [database] url."
        )
        raise DatabaseError(message) from None


def _stand_in() -> Account:
    complaint = "" if _is_known() else _add_in_turn()
    try:
        entry = pwd.getpwnam(SYSTEM_USER)
    except KeyError:
        message = (
            f"Root cannot start the embedded PostgreSQL, as the system user "
            f"{SYSTEM_USER} cannot be added ({complaint}); start runtide as an "
            "ordinary user or set [database] url."
        )
        raise DatabaseError(message) from None
    return Account(uid=entry.pw_uid, name=entry.pw_name)


def _is_known() -> bool:
    try:
        pwd.getpwnam(SYSTEM_USER)
    except KeyError:
        return False
    return True


def _add_in_turn() -> str:
    """Add the system user, unless another process has; answers with what went wrong.

    Of two that add a user at once, useradd lets the later one replace the earlier, whose
    files then belong to nobody.
    """
    try:
        with alone(TURN):
            return "" if _is_known() else _add_system_user()
    except OSError as error:
        return f"{TURN}: {error.strerror}"


def _add_system_user() -> str:
    program = shutil.which("useradd", path=SYSTEM_PATH)
    if program is None:
        return "there is no useradd here"
    options = ("--system", "--no-create-home", "--shell", "/usr/sbin/nologin")
    added = subprocess.run(  # noqa: S603 - the arguments are constants
        [program, *options, SYSTEM_USER], capture_output=True, text=True, check=False
    )
    return added.stderr.strip()
