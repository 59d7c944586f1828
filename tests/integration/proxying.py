"""A proxy on loopback that opens tunnels to one place, whatever it is asked for."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from threading import Thread as Worker

from tests.integration.tls_postgres import pump

END = b"\r\n\r\n"
LONGEST_HEAD = 65_536


class Proxy:
    """Answers CONNECT; remembers what it was asked for."""

    def __init__(self, target_port: int) -> None:
        self.asked: list[str] = []
        self._target_port = target_port

    @contextmanager
    def listening(self) -> Iterator[str]:
        """Serve until the end; lends the proxy's address."""
        with socket.create_server(("127.0.0.1", 0)) as listener:
            worker = Worker(target=self._accept, args=(listener,), daemon=True)
            worker.start()
            try:
                yield f"http://127.0.0.1:{listener.getsockname()[1]}"
            finally:
                listener.shutdown(socket.SHUT_RDWR)
                worker.join()

    def _accept(self, listener: socket.socket) -> None:
        with suppress(OSError):
            while True:
                client, _ = listener.accept()
                Worker(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with suppress(OSError), client:
            head = _head(client)
            if not head:  # somebody who only looked whether the port is open
                return
            self.asked.append(head.decode().splitlines()[0])
            with socket.create_connection(("127.0.0.1", self._target_port)) as server:
                client.sendall(b"HTTP/1.1 200 Connection established" + END)
                back = Worker(target=pump, args=(server, client), daemon=True)
                back.start()
                pump(client, server)
                back.join()


def _head(client: socket.socket) -> bytes:
    head = b""
    while END not in head and len(head) < LONGEST_HEAD:
        if not (piece := client.recv(1)):
            return b""
        head += piece
    return head
