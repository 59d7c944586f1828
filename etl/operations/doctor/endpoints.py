"""Endpoints that were switched off, known by their host or by what they answer."""

from datetime import date
from http import HTTPStatus

RETIRED = {"api.openai.com": date(2026, 8, 26)}
"""When a host stopped to answer (docs/wire.md)."""

STILL_ANSWERS = (
    "name a server that still answers: Azure AI Foundry classic (until 2027-03-31), a"
    " self-hosted one, or what was exported to files"
)

NO_SUCH_PATH = "invalid url"
"""What OpenAI's servers say of a path that they do not have."""


def retirement(host: str, status: int | None, said: str) -> str | None:
    """Say that the endpoint is gone; None where it answers, or may answer again.

    `status` is None where no answer came, `said` what the server had to say.
    """
    if host in RETIRED and status != HTTPStatus.OK:
        return f"{host} switched this endpoint off on {RETIRED[host]}"
    if status == HTTPStatus.GONE:
        return f"{host} says that this endpoint is gone for good"
    if status == HTTPStatus.NOT_FOUND and NO_SUCH_PATH in said.lower():
        return f"{host} has no such path: base_url is wrong, or it was switched off"
    return None
