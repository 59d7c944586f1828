"""What types cannot say about a configuration."""

import re
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cronsim import CronSim, CronSimError

from etl.config.sections import (
    AlertConfig,
    Config,
    ExportConfig,
    ScheduleConfig,
    SourceConfig,
)
from etl.domain.errors import ConfigError
from etl.domain.model_name import LONGEST_NAME, is_model

CRON_FIELDS = 5
SOME_DAY = datetime(2026, 1, 1, tzinfo=UTC)


def check(path: Path, config: Config) -> None:
    """Raise ConfigError where the parts of a configuration do not fit together."""
    names = [source.name for source in config.sources]
    for name in names:
        if names.count(name) > 1:
            raise ConfigError(f"{path}: two sources are named {name!r}; rename one.")
    for source in config.sources:
        _check_kind(path, source)
        _check_entra(path, source)
        _check_address(path, source)
        _check_privacy(path, source)
        _check_discovery(path, source)
        _check_models(path, source)
    entries = config.schedule
    for place, entry in _placed(entries):
        _check_entry(path, place, entry, names)
        _check_is_asked(path, place, entry, config)
    for number, alert in enumerate(config.alerts):
        _check_alert(path, f"alerts[{number}]", alert)
    for number, export in enumerate(config.exports):
        check_catalog(f"{path}: exports[{number}]", export)


def _placed(
    entries: ScheduleConfig | tuple[ScheduleConfig, ...] | None,
) -> list[tuple[str, ScheduleConfig]]:
    """Each entry of the schedule with the name of its place."""
    if isinstance(entries, tuple):
        return [(f"schedule[{number}]", each) for number, each in enumerate(entries)]
    return [] if entries is None else [("schedule", entries)]


SERVERS_OWN = ("base_url", "api_key_env", "list_threads", "discovery")
FOUNDRYS_OWN = ("entra",)


def _check_kind(path: Path, source: SourceConfig) -> None:
    """What each kind needs, and what it has no use for."""
    if source.is_asked and source.base_url is None:
        raise ConfigError(
            f"{path}: source {source.name!r} has no base_url; name the address of its"
            ' server, or set kind = "archive" where there are only files.'
        )
    useless = () if source.is_asked else SERVERS_OWN
    if source.kind != "foundry":
        useless = (*useless, *FOUNDRYS_OWN)
    for key in useless:
        if getattr(source, key) is not None:
            raise ConfigError(
                f"{path}: source {source.name!r} is of kind {source.kind!r} and has no use"
                f" for {key}; leave it out."
            )


OF_A_SECRET = ("tenant_id", "client_id", "client_secret_env")
USELESS = {
    "default": ("client_secret_env",),
    "client_secret": (),
    "managed_identity": ("tenant_id", "client_secret_env"),
}
"""What each credential has no use for."""


def _check_entra(path: Path, source: SourceConfig) -> None:
    """Whether a credential has what it needs, and nothing else lets runtide in."""
    entra = source.entra
    if entra is None:
        return
    place = f"{path}: source {source.name!r}"
    if source.api_key_env is not None:
        raise ConfigError(
            f"{place} names both api_key_env and entra; leave out entra where a ready"
            " token is to be used, else api_key_env."
        )
    missing = [each for each in OF_A_SECRET if getattr(entra, each) is None]
    if entra.credential == "client_secret" and missing:
        raise ConfigError(
            f"{place} asks Microsoft Entra with a client secret, and its entra has no"
            f" {' and no '.join(missing)}; add what is missing."
        )
    for key in USELESS[entra.credential]:
        if getattr(entra, key) is not None:
            raise ConfigError(
                f"{place} has the credential {entra.credential!r}, which has no use for"
                f' {key}; leave it out, or set credential = "client_secret".'
            )


def _check_address(path: Path, source: SourceConfig) -> None:
    try:
        urlsplit(source.address).port  # noqa: B018  # asked for its ValueError
    except ValueError as error:
        raise ConfigError(
            f"{path}: the base_url of source {source.name!r} is {source.address!r},"
            f" expected a host and perhaps a port ({error})."
        ) from error


def _check_privacy(path: Path, source: SourceConfig) -> None:
    privacy = source.privacy
    if "hash" in privacy.treatments and privacy.hash_key_env is None:
        raise ConfigError(
            f"{path}: source {source.name!r} hashes parts of its payloads, and its"
            " privacy has no hash_key_env; name the environment variable that holds"
            " the key."
        )


def _check_discovery(path: Path, source: SourceConfig) -> None:
    if source.discovery is not None and source.list_threads:
        raise ConfigError(
            f"{path}: source {source.name!r} has a discovery and list_threads = true; leave"
            " one of them out, for new threads are found in one way."
        )


def _check_models(path: Path, source: SourceConfig) -> None:
    for name, model in source.models.items():
        for flawed in (each for each in (name, model) if not is_model(each)):
            raise ConfigError(
                f"{path}: the models of source {source.name!r} map {name!r} to"
                f" {model!r}, and {flawed!r} cannot be a name: expected"
                f" 1 to {LONGEST_NAME} characters that can be printed, without spaces"
                " around them."
            )


def _check_entry(path: Path, place: str, entry: ScheduleConfig, names: list[str]) -> None:
    _check_zone(path, place, entry.timezone)
    _check_cron(path, place, entry.cron)
    if entry.source is not None and entry.source not in names:
        known = ", ".join(names) or "none"
        raise ConfigError(
            f"{path}: {place}.source is {entry.source!r}, but the sources are {known}."
        )


def _check_is_asked(path: Path, place: str, entry: ScheduleConfig, config: Config) -> None:
    for source in config.sources:
        if source.name == entry.source and not source.is_asked:
            raise ConfigError(
                f"{path}: {place}.source is {entry.source!r}, an archive, which has no"
                " server to ask; leave it out."
            )


def _check_zone(path: Path, place: str, name: str) -> None:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ConfigError(
            f"{path}: {place}.timezone is {name!r}, expected a name of the time zone"
            " database such as Europe/Berlin."
        ) from error


def _check_cron(path: Path, place: str, expression: str) -> None:
    if flaw := _cron_flaw(expression):
        raise ConfigError(
            f"{path}: {place}.cron is {expression!r}, expected five fields: minute,"
            f" hour, day of month, month, day of week ({flaw})."
        )


def _cron_flaw(expression: str) -> str | None:
    fields = len(expression.split())
    if fields != CRON_FIELDS:
        return f"there are {fields}"
    try:
        CronSim(expression, SOME_DAY)
    except CronSimError as error:
        return str(error).lower()
    return None


def _check_alert(path: Path, place: str, alert: AlertConfig) -> None:
    if bool(alert.command) == (alert.url_env is not None):
        raise ConfigError(
            f"{path}: {place} needs either a command or a url_env, and not both."
        )


SECRETIVE = re.compile(
    r"secret|password|token|credential|access-key|account-key|api-?key|authorization|sas"
)
"""What of a catalog's properties lets somebody in."""


def check_catalog(place: str, export: ExportConfig) -> None:
    """A catalog is of Iceberg tables, and its secrets stand in the environment."""
    if export.catalog is None:
        return
    if export.format != "iceberg":
        raise ConfigError(
            f'{place} has a catalog, which only format = "iceberg" needs; leave it out.'
        )
    name = str(export.catalog_name)
    told = export.catalog_properties
    secret = next((key for key in told if SECRETIVE.search(key.lower())), None)
    secret = secret or next((key for key in told if _lets_in(told[key])), None)
    if secret:
        told_as = name.replace("_", "-")  # PyIceberg reads no _ out of its environment
        rename = "" if told_as == name else f" name the catalog {told_as!r},"
        variable = f"{told_as}__{secret.replace('.', '__')}".replace("-", "_").upper()
        raise ConfigError(
            f"{place}.catalog holds a secret in {secret}; take it out,{rename} and set"
            f" PYICEBERG_CATALOG__{variable} in the environment."
        )


def _lets_in(address: str) -> bool:
    """Whether an address has a password before its host, or in what follows a ?."""
    path, _, query = address.partition("://")[2].partition("?")
    user = path.partition("/")[0].rpartition("@")[0]
    return ":" in user or bool(SECRETIVE.search(query.lower()))
