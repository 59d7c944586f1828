"""azure-identity: who asks Microsoft Entra for access tokens, and how that goes wrong."""

import logging
import ssl
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from etl.domain.errors import ConfigError, SourceUnavailableError
from etl.extract.entra import AccessToken

if TYPE_CHECKING:
    from azure.core.credentials import SupportsTokenInfo

EARLY_SECONDS = 300.0
"""How long before its end a token is renewed where Entra does not say when."""

LONGEST_SAID = 300

PATIENCE: Mapping[str, Any] = {
    "connection_timeout": 10,
    "read_timeout": 30,
    "retry_total": 2,
    "retry_backoff_factor": 0.4,
}
"""Of a client secret's requests: a wrong address is told soon, and who renews early may
fail for minutes. The other credentials know better how long their places take."""

WHAT_TO_CHECK = (
    "check the network and HTTPS_PROXY, and AZURE_AUTHORITY_HOST where it is set"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Who asks for tokens of a scope.

    With a `client_secret` an application does, with `is_managed` the machine itself,
    else the first of azure-identity's default credentials that can. `authority` is
    another host than the public cloud's, `authorities` the file of whom TLS believes.
    """

    scope: str
    tenant_id: str | None = None
    client_id: str | None = None
    client_secret: str | None = field(default=None, repr=False)
    is_managed: bool = False
    authority: str | None = None
    authorities: str | None = None

    def access_token(self) -> AccessToken:
        """Ask for a new token; raises SourceUnavailableError with what to do."""
        from azure.core.exceptions import AzureError  # noqa: PLC0415  # heavy

        silence()
        tenant = {"tenant_id": self.tenant_id} if self._may_choose_tenant else {}
        try:
            with self._credential() as credential:
                found = credential.get_token_info(self.scope, options=tenant)  # type: ignore[arg-type]
        except (AzureError, ValueError, OSError) as error:
            raise SourceUnavailableError(self._told(error)) from error
        ends_at, now = float(found.expires_on), time.time()
        early = min(EARLY_SECONDS, max(0.0, ends_at - now) / 2)
        return AccessToken(
            secret=found.token,
            renew_at=float(found.refresh_on or ends_at - early),
            ends_at=ends_at,
        )

    def _credential(self) -> "SupportsTokenInfo":
        """A credential without a memory, so that it answers with a new token."""
        from azure import identity  # noqa: PLC0415  # heavy

        if self.is_managed:
            return identity.ManagedIdentityCredential(client_id=self.client_id)
        if self.client_secret is not None:
            return identity.ClientSecretCredential(
                self.tenant_id or "",
                self.client_id or "",
                self.client_secret,
                **self._cloud,
                **PATIENCE,
            )
        return identity.DefaultAzureCredential(**self._preferred, **self._cloud)

    @property
    def _cloud(self) -> dict[str, Any]:
        """An authority that somebody names is believed without asking the public cloud."""
        told: dict[str, Any] = {}
        if self.authority is not None:
            told |= {"authority": self.authority, "disable_instance_discovery": True}
        if self.authorities is not None:
            told["connection_verify"] = self.authorities
        return told

    @property
    def _preferred(self) -> dict[str, Any]:
        """What a default credential is told of tenant and identity."""
        told: dict[str, Any] = {}
        if self.client_id is not None:
            told["managed_identity_client_id"] = self.client_id
        if self.tenant_id is not None:
            told["additionally_allowed_tenants"] = [self.tenant_id]
        return told

    @property
    def _may_choose_tenant(self) -> bool:
        is_default = not self.is_managed and self.client_secret is None
        return is_default and self.tenant_id is not None

    def _told(self, error: BaseException) -> str:
        """One sentence for what azure-identity tells in many lines."""
        if why := _unreached(error):
            return f"Microsoft Entra cannot be reached: {why}; {WHAT_TO_CHECK}"
        said = _first_line(self._redacted(str(error))) or type(error).__name__
        if self.is_managed:
            return (
                f"this machine gets no access token for its managed identity: {said}; give"
                " it one in Azure, and check client_id in [sources.entra]"
            )
        if self.client_secret is not None:
            return (
                f"Microsoft Entra refuses the client secret: {said}; check tenant_id,"
                " client_id and the variable that client_secret_env names"
            )
        return (
            f"no credential of this machine gives an access token: {said}; run `az login`,"
            " or choose another credential in [sources.entra]"
        )

    def _redacted(self, text: str) -> str:
        secret = self.client_secret
        return text.replace(secret, "[client secret]") if secret else text


def require_azure_identity() -> None:
    """Raise ConfigError where azure-identity is not installed."""
    if find_spec("azure") is None or find_spec("azure.identity") is None:
        raise ConfigError(
            "Access tokens of Microsoft Entra need the package azure-identity; run"
            " `pip install 'runtide[foundry]'`, or name the variable of a ready token in"
            " api_key_env."
        )


def silence() -> None:
    """Keep azure-identity's own dumps from standard error: errors are told once, by us."""
    for name in ("azure", "msal"):
        logger = logging.getLogger(name)
        if not logger.handlers:
            logger.addHandler(logging.NullHandler())


def _causes(error: BaseException) -> Iterator[BaseException]:
    cause: BaseException | None = error
    while cause is not None:
        yield cause
        inner = getattr(cause, "inner_exception", None)  # azure-core's own way
        cause = inner or cause.__cause__ or cause.__context__


def _unreached(error: BaseException) -> str | None:
    """Why no answer came, in the system's words; None where Entra did answer."""
    from azure.core.exceptions import (  # noqa: PLC0415  # heavy
        ServiceRequestError,
        ServiceResponseError,
    )

    causes = list(_causes(error))
    if not any(
        isinstance(each, ServiceRequestError | ServiceResponseError) for each in causes
    ):
        return None
    for each in reversed(causes):
        if isinstance(each, ssl.SSLCertVerificationError):
            return (
                f"it has no valid certificate ({each.verify_message}), where SSL_CERT_FILE"
                " may name the file of an authority of your own"
            )
        if isinstance(each, OSError) and each.strerror:
            return each.strerror
    return "it did not answer"


def _first_line(told: str) -> str:
    """What was said first, without the traces and hints that follow it."""
    said = next((line.strip() for line in told.splitlines() if line.strip()), "")
    said = said.partition(" Trace ID:")[0].removeprefix("Authentication failed: ")
    short = said if len(said) <= LONGEST_SAID else f"{said[:LONGEST_SAID]}…"
    return short.rstrip(" .:")
