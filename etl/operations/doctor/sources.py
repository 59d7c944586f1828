"""A source: reached, trusted, its key taken, its endpoint alive, its clock right."""

import ssl
from collections.abc import Iterator
from http import HTTPStatus

import httpx

from etl.config import Settings, SourceConfig
from etl.domain.errors import ConfigError
from etl.extract.keys import Key
from etl.extract.retry import RateLimitedError
from etl.load.trust import is_here
from etl.operations.doctor.budgets import check_budget
from etl.operations.doctor.clocks import check_clock, days_until
from etl.operations.doctor.contact import Contact, contact
from etl.operations.doctor.database import Seen
from etl.operations.doctor.discovering import CHECK, check_discovery
from etl.operations.doctor.endpoints import STILL_ANSWERS, retirement
from etl.operations.doctor.finding import Finding, Place, Verdict
from etl.operations.doctor.foundries import CHECK as TOKEN
from etl.operations.doctor.foundries import check_foundry, check_token, lacks_token
from etl.operations.doctor.reaching import check_way
from etl.wiring.kinds import key_of

LEAST_DAYS = 14
UNREACHED = "needs a connection"
UNANSWERED = "needs an answer"
Shown = tuple[Key | None, ConfigError | None]
"""The key, and what is wrong with the settings that should tell it."""

REFUSED = {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}


def check_source(settings: Settings, source: SourceConfig, seen: Seen) -> Iterator[Finding]:
    """Check a source with one connection and one request; an archive has no server."""
    place = Place(f"source {source.name}")
    if source.is_asked:
        yield from _check_server(settings, place, source, seen)
    else:
        yield place.ok("kind", "an archive: its runs come from files, by `runtide import`")
    if source.privacy.hash_key_env is not None:
        yield place.guarded("hash key", lambda: _hash_key(settings, place, source))


def _check_server(
    settings: Settings, place: Place, source: SourceConfig, seen: Seen
) -> Iterator[Finding]:
    tracked = seen.tracked.get(source.name)
    if source.kind == "foundry":
        yield from check_foundry(place, source)
    way = list(check_way(place, source.address))
    yield from way
    made: Contact | None = None
    if all(each.verdict is Verdict.OK for each in way):
        key, complaint = _key(settings, source)
        try:
            made = contact(source, key, tracked.example if tracked else None)
        except Exception as error:  # no check may raise
            yield place.of_error("request", error)
        else:
            yield from _answered(place, source, made, (key, complaint), seen)
    if made is None:
        yield from _unanswered(place, source)
    yield place.guarded("budget", lambda: check_budget(place, source, made, tracked))
    told = source.discovery
    if told is not None:
        yield place.guarded(CHECK, lambda: check_discovery(settings, place, source, told))


def _key(settings: Settings, source: SourceConfig) -> Shown:
    """The key, and what is wrong with the variable that should hold it."""
    try:
        return key_of(settings, source), None
    except ConfigError as error:
        return None, error


def _unanswered(place: Place, source: SourceConfig) -> Iterator[Finding]:
    yield place.left_out("certificate", UNREACHED)
    yield place.left_out(TOKEN if source.kind == "foundry" else "API key", UNREACHED)
    gone = retirement(httpx.URL(source.address).host, None, "")
    if gone:
        yield place.failed("list call", gone, STILL_ANSWERS)
    else:
        yield place.left_out("list call", UNREACHED)
    yield place.left_out("clock of this machine", UNREACHED)
    yield place.left_out("clock of the database", UNREACHED)


def _answered(
    place: Place,
    source: SourceConfig,
    made: Contact,
    shown: Shown,
    seen: Seen,
) -> Iterator[Finding]:
    yield place.guarded("certificate", lambda: _certificate(place, source, made))
    if source.kind == "foundry":
        yield place.guarded(TOKEN, lambda: check_token(place, source, made, *shown))
    else:
        yield place.guarded("API key", lambda: _api_key(place, source, made, shown[1]))
    if lacks_token(shown[0]):
        yield place.left_out("list call", "needs an access token")
    else:
        yield place.guarded("list call", lambda: _list_call(place, source, made))
    for whose, ahead in (("this machine", 0.0), ("the database", seen.seconds_ahead)):
        yield check_clock(place, made, seconds_ahead=ahead, whose=whose)


def _certificate(place: Place, source: SourceConfig, made: Contact) -> Finding:
    check, url = "certificate", httpx.URL(source.address)
    if url.scheme == "http":
        if is_here(url.host):
            return place.ok(check, "not needed, the server is on this machine")
        told = "what is sent can be read on its way, as base_url begins with http://"
        return place.warning(check, told, "write https:// if the server knows it")
    if made.is_distrusted:
        return place.failed(check, made.said)
    if made.certificate is None:
        return place.left_out(check, UNANSWERED)
    days = days_until(ssl.cert_time_to_seconds(str(made.certificate["notAfter"])))
    if days < LEAST_DAYS:
        return place.warning(check, f"ends in {days} days", "have it renewed")
    return place.ok(check, f"trusted, and good for {days:,} more days")


def _api_key(
    place: Place, source: SourceConfig, made: Contact, complaint: ConfigError | None
) -> Finding:
    check, variable = "API key", source.api_key_env
    if complaint is not None:
        return place.failed(check, str(complaint))
    if made.status in REFUSED and variable is None:
        told = f"the server wants an API key: {made.said.partition(': ')[2]}"
        return place.failed(
            check, told.partition("; ")[0], "name its variable, api_key_env"
        )
    if made.status in REFUSED:
        return place.failed(check, made.said)
    if not _is_taken(source, made):
        return place.left_out(check, UNANSWERED if made.status is None else "no runs came")
    if variable is None:
        return place.ok(check, "none is configured, and the server asks for none")
    return place.ok(check, f"the server takes the key in {variable}")


def _is_taken(source: SourceConfig, made: Contact) -> bool:
    """Whether the answer shows that the server let us in."""
    if made.status == HTTPStatus.OK:
        return True
    if _is_gone(source, made) is not None:
        return False
    return made.is_enveloped and made.status in {
        HTTPStatus.NOT_FOUND,
        HTTPStatus.BAD_REQUEST,
    }


def _is_gone(source: SourceConfig, made: Contact) -> str | None:
    return retirement(httpx.URL(source.address).host, made.status, made.said)


def _list_call(place: Place, source: SourceConfig, made: Contact) -> Finding:
    check = "list call"
    if gone := _is_gone(source, made):
        return place.failed(check, gone, STILL_ANSWERS)
    if made.is_distrusted or made.status in REFUSED:
        return place.left_out(check, "needs a certificate and a key that are taken")
    if made.error is None:
        what = f"thread {made.thread_id} is" if made.lists_runs else "the threads are"
        return place.ok(check, f"{what} listed")
    if made.status == HTTPStatus.NOT_FOUND:
        return _not_found(place, made)
    if isinstance(made.error, RateLimitedError):
        return place.warning(check, made.said, "lower requests_per_minute")
    return place.failed(check, made.said, "see what the server's own log says")


def _not_found(place: Place, made: Contact) -> Finding:
    check = "list call"
    if not made.lists_runs:
        return place.failed(check, made.said)
    if not made.is_enveloped:
        told = "HTTP 404, and not in the words of the API"
        advice = "check the path of base_url, which often ends in /v1"
        return place.failed(check, told, advice)
    if made.is_tracked:
        told = f"thread {made.thread_id}, which is tracked: {made.said}"
        return place.warning(check, told, "see `runtide status` for threads that are gone")
    return place.ok(check, "a thread that nobody has is answered as one")


def _hash_key(settings: Settings, place: Place, source: SourceConfig) -> Finding:
    settings.hash_key(source)
    return place.ok("hash key", f"{source.privacy.hash_key_env} holds one")
