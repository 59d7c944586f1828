"""What the kind of a source decides: the headers, query and key of its requests."""

from collections.abc import Mapping

from etl.config import Settings, SourceConfig
from etl.extract import foundry, openai
from etl.extract.keys import ApiKey, Key


def headers_of(source: SourceConfig) -> Mapping[str, str]:
    """The headers of every request, beside the key's."""
    return foundry.HEADERS if source.kind == "foundry" else openai.HEADERS


def query_of(source: SourceConfig) -> Mapping[str, str]:
    """What stands in the query of every request."""
    return foundry.query_of(source.api_version) if source.kind == "foundry" else {}


def key_of(settings: Settings, source: SourceConfig) -> Key | None:
    """What lets runtide in; raises ConfigError where it is named but not usable."""
    secret = settings.api_key(source)
    if secret is None:
        return None
    is_foundry = source.kind == "foundry"
    return ApiKey(secret, foundry.OF_A_READY_TOKEN if is_foundry else None)
