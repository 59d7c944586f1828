"""The configuration: who can read it, and whether what it names is there."""

import os
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path

from etl.config import EMBEDDED, AlertConfig, Settings
from etl.load.database import holds_secret
from etl.operations.doctor.finding import Finding, Place

PLACE = Place("configuration")
LAST_PORT = 65_535


def check_configuration(settings: Settings) -> Iterator[Finding]:
    """Check the file, and what alerts and metrics need; the latter if there are any."""
    yield PLACE.guarded("file", lambda: _file(settings))
    for number, alert in enumerate(settings.config.alerts):
        check = f"alerts[{number}]"
        yield PLACE.guarded(check, lambda c=check, a=alert: _alert(settings, c, a))  # type: ignore[misc]
    metrics = settings.config.metrics
    if metrics.address is not None:
        address = metrics.address
        yield PLACE.guarded("metrics.address", lambda: _address(address))
    if metrics.file is not None:
        path = settings.path.parent / metrics.file
        yield PLACE.guarded("metrics.file", lambda: _metrics_file(path))


def _file(settings: Settings) -> Finding:
    path = settings.path
    if path.stat().st_mode & stat.S_IROTH and _has_password(settings):
        return PLACE.warning(
            "file",
            f"every user of this machine can read the database's password in {path}",
            f"run `chmod 600 {path}`",
        )
    return PLACE.ok("file", f"{path} is read")


def _has_password(settings: Settings) -> bool:
    url = settings.config.database.url
    return url != EMBEDDED and holds_secret(url)


def _alert(settings: Settings, check: str, alert: AlertConfig) -> Finding:
    if alert.url_env is not None:
        settings.webhook(alert)
        return PLACE.ok(check, f"{alert.url_env} holds a URL")
    program = alert.command[0]
    if shutil.which(program) is None:
        return PLACE.failed(
            check,
            f"the command {program} is not there, or may not be executed",
            "correct its path, or run `chmod +x` on it",
        )
    return PLACE.ok(check, f"the command {program} can be executed")


def _address(address: str) -> Finding:
    host, _, port = address.rpartition(":")
    if not 0 < int(port) <= LAST_PORT:
        told = f"{port} is not a port"
        return PLACE.failed("metrics.address", told, f"choose one from 1 to {LAST_PORT}")
    return PLACE.ok("metrics.address", f"figures are offered at {host} port {port}")


def _metrics_file(path: Path) -> Finding:
    if not os.access(path.parent, os.W_OK | os.X_OK):
        return PLACE.failed(
            "metrics.file",
            f"{path.parent} is not there, or cannot be written",
            "make it, or name another file",
        )
    return PLACE.ok("metrics.file", f"{path} can be written")
