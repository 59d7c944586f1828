"""A Foundry: its access token, how its endpoint is written, and when it is switched off."""

from collections.abc import Iterator
from datetime import UTC, date, datetime
from http import HTTPStatus
from time import time

import httpx

from etl.config import SourceConfig
from etl.domain.errors import ConfigError, SourceUnavailableError
from etl.extract.entra import EntraKey
from etl.extract.keys import Key
from etl.operations.doctor.clocks import days_until, in_words
from etl.operations.doctor.contact import Contact
from etl.operations.doctor.endpoints import FOUNDRY, FOUNDRY_UNTIL
from etl.operations.doctor.finding import Finding, Place

CHECK = "access token"
IN_THE_PATH = "/api/projects/"
SHAPE = "https://RESOURCE.services.ai.azure.com/api/projects/PROJECT"
WARNED_DAYS = 90
REFUSED = {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}


def check_foundry(place: Place, source: SourceConfig) -> Iterator[Finding]:
    """What is known of an endpoint before it is asked."""
    yield place.guarded("endpoint", lambda: _endpoint(place, source))
    host = httpx.URL(source.address).host
    if host.endswith(FOUNDRY):
        ends_at = datetime.combine(FOUNDRY_UNTIL, datetime.min.time(), UTC).timestamp()
        yield check_retirement(place, days_until(ends_at))


def _endpoint(place: Place, source: SourceConfig) -> Finding:
    path = httpx.URL(source.address).path.rstrip("/")
    project = path.partition(IN_THE_PATH)[2]
    if not project or "/" in project:
        told = f"base_url has the path {path or '/'}, which is no project's"
        return place.warning("endpoint", told, f"write it as {SHAPE}")
    return place.ok("endpoint", f"project {project}, version {source.api_version}")


def check_retirement(place: Place, days: int, until: date = FOUNDRY_UNTIL) -> Finding:
    """How long the service answers on."""
    if days < 0:
        told, helps = f"Microsoft ended this service on {until}", "what was read stays"
        return place.warning("retirement", told, helps)
    told = f"Microsoft ends this service on {until}, in {days} days"
    if days < WARNED_DAYS:
        helps = "sync everything before, with `runtide backfill` in the end"
        return place.warning("retirement", told, helps)
    return place.ok("retirement", told)


def check_token(
    place: Place,
    source: SourceConfig,
    made: Contact,
    key: Key | None,
    complaint: ConfigError | None,
) -> Finding:
    """Whether there is a token, and whether the project takes it."""
    if complaint is not None:
        return place.failed(CHECK, str(complaint))
    lasts = ""
    if isinstance(key, EntraKey):
        try:
            lasts = f", which is good for {in_words(key.ends_at() - time())}"
        except SourceUnavailableError as error:
            return place.failed(CHECK, str(error))
    if made.status in REFUSED:
        return place.failed(CHECK, made.said)
    if made.status is None:
        return place.left_out(CHECK, "needs an answer")
    whose = f"the one in {source.api_key_env}" if source.api_key_env else "Entra's"
    return place.ok(CHECK, f"the server takes {whose}{lasts}")


def lacks_token(key: Key | None) -> bool:
    """Whether no request went out, for Entra gave nothing to show."""
    return isinstance(key, EntraKey) and not key.has_token
