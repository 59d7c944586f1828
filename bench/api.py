"""An API server that is never the bottleneck: pages rendered once, kept in memory.

Run as a program it prints its address and ends with its standard input, that is, with
whoever started it.
"""

import argparse
import asyncio
import json
import sys

from bench.workload import Workload, id_of, number_of

LONGEST_PAGE = 100
"""Runs; what a request without `limit` is sent, too."""

KEPT = 1 << 29
"""Bytes of pages that are kept; what is beyond is rendered anew for each request."""


class Pages:
    """The answers to list-runs in ascending order, by request target."""

    def __init__(self, workload: Workload) -> None:
        self._workload = workload
        self._kept: dict[bytes, bytes] = {}
        self._room = KEPT

    def answer(self, target: bytes) -> bytes:
        """The whole HTTP answer to `GET {target}`."""
        kept = self._kept.get(target)
        if kept is not None:
            return kept
        answer = _answer(self.page(target))
        if len(answer) <= self._room:
            self._room -= len(answer)
            self._kept[target] = answer
        return answer

    def page(self, target: bytes) -> bytes:
        """The body of the answer."""
        path, _, query = target.partition(b"?")
        asked = dict(part.split(b"=", 1) for part in query.split(b"&") if part)
        thread = number_of(path.rpartition(b"/thread_")[2].partition(b"/")[0])
        first = self._place_after(thread, asked.get(b"after"))
        last = first + min(int(asked.get(b"limit", LONGEST_PAGE)), LONGEST_PAGE)
        last = min(last, self._workload.runs)
        data = b",".join(self._workload.payloads(thread, first, last))
        facts = {
            "first_id": self._run_id(thread, first) if first < last else None,
            "last_id": self._run_id(thread, last - 1) if first < last else None,
            "has_more": last < self._workload.runs,
        }
        rest = json.dumps(facts, separators=(",", ":")).encode().removeprefix(b"{")
        return b'{"object":"list","data":[' + data + b"]," + rest

    def _run_id(self, thread: int, run: int) -> str:
        return f"run_{id_of(thread * self._workload.runs + run)}"

    def _place_after(self, thread: int, cursor: bytes | None) -> int:
        if cursor is None:
            return 0
        number = number_of(cursor.removeprefix(b"run_"))
        return number - thread * self._workload.runs + 1


def _answer(body: bytes) -> bytes:
    head = (
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\nx-request-id: req_bench\r\n\r\n"
    )
    return head.encode() + body


class Connection(asyncio.Protocol):
    """One keep-alive connection; `latency` in seconds passes before each answer."""

    transport: asyncio.Transport

    def __init__(self, pages: Pages, latency: float) -> None:
        self._pages = pages
        self._latency = latency
        self._unread = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Remember where answers go."""
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - for mypy
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        """Answer each whole request; a GET ends with an empty line."""
        *requests, self._unread = (self._unread + data).split(b"\r\n\r\n")
        for request in requests:
            answer = self._pages.answer(request.split(b" ", 2)[1])
            if self._latency:
                asyncio.get_running_loop().call_later(self._latency, self._send, answer)
            else:
                self._send(answer)

    def _send(self, answer: bytes) -> None:
        if not self.transport.is_closing():
            self.transport.write(answer)


async def serve(pages: Pages, latency: float) -> None:
    """Listen on a free port of loopback until standard input ends."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Connection(pages, latency), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    sys.stdout.write(f"http://127.0.0.1:{port}/v1\n")
    sys.stdout.flush()
    await loop.run_in_executor(None, sys.stdin.read)


def main() -> None:
    """Serve the workload that the arguments describe."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("threads", type=int)
    parser.add_argument("runs", type=int, help="of each thread")
    parser.add_argument("--latency", type=float, default=0.0, metavar="SECONDS")
    parser.add_argument("--changed", type=int, default=0, metavar="PERCENT")
    parser.add_argument("--unknown-fields", action="store_true")
    given = parser.parse_args()
    workload = Workload(
        threads=given.threads,
        runs=given.runs,
        changed=given.changed,
        unknown_fields=given.unknown_fields,
    )
    asyncio.run(serve(Pages(workload), given.latency))


if __name__ == "__main__":
    main()
