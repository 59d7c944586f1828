"""Microsoft Entra on loopback: tokens for a client secret and for a managed identity.

Written from the published protocol (OAuth 2.0 client credentials on the identity
platform's v2.0 endpoint; managed identities of App Service).
"""

import time
from collections import Counter

from tests.integration.json_serving import Answer, Request

TENANT = "11111111-2222-3333-4444-555555555555"
CLIENT = "66666666-7777-8888-9999-000000000000"
CLIENT_SECRET = "planted-client-secret~0123456789"
IDENTITY_HEADER = "planted-identity-header"
SCOPE = "https://ai.azure.com/.default"

REFUSED = (
    "AADSTS7000215: Invalid client secret provided. Ensure the secret being sent in the"
    " request is the client secret value. Trace ID: 0a1b Correlation ID: 2c3d Timestamp:"
    " 2026-11-22 10:00:00Z"
)


class Issuer:
    """Gives out tokens, each good for so many requests to the project."""

    def __init__(self, *, requests_each: int = 1_000_000) -> None:
        self.requests_each = requests_each
        self.given = 0
        self.seconds = 3_600
        self.is_down = False
        self.asked: list[Request] = []
        self._used: Counter[str] = Counter()

    def issue(self) -> str:
        """A new token."""
        self.given += 1
        return f"planted-token-{self.given}"

    def lets_in(self, token: str) -> bool:
        """Whether a token is one of ours and not used up; counts it."""
        self._used[token] += 1
        number = token.removeprefix("planted-token-")
        is_ours = number.isdecimal() and 0 < int(number) <= self.given
        return is_ours and self._used[token] <= self.requests_each

    def respond(self, request: Request) -> Answer:
        """Answer as the identity platform, or as App Service's endpoint, does."""
        self.asked.append(request)
        if self.is_down:
            return Answer(503, {"error": "temporarily_unavailable"})
        match request.path:
            case (tenant, "v2.0", ".well-known", "openid-configuration"):
                return Answer(200, _configuration(request.headers["host"], tenant))
            case (_, "oauth2", "v2.0", "token"):
                return self._for_a_secret(request)
            case ("msi", "token"):
                return self._for_an_identity(request)
            case _:
                return Answer(404, {"error": "not_found"})

    def _for_a_secret(self, request: Request) -> Answer:
        assert request.path[0] == TENANT
        assert request.form["grant_type"] == "client_credentials"
        assert SCOPE in request.form["scope"].split()
        if (request.form["client_id"], request.form["client_secret"]) != (
            CLIENT,
            CLIENT_SECRET,
        ):
            told = {"error": "invalid_client", "error_description": REFUSED}
            return Answer(401, told)
        return Answer(
            200,
            {
                "token_type": "Bearer",
                "expires_in": self.seconds,
                "ext_expires_in": self.seconds,
                "access_token": self.issue(),
            },
        )

    def _for_an_identity(self, request: Request) -> Answer:
        if request.headers.get("x-identity-header") != IDENTITY_HEADER:
            return Answer(401, {"statusCode": 401, "message": "Unauthorized"})
        assert request.query["resource"] == "https://ai.azure.com"
        return Answer(
            200,
            {
                "access_token": self.issue(),
                "expires_on": str(int(time.time()) + self.seconds),
                "resource": request.query["resource"],
                "token_type": "Bearer",
            },
        )


def _configuration(host: str, tenant: str) -> dict[str, str]:
    place = f"https://{host}/{tenant}"
    return {
        "token_endpoint": f"{place}/oauth2/v2.0/token",
        "authorization_endpoint": f"{place}/oauth2/v2.0/authorize",
        "device_authorization_endpoint": f"{place}/oauth2/v2.0/devicecode",
        "issuer": f"{place}/v2.0",
    }
