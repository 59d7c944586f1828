"""A Foundry project on loopback, written from its published REST description.

Source: Azure/azure-rest-api-specs, specification/ai/Azure.AI.Agents (runs, threads,
common/models.tsp, servicepatterns.tsp): limit 1 to 100 with a default of 20, order by
creation with a default of desc, `after` and `before`; pages of `data`, `last_id` and
`has_more`; errors of `message`, `type`, `param` and `code`.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from tests.integration.entra import Issuer
from tests.integration.json_serving import Answer, Request, json_serving

Json = Any
PROJECT = "demo-project"
VERSION = "v1"
SECRET = "planted-mcp-credential"
CREATED = 1_784_000_000


def a_run(thread_id: str, number: int, **fields: Json) -> dict[str, Json]:
    """A run as Foundry sends it: an agent with an MCP server that wants a credential."""
    server = {"server_label": "crm", "require_approval": "never"}
    return {
        "id": f"run_{thread_id}_{number:04}",
        "object": "thread.run",
        "created_at": CREATED + number,
        "assistant_id": "asst_of_foundry",
        "thread_id": thread_id,
        "status": "completed",
        "started_at": CREATED + number,
        "expires_at": None,
        "cancelled_at": None,
        "failed_at": None,
        "completed_at": CREATED + number + 5,
        "required_action": None,
        "last_error": None,
        "model": "gpt-4o",
        "instructions": "Be helpful.",
        "tools": [
            {"type": "mcp", "server_label": "crm", "server_url": "https://crm.example"},
            {"type": "bing_grounding", "bing_grounding": {"search_configurations": []}},
        ],
        "tool_resources": {
            "mcp": [{**server, "headers": {"Authorization": f"Bearer {SECRET}"}}]
        },
        "metadata": {},
        "temperature": 1.0,
        "top_p": 1.0,
        "max_completion_tokens": None,
        "max_prompt_tokens": None,
        "truncation_strategy": {"type": "auto", "last_messages": None},
        "incomplete_details": None,
        "usage": {
            "prompt_tokens": 10 + number,
            "completion_tokens": 5,
            "total_tokens": 15 + number,
            "prompt_token_details": {"cached_tokens": 0},
        },
        "response_format": "auto",
        "tool_choice": "auto",
        "parallel_tool_calls": True,
    } | fields


class Project:
    """Threads with their runs; lets in whom its issuer gave a token."""

    def __init__(self, issuer: Issuer, threads: Mapping[str, Sequence[Json]]) -> None:
        self.issuer = issuer
        self.threads = {name: list(runs) for name, runs in threads.items()}
        self.asked: list[Request] = []
        self.refused = 0
        self.throttled: set[int] = set()  # numbers of requests that are too many
        self.role_is_missing = False

    @contextmanager
    def serving(self) -> Iterator[str]:
        """Serve until the end; lends the project's endpoint."""
        with json_serving(self.respond) as address:
            yield f"{address}/api/projects/{PROJECT}"

    def respond(self, request: Request) -> Answer:
        """Answer one request as the agent service does."""
        self.asked.append(request)
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if scheme != "Bearer" or not self.issuer.lets_in(token):
            self.refused += 1
            return _error(401, "Unauthorized", f"The token {token} is not valid.")
        if self.role_is_missing:
            return _error(403, "PermissionDenied", "The principal lacks agents/read.")
        if request.query.get("api-version") != VERSION:
            return _error(400, "BadRequest", "API version not supported")
        assert "openai-beta" not in request.headers
        if len(self.asked) in self.throttled:
            told = _error(429, "rate_limit_exceeded", "Try again in a moment.")
            return Answer(told.status, told.payload, {"retry-after": "0.01"})
        return self._found(request)

    def _found(self, request: Request) -> Answer:
        match request.path:
            case ("api", "projects", project, *_) if project != PROJECT:
                return _error(404, "NotFound", "Project not found")
            case ("api", "projects", _, "threads"):
                return _page(self._listed(), request.query)
            case ("api", "projects", _, "threads", thread_id, "runs", *rest):
                if thread_id not in self.threads:
                    said = f"No thread found with id '{thread_id}'."
                    return _error(404, None, said)
                return _runs(self.threads[thread_id], rest, request.query)
            case _:
                return _error(404, "404", "Resource not found")

    def _listed(self) -> list[Json]:
        return [
            {
                "id": name,
                "object": "thread",
                "created_at": CREATED + place,
                "metadata": {},
                "tool_resources": {"mcp": [{"headers": {"Authorization": SECRET}}]},
            }
            for place, name in enumerate(self.threads)
        ]


def _runs(runs: Sequence[Json], rest: Sequence[str], query: Mapping[str, str]) -> Answer:
    if not rest:
        return _page(runs, query)
    for run in runs:
        if run["id"] == rest[0]:
            return Answer(200, run)
    return _error(404, None, f"No run found with id '{rest[0]}'.")


def _page(entries: Sequence[Json], query: Mapping[str, str]) -> Answer:
    limit = int(query.get("limit", "20"))
    if not 1 <= limit <= 100:
        return _error(400, "invalid_value", "limit is between 1 and 100")
    is_descending = query.get("order", "desc") == "desc"
    ordered = sorted(entries, key=lambda each: each["created_at"], reverse=is_descending)
    ids = [each["id"] for each in ordered]
    for name in ("after", "before"):
        if name in query and query[name] not in ids:
            return _error(400, "invalid_value", f"No entry with id '{query[name]}'.")
    first = ids.index(query["after"]) + 1 if "after" in query else 0
    end = ids.index(query["before"]) if "before" in query else len(ids)
    data = ordered[first : min(first + limit, end)]
    last = {"last_id": data[-1]["id"]} if data else {}
    return Answer(200, {"data": data, **last, "has_more": first + len(data) < end})


def _error(status: int, code: str | None, message: str) -> Answer:
    told = {
        "message": message,
        "type": "invalid_request_error",
        "param": None,
        "code": code,
    }
    return Answer(status, {"error": told})
