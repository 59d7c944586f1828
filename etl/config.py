"""The configuration: `config.toml` and the environment, read once, checked whole."""

import difflib
import os
import re
import tomllib
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Literal, get_args
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec
from msgspec import Meta

from etl.domain.errors import ConfigError

FILE_NAME = "config.toml"
HOUR = timedelta(hours=1)
EMBEDDED = "embedded"

Kind = Literal["openai"]
Name = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_.-]{1,64}\Z")]
Variable = Annotated[str, Meta(pattern=r"^[A-Za-z_][A-Za-z0-9_]*\Z")]


class _Section(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A table of the file."""


class DatabaseConfig(_Section, frozen=True):
    """Where the tables are: `embedded`, or a Postgres URL."""

    url: str = EMBEDDED
    data_dir: str = ".runtide/postgres"


class SourceConfig(_Section, frozen=True):
    """One server that is asked for runs."""

    name: Name
    base_url: Annotated[str, Meta(pattern=r"^https?://[^\s/@?\0]+(/[^\s@?\0]*)?\Z")]
    kind: Kind = "openai"
    api_key_env: Variable | None = None
    requests_per_minute: Annotated[int, Meta(ge=1, le=10_000_000)] = 900
    trusted: bool = True


class SyncConfig(_Section, frozen=True):
    """How a sync works; each source has its own workers."""

    workers: Annotated[int, Meta(ge=1, le=256)] = 8
    page_size: Annotated[int, Meta(ge=1, le=100)] = 100
    full_walk_every: Annotated[str, Meta(pattern=r"^[1-9][0-9]{0,3}[hdw]$")] | None = None

    @property
    def full_walk(self) -> timedelta | None:
        """How often every thread is read from its start; None is never."""
        if self.full_walk_every is None:
            return None
        number, unit = int(self.full_walk_every[:-1]), self.full_walk_every[-1]
        return number * {"h": HOUR, "d": 24 * HOUR, "w": 168 * HOUR}[unit]


class ScheduleConfig(_Section, frozen=True):
    """When a scheduled sync begins."""

    cron: str = "0 2 * * *"
    timezone: str = "UTC"


class Config(_Section, frozen=True):
    """The whole file, with the environment's word over it."""

    database: DatabaseConfig = DatabaseConfig()
    sources: tuple[SourceConfig, ...] = ()
    sync: SyncConfig = SyncConfig()
    schedule: ScheduleConfig = ScheduleConfig()


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """The configuration, the file it was read from, and the environment."""

    path: Path
    config: Config
    environment: Mapping[str, str]

    @property
    def database_url(self) -> str:
        """The database's URL, or `embedded`."""
        return self.environment.get("RUNTIDE_DATABASE_URL") or self.config.database.url

    @property
    def data_dir(self) -> Path:
        """Where the embedded server keeps its files."""
        return (self.path.parent / self.config.database.data_dir).absolute()

    def sources(self, name: str | None = None) -> tuple[SourceConfig, ...]:
        """All sources, or the one of this name; raises ConfigError where there is none."""
        sources = self.config.sources
        if not sources:
            raise ConfigError(f"{self.path} names no [[sources]]; add one to it.")
        if name is None:
            return sources
        found = tuple(source for source in sources if source.name == name)
        if not found:
            known = ", ".join(source.name for source in sources)
            raise ConfigError(f"{self.path} has no source {name!r}; it has {known}.")
        return found

    def api_key(self, source: SourceConfig) -> str | None:
        """The source's API key; raises ConfigError where it is named but not usable."""
        if source.api_key_env is None:
            return None
        key = self.environment.get(source.api_key_env, "").strip()
        if not key:
            raise ConfigError(
                f"The environment variable {source.api_key_env}, which holds the API key"
                f" of source {source.name!r}, is not set; set it, or leave api_key_env"
                f" out of {self.path} where no key is needed."
            )
        if not (key.isascii() and key.isprintable()):
            raise ConfigError(
                f"The environment variable {source.api_key_env} of source"
                f" {source.name!r} holds characters that no API key has; set it anew."
            )
        return key


def read_settings(
    path: Path | None, environment: Mapping[str, str] = os.environ
) -> Settings:
    """Read the file at `path`, else at RUNTIDE_CONFIG, else `config.toml` here.

    Raises ConfigError with the file, the key, what was found and what was expected.
    """
    chosen = path or Path(environment.get("RUNTIDE_CONFIG") or FILE_NAME)
    return Settings(path=chosen.absolute(), config=_read(chosen), environment=environment)


def _read(path: Path) -> Config:
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ConfigError(
            f"There is no {path}; run `runtide init` to write one, or name another"
            " file with --config."
        ) from error
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}.") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not TOML: {error}.") from error
    config = _convert(path, tables)
    _check(path, config)
    return config


def _convert(path: Path, tables: dict[str, Any]) -> Config:
    try:
        return msgspec.convert(tables, Config)
    except msgspec.ValidationError as error:
        raise ConfigError(f"{path}: {_explain(str(error), tables)}") from error


def _explain(said: str, tables: dict[str, Any]) -> str:
    """Say what msgspec says, with the key's name and what was found there."""
    said, _, place = said.partition(" - at `$")
    key = place.rstrip("`").removeprefix(".")
    if unknown := re.search(r"unknown field `(.*)`", said):
        return _explain_unknown(key, unknown.group(1))
    if missing := re.search(r"missing required field `(.*)`", said):
        return f"{key} has no {missing.group(1)}; add it."
    found = _shown(key, _value_at(tables, key))
    expected = said.replace("`", "").replace("Expected ", "").partition(", got")[0]
    return f"{key} is {found}, expected {_in_words(expected.removesuffix(' | null'))}."


def _shown(key: str, value: Any) -> str:
    """A value for a message, unless a password or an API key may stand in it."""
    match value:
        case dict():
            return "a table"
        case list():
            return "a list"
        case str() if SECRETIVE.search(key) or "@" in value or "?" in value:
            return "not shown, it may be a secret"
        case _:
            return repr(value)


SECRETIVE = re.compile(r"(^database\.url|\.api_key_env|^sources(\[\d+\])?)\Z")
"""Keys at which people put secrets, rightly or by mistake."""


def _explain_unknown(place: str, name: str) -> str:
    key = f"{place}.{name}" if place else name
    struct = _struct_at(place)
    known = [field.name for field in msgspec.structs.fields(struct)]
    close = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean {close[0]}?" if close else f"known are {', '.join(known)}."
    return f"{key} is not a key of runtide; {hint}"


def _struct_at(place: str) -> type[msgspec.Struct]:
    sections: dict[str, type[msgspec.Struct]] = {
        "database": DatabaseConfig,
        "sources": SourceConfig,
        "sync": SyncConfig,
        "schedule": ScheduleConfig,
    }
    return sections.get(place.partition("[")[0], Config)


def _value_at(tables: Any, key: str) -> Any:
    for name, index in re.findall(r"(\w+)|\[(\d+)\]", key):
        tables = tables[name] if name else tables[int(index)]
    return tables


IN_WORDS = {
    r"str matching regex '^[A-Za-z0-9_.-]{1,64}\\Z'": (
        "1 to 64 letters, digits, dots, dashes or underscores"
    ),
    r"str matching regex '^[A-Za-z_][A-Za-z0-9_]*\\Z'": (
        "the name of an environment variable, never the key itself"
    ),
    r"str matching regex '^https?://[^\\s/@?\\0]+(/[^\\s@?\\0]*)?\\Z'": (
        "an address that begins with https:// or http://, without user or query"
    ),
    r"str matching regex '^[1-9][0-9]{0,3}[hdw]$'": (
        "a number of hours, days or weeks such as 12h, 30d or 4w"
    ),
    "bool": "true or false",
    "int": "a whole number",
    "str": "a text in quotes",
    "object": "a table",
    "array": "a list of tables, each under [[sources]]",
}
"""What msgspec expects, as a person would say it."""


def _in_words(expected: str) -> str:
    if expected.startswith("Invalid enum"):
        return " or ".join(get_args(Kind))
    kind, space, bound = expected.partition(" ")
    if expected in IN_WORDS:
        return IN_WORDS[expected]
    return IN_WORDS.get(kind, kind) + space + bound


def _check(path: Path, config: Config) -> None:
    """Check what types cannot say."""
    names = [source.name for source in config.sources]
    for name in names:
        if names.count(name) > 1:
            raise ConfigError(f"{path}: two sources are named {name!r}; rename one.")
    for source in config.sources:
        _check_address(path, source)
    schedule = config.schedule
    try:
        ZoneInfo(schedule.timezone)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ConfigError(
            f"{path}: schedule.timezone is {schedule.timezone!r}, expected a name of"
            " the time zone database such as Europe/Berlin."
        ) from error
    if schedule != ScheduleConfig():
        _check_cron(path, schedule.cron)


def _check_address(path: Path, source: SourceConfig) -> None:
    try:
        urlsplit(source.base_url).port  # noqa: B018  # asked for its ValueError
    except ValueError as error:
        raise ConfigError(
            f"{path}: the base_url of source {source.name!r} is {source.base_url!r},"
            f" expected a host and perhaps a port ({error})."
        ) from error


def _check_cron(path: Path, expression: str) -> None:
    from apscheduler.triggers.cron import CronTrigger  # noqa: PLC0415  # slow to import

    try:
        CronTrigger.from_crontab(expression, timezone="UTC")
    except ValueError as error:
        raise ConfigError(
            f"{path}: schedule.cron is {expression!r}, expected five fields: minute,"
            f" hour, day of month, month, day of week ({error})."
        ) from error
