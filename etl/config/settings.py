"""The configuration together with the file it was read from and the environment."""

import re
from collections.abc import Mapping
from pathlib import Path

import msgspec

from etl.config.sections import (
    SPAN,
    AlertConfig,
    Config,
    ExportConfig,
    ScheduleConfig,
    SourceConfig,
)
from etl.domain.errors import ConfigError


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

    @property
    def metrics_file(self) -> Path | None:
        """Where figures for Prometheus are written after each sync, if anywhere."""
        told = self.config.metrics.file
        return None if told is None else (self.path.parent / told).absolute()

    @property
    def exports(self) -> tuple[ExportConfig, ...]:
        """Where exports go; a folder is told from the file's own place on.

        A catalog that is configured has its own word for a warehouse.
        """
        return tuple(
            each
            if "://" in each.to or each.catalog is not None
            else msgspec.structs.replace(
                each, to=str(self.path.parent / Path(each.to).expanduser())
            )
            for each in self.config.exports
        )

    @property
    def promised(self) -> tuple[ScheduleConfig, ...]:
        """The entries of the schedule; none where the file has no such section."""
        told = self.config.schedule
        if told is None:
            return ()
        return told if isinstance(told, tuple) else (told,)

    @property
    def schedule(self) -> tuple[ScheduleConfig, ...]:
        """What a scheduler goes by: every night at two (UTC), unless told otherwise."""
        return self.promised or (ScheduleConfig(),)

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

    def asked_sources(self, name: str | None = None) -> tuple[SourceConfig, ...]:
        """The sources that have a server, or the one of this name.

        Raises ConfigError where there is none.
        """
        chosen = self.sources(name)
        asked = tuple(source for source in chosen if source.is_asked)
        if asked:
            return asked
        raise ConfigError(
            f"Source {chosen[0].name!r} is an archive and has no server to ask;"
            " `runtide import` reads its files."
        )

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

    def client_secret(self, source: SourceConfig) -> str | None:
        """What an application shows to Entra; raises ConfigError where it is not set."""
        name = source.entra.client_secret_env if source.entra else None
        if name is None:
            return None
        secret = self.environment.get(name, "").strip()
        if not secret:
            raise ConfigError(
                f"The environment variable {name}, which holds the client secret of source"
                f" {source.name!r}, is not set; set it to the secret's value, which Azure"
                " shows only once."
            )
        return secret

    def hash_key(self, source: SourceConfig) -> bytes | None:
        """The key of the source's hashes; raises ConfigError where it is not set."""
        name = source.privacy.hash_key_env
        if name is None:
            return None
        key = self.environment.get(name, "").strip()
        if not key:
            raise ConfigError(
                f"The environment variable {name}, which holds the key of the hashes of"
                f" source {source.name!r}, is not set; set it to a long random text that"
                " stays the same."
            )
        return key.encode()

    def webhook(self, alert: AlertConfig) -> str | None:
        """The URL an alert is posted to; raises ConfigError where it is not usable."""
        if alert.url_env is None:
            return None
        url = self.environment.get(alert.url_env, "").strip()
        if not url.startswith(("https://", "http://")):
            raise ConfigError(
                f"The environment variable {alert.url_env}, which holds the URL that"
                " alerts are posted to, is not set to one that begins with https:// or"
                " http://; set it."
            )
        return url


def supposing(
    settings: Settings, *, window: str | None, requests_per_minute: int | None
) -> Settings:
    """The settings as if their window, or all sources' budgets, were others.

    Raises ConfigError where they cannot be.
    """
    config = settings.config
    told = {"window": window} if window else {}
    if window is not None and not re.fullmatch(SPAN, window):
        raise ConfigError(
            f"The window is {window!r}, expected a number and a unit, such as 90m or 8h."
        )
    budget = {"requests_per_minute": requests_per_minute} if requests_per_minute else {}
    return msgspec.structs.replace(
        settings,
        config=msgspec.structs.replace(
            config,
            sync=msgspec.structs.replace(config.sync, **told),
            sources=tuple(
                msgspec.structs.replace(each, **budget) for each in config.sources
            ),
        ),
    )
