"""The floor of fetching: every page is received and thrown away.

Run as a program: base URL and file of thread ids; as many threads as runtide has workers.
"""

import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx

from bench.peers import PAGE_SIZE, WORKERS

END = b'"has_more":false}'


def fetch(http: httpx.Client, thread_id: str) -> None:
    """Receive the pages of one thread; the next cursor is cut out of the body."""
    query: dict[str, str | int] = {"limit": PAGE_SIZE, "order": "asc"}
    while True:
        body = http.get(f"threads/{thread_id}/runs", params=query).content
        if body.endswith(END):
            return
        query["after"] = body.rpartition(b'"last_id":"')[2].partition(b'"')[0].decode()


def main() -> None:
    """Fetch the runs of all threads."""
    base_url, threads = sys.argv[1:]
    thread_ids = Path(threads).read_text(encoding="utf-8").split()
    limits = httpx.Limits(max_connections=WORKERS, max_keepalive_connections=WORKERS)
    with (
        httpx.Client(base_url=base_url, limits=limits) as http,
        ThreadPoolExecutor(WORKERS) as pool,
    ):
        list(pool.map(lambda thread_id: fetch(http, thread_id), thread_ids))


if __name__ == "__main__":
    main()
