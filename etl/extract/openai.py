"""Sources of kind `openai`: OpenAI and everything that speaks its protocol."""

from collections.abc import Iterator
from urllib.parse import quote

from etl.domain.page import Page
from etl.domain.run import RunId, ThreadId
from etl.extract.client import Answer, Client
from etl.extract.paging import pages

HEADERS = {"OpenAI-Beta": "assistants=v2", "Accept": "application/json"}
"""What every request carries beside the API key (API reference, "Authentication")."""


class OpenAISource:
    """List-runs of one server, oldest run first."""

    def __init__(self, client: Client, *, page_size: int) -> None:
        self.traffic = client.traffic
        self._client = client
        self._page_size = page_size

    def pages(self, thread_id: ThreadId, *, after: RunId | None) -> Iterator[Page]:
        """Page through the runs of a thread that follow `after`."""
        path = f"threads/{quote(thread_id, safe='')}/runs"
        query: dict[str, str | int] = {"limit": self._page_size, "order": "asc"}

        def fetch(cursor: RunId | None) -> Answer:
            return self._client.ask(path, query | ({"after": cursor} if cursor else {}))

        return pages(fetch, thread_id, after)
