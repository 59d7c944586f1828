"""Where a server listens: the URLs for clients, and whether anybody answers."""

import errno
import os
import socket
from dataclasses import dataclass
from urllib.parse import quote

from etl.domain.errors import DatabaseError
from etl.load.embedded.cluster import DATABASE, SUPERUSER

LOOPBACK = "127.0.0.1"
UNUSED_PORT = 5432  # a socket's file is named for a port, even without TCP


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """Where one server listens."""

    socket_dir: str
    port: int
    is_on_tcp: bool

    @property
    def url(self) -> str:
        """For libpq and SQLAlchemy, over the socket."""
        host = quote(os.fsencode(self.socket_dir))
        return f"postgresql://{SUPERUSER}@/{DATABASE}?host={host}&port={self.port}"

    def tcp_url(self, password: str) -> str:
        """The same over TCP."""
        place = f"{LOOPBACK}:{self.port}"
        return f"postgresql://{SUPERUSER}:{password}@{place}/{DATABASE}"

    def answers(self) -> bool:
        """Whether somebody listens on the socket."""
        with socket.socket(socket.AF_UNIX) as caller:
            try:
                caller.connect(f"{self.socket_dir}/.s.PGSQL.{self.port}")
            except OSError:
                return False
        return True


def listening(port: int | None) -> dict[str, str]:
    """The settings for a server on the socket alone, or on loopback too."""
    if port is None:
        return {"listen_addresses": "", "port": str(UNUSED_PORT)}
    return {"listen_addresses": LOOPBACK, "port": str(port)}


def reject_busy_port(port: int) -> None:
    """Refuse a port that this process could not listen on now."""
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((LOOPBACK, port))
        except (OSError, OverflowError) as error:
            message = (
                f"PostgreSQL cannot listen on {LOOPBACK} port {port} "
                f"({_reason(error)}); run `runtide db stop`, then "
                "`runtide db start --port` with another one."
            )
            raise DatabaseError(message) from error


def _reason(error: OSError | OverflowError) -> str:
    if isinstance(error, OverflowError):
        return "ports go from 1 to 65535"
    if error.errno == errno.EADDRINUSE:
        return "another program listens there"
    return str(error.strerror)
