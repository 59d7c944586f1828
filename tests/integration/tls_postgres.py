"""PostgreSQL over TLS on loopback: a handshake, and behind it the real server."""

import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from threading import Thread as Worker

from sqlalchemy.engine import URL

SSL_REQUEST = bytes((0, 0, 0, 8, 4, 210, 22, 47))
"""What libpq sends first: eight bytes long, and 80877103 for a version."""

PIECE = 65_536


@contextmanager
def serving_tls(server_url: URL, tls: ssl.SSLContext | None) -> Iterator[int]:
    """Answer on a port of loopback; without a context the server offers no TLS."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        worker = Worker(target=_accept, args=(listener, server_url, tls), daemon=True)
        worker.start()
        try:
            yield listener.getsockname()[1]
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            worker.join()


def _accept(listener: socket.socket, server_url: URL, tls: ssl.SSLContext | None) -> None:
    with suppress(OSError):
        while True:
            client, _ = listener.accept()
            Worker(target=_serve, args=(client, server_url, tls), daemon=True).start()


def _serve(client: socket.socket, server_url: URL, tls: ssl.SSLContext | None) -> None:
    """Speak TLS with one client; what it says goes to the real server."""
    with suppress(OSError), client:
        if client.recv(len(SSL_REQUEST), socket.MSG_WAITALL) != SSL_REQUEST:
            return
        client.sendall(b"N" if tls is None else b"S")
        if tls is None:
            return
        with (
            tls.wrap_socket(client, server_side=True) as inner,
            _connected(server_url) as server,
        ):
            back = Worker(target=pump, args=(server, inner), daemon=True)
            back.start()
            pump(inner, server)
            back.join()


def _connected(url: URL) -> socket.socket:
    directory = str(url.query.get("host", ""))
    if directory.startswith("/"):
        server = socket.socket(socket.AF_UNIX)
        server.connect(f"{directory}/.s.PGSQL.{url.query.get('port', 5432)}")
        return server
    return socket.create_connection((url.host, url.port or 5432))


def pump(source: socket.socket, target: socket.socket) -> None:
    """Hand on what one side says, until it has no more to say."""
    with suppress(OSError):
        while piece := source.recv(PIECE):
            target.sendall(piece)
    with suppress(OSError):
        target.shutdown(socket.SHUT_WR)
