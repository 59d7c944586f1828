"""The configuration: `config.toml` and the environment, read once, checked whole."""

from etl.config.reading import FILE_NAME, read_settings
from etl.config.sections import (
    EMBEDDED,
    AlertConfig,
    Config,
    DatabaseConfig,
    DiscoveryConfig,
    EntraConfig,
    Event,
    ExportConfig,
    MetricsConfig,
    PrivacyConfig,
    ScheduleConfig,
    SourceConfig,
    SyncConfig,
    Treatment,
)
from etl.config.settings import Settings, supposing

__all__ = [
    "EMBEDDED",
    "FILE_NAME",
    "AlertConfig",
    "Config",
    "DatabaseConfig",
    "DiscoveryConfig",
    "EntraConfig",
    "Event",
    "ExportConfig",
    "MetricsConfig",
    "PrivacyConfig",
    "ScheduleConfig",
    "Settings",
    "SourceConfig",
    "SyncConfig",
    "Treatment",
    "read_settings",
    "supposing",
]
