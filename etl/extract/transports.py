"""A transport of httpx for each thread."""

import threading
from collections.abc import Callable

import httpx


class ThreadTransports(httpx.BaseTransport):
    """One transport for each thread that asks, as `make` makes it.

    One that is shared looks through all of its connections at every request, behind a
    lock: sixteen workers spend half as much again on each page.
    """

    def __init__(self, make: Callable[[], httpx.BaseTransport]) -> None:
        self._make = make
        self._mine = threading.local()
        self._made: list[httpx.BaseTransport] = []

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request over the calling thread's own connection."""
        transport: httpx.BaseTransport | None = getattr(self._mine, "transport", None)
        if transport is None:
            transport = self._mine.transport = self._make()
            self._made.append(transport)
        return transport.handle_request(request)

    def close(self) -> None:
        """Close the connections of all threads."""
        for transport in self._made:
            transport.close()
