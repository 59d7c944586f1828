"""How quick the API itself is, asked by a client that does nothing with the answers."""

import socket
import time
from collections.abc import Iterable, Iterator, Sequence
from urllib.parse import urlsplit

BUFFER = bytearray(1 << 20)


def ceiling(base_url: str, thread_ids: Sequence[str]) -> tuple[float, int]:
    """Fetch the first page of each thread over one connection; seconds and bytes.

    It is done twice, and measured the second time: the first time renders the pages, so
    that no contender has to wait for that.
    """
    place = urlsplit(base_url)
    with socket.create_connection((place.hostname, place.port)) as connection:
        requests = [_request(place.path, thread_id) for thread_id in thread_ids]
        sum(_answers(connection, requests))
        began = time.perf_counter()
        size = sum(_answers(connection, requests))
        return time.perf_counter() - began, size


def _request(path: str, thread_id: str) -> bytes:
    target = f"{path}/threads/{thread_id}/runs?limit=100&order=asc"
    return f"GET {target} HTTP/1.1\r\nHost: bench\r\n\r\n".encode()


def _answers(connection: socket.socket, requests: Iterable[bytes]) -> Iterator[int]:
    """The size of each answer in bytes, its head included."""
    for request in requests:
        connection.sendall(request)
        received = connection.recv_into(BUFFER)
        head, _, body = bytes(BUFFER[:received]).partition(b"\r\n\r\n")
        length = int(head.partition(b"Content-Length: ")[2].partition(b"\r\n")[0])
        missing = length - len(body)
        while missing > 0:
            missing -= connection.recv_into(BUFFER)
        yield len(head) + 4 + length
