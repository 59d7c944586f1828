"""What the kind of a source decides: the headers, query and key of its requests."""

from collections.abc import Mapping

from etl.config import EntraConfig, Settings, SourceConfig
from etl.extract import foundry, openai
from etl.extract.credentials import Identity, require_azure_identity
from etl.extract.entra import EntraKey
from etl.extract.keys import ApiKey, Key


def headers_of(source: SourceConfig) -> Mapping[str, str]:
    """The headers of every request, beside the key's."""
    return foundry.HEADERS if source.kind == "foundry" else openai.HEADERS


def query_of(source: SourceConfig) -> Mapping[str, str]:
    """What stands in the query of every request."""
    return foundry.query_of(source.api_version) if source.kind == "foundry" else {}


def key_of(settings: Settings, source: SourceConfig) -> Key | None:
    """What lets runtide in; raises ConfigError where it is named but not usable.

    A Foundry that names no ready token is asked with tokens of Microsoft Entra.
    """
    secret = settings.api_key(source)
    if source.kind != "foundry":
        return ApiKey(secret) if secret else None
    if secret:
        return ApiKey(secret, foundry.OF_A_READY_TOKEN)
    require_azure_identity()
    return EntraKey(identity_of(settings, source).access_token, foundry.OF_ENTRA)


def identity_of(settings: Settings, source: SourceConfig) -> Identity:
    """Who asks Entra for a source's tokens; raises ConfigError without its secret."""
    told = source.entra or EntraConfig()
    return Identity(
        scope=told.scope,
        tenant_id=told.tenant_id,
        client_id=told.client_id,
        client_secret=settings.client_secret(source),
        is_managed=told.credential == "managed_identity",
        authority=settings.environment.get("AZURE_AUTHORITY_HOST") or None,
        authorities=settings.environment.get("SSL_CERT_FILE") or None,
    )


def lists_threads(source: SourceConfig) -> bool:
    """Whether new threads are looked for in the server's own list: a Foundry has one."""
    told = source.list_threads
    return source.kind == "foundry" if told is None else told
