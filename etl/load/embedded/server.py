"""The embedded server as commands see it: whoever needs it holds it.

The command that needs the server starts it; the last one to leave stops it,
unless it is kept. A command killed with -9 leaves without a word: its lock is
gone, and the end of the next command stops the server.
"""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from etl.domain.errors import DatabaseError
from etl.load.embedded.address import Address
from etl.load.embedded.folder import Folder, told, write
from etl.load.embedded.locks import alone, is_alone, open_lock, opened, share
from etl.load.embedded.postmaster import Postmaster


class EmbeddedPostgres:
    """The PostgreSQL in one data directory, whose path is absolute.

    Every method raises DatabaseError, a sentence for a person, when the server
    cannot be used.
    """

    def __init__(self, data_dir: Path) -> None:
        if sys.platform == "win32":
            message = "There is no embedded PostgreSQL for Windows; set [database] url."
            raise DatabaseError(message)
        self._folder = Folder(data_dir.resolve())
        self._postmaster = Postmaster(self._folder)

    @contextmanager
    def hold(self) -> Iterator[str]:
        """Have the server up inside the block; gives the database's URL."""
        self._folder.prepare()
        with told(self._folder.path):
            holder = open_lock(self._folder.holders)
        try:
            with self._gate():
                share(holder)
                address = self._postmaster.start(self._kept_port())
            yield address.url
        finally:
            self._leave(holder)

    def start(self, *, port: int | None = None) -> None:
        """Have the server up until `stop`, whoever comes and goes.

        With a port it listens on 127.0.0.1 too, for clients with the password;
        without one, what a running server listens on stays as it is.
        """
        self._folder.prepare()
        with self._gate():
            address = self._postmaster.address()
            if address and port not in {None, _tcp_port(address)}:
                self._reject_holders("listen on another port")
                self._postmaster.stop()
            wanted = self._kept_port() if port is None else port
            address = self._postmaster.start(wanted)
            kept = _tcp_port(address)
            with told(self._folder.path):
                write(self._folder.keep, f"{kept or ''}\n", mode=0o600)

    def stop(self) -> None:
        """Keep the server up no longer: stop it, unless a command holds it.

        Then it is an error, and the server stops when that command ends.
        """
        if not self._folder.is_in_use():
            return
        with self._gate():
            self._forget()
            self._reject_holders("stop before that ends")
            self._postmaster.stop()

    def stop_now(self) -> None:
        """Stop the server, whoever holds it."""
        if not self._folder.is_in_use():
            return
        with self._gate():
            self._forget()
            self._postmaster.stop()

    def running(self) -> bool:
        """Whether the server is up and ready."""
        return self._postmaster.address() is not None

    def tcp_url(self) -> str:
        """The database's URL over TCP, with the password, while it is up."""
        address = self._postmaster.address()
        if address is None or not address.is_on_tcp:
            message = (
                f"The embedded PostgreSQL in {self._folder.path} does not listen on a "
                "port; run `runtide db start --port 5433`."
            )
            raise DatabaseError(message)
        with told(self._folder.path):
            return address.tcp_url(self._folder.password.read_text().strip())

    @contextmanager
    def _gate(self) -> Iterator[None]:
        """Be the only one who starts or stops the server."""
        with told(self._folder.path), alone(self._folder.gate):
            yield

    def _leave(self, holder: int) -> None:
        try:
            with self._gate():
                if is_alone(holder) and not self._folder.keep.exists():
                    self._postmaster.stop()
        finally:
            os.close(holder)

    def _reject_holders(self, wish: str) -> None:
        with opened(self._folder.holders) as holders:
            if is_alone(holders):
                return
        message = (
            f"The embedded PostgreSQL in {self._folder.path} is in use by another "
            f"command and cannot {wish}; wait for that command, or run "
            "`runtide db stop --force`."
        )
        raise DatabaseError(message)

    def _forget(self) -> None:
        self._folder.keep.unlink(missing_ok=True)

    def _kept_port(self) -> int | None:
        try:
            return int(self._folder.keep.read_text())
        except (FileNotFoundError, ValueError):
            return None


def _tcp_port(address: Address) -> int | None:
    return address.port if address.is_on_tcp else None
