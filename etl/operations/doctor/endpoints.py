"""Endpoints that were switched off, known by their host or by what they answer."""

from datetime import UTC, date, datetime
from http import HTTPStatus

RETIRED = {"api.openai.com": date(2026, 8, 26)}
"""When a host stopped to answer (docs/wire.md)."""

FOUNDRY = ".services.ai.azure.com"
FOUNDRY_UNTIL = date(2027, 3, 31)
"""Whose hosts end so, and the day on which its classic agents end (docs/wire.md)."""

STILL_ANSWERS = (
    "name a server that still answers: Azure AI Foundry classic (until 2027-03-31), a"
    " self-hosted one, or what was exported to files"
)

LET_IN_FIRST = {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}
"""Said by a gate that stands before the endpoint."""

NO_SUCH_PATH = "invalid url"
"""What OpenAI's servers say of a path that they do not have."""


def retirement(
    host: str, status: int | None, said: str, *, today: date | None = None
) -> str | None:
    """Say that the endpoint is gone; None where it answers, or may answer again.

    `status` is None where no answer came, `said` what the server had to say.
    """
    today = today or datetime.now(UTC).date()
    is_foundry = host.endswith(FOUNDRY) and today >= FOUNDRY_UNTIL
    if is_foundry and status not in {HTTPStatus.OK, *LET_IN_FIRST}:
        return f"Microsoft switched this endpoint off on {FOUNDRY_UNTIL}"
    if host in RETIRED and status != HTTPStatus.OK:
        return f"{host} switched this endpoint off on {RETIRED[host]}"
    if status == HTTPStatus.GONE:
        return f"{host} says that this endpoint is gone for good"
    if status == HTTPStatus.NOT_FOUND and NO_SUCH_PATH in said.lower():
        return f"{host} has no such path: base_url is wrong, or it was switched off"
    return None
