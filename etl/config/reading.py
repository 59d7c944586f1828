"""From the file to checked settings."""

import os
import stat
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from etl.config.checks import check
from etl.config.explaining import explain
from etl.config.sections import Config
from etl.config.settings import Settings
from etl.domain.errors import ConfigError

FILE_NAME = "config.toml"


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
        mode = path.stat().st_mode
    except FileNotFoundError as error:
        raise ConfigError(
            f"There is no {path}; run `runtide init` to write one, or name another"
            " file with --config."
        ) from error
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}.") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not TOML: {error}.") from error
    if mode & stat.S_IWOTH:
        raise ConfigError(
            f"{path} can be written by every user of this machine, and it names"
            f" addresses and commands; run `chmod o-w {path}`."
        )
    config = _convert(path, tables)
    check(path, config)
    return config


def _convert(path: Path, tables: dict[str, Any]) -> Config:
    try:
        return msgspec.convert(tables, Config)
    except msgspec.ValidationError as error:
        raise ConfigError(f"{path}: {explain(str(error), tables)}") from error
