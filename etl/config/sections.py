"""The sections of `config.toml`, with their defaults and bounds."""

from datetime import timedelta
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

EMBEDDED = "embedded"

Kind = Literal["openai", "foundry", "archive"]
Name = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_.-]{1,64}\Z")]
Variable = Annotated[str, Meta(pattern=r"^[A-Za-z_][A-Za-z0-9_]*\Z")]
SPAN = r"^[1-9][0-9]{0,3}[smhdw]\Z"
Span = Annotated[str, Meta(pattern=SPAN)]
Treatment = Literal["keep", "hash", "omit"]
Credential = Literal["default", "client_secret", "managed_identity"]
ExportFormat = Literal["parquet", "jsonl", "iceberg"]
Event = Literal["failed", "overdue", "recovered"]

SECONDS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400, "w": 604_800}


def span(text: str) -> timedelta:
    """A span such as 90s, 5m, 12h, 30d or 4w as a duration."""
    return timedelta(seconds=int(text[:-1]) * SECONDS[text[-1]])


class _Section(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A table of the file."""


class DatabaseConfig(_Section, frozen=True):
    """Where the tables are: `embedded`, or a Postgres URL."""

    url: str = EMBEDDED
    data_dir: str = ".runtide/postgres"


class PrivacyConfig(_Section, frozen=True):
    """What of a source's payloads is kept, hashed with a key, or left out.

    `metadata` is for every key that `metadata_keys` does not name.
    """

    instructions: Treatment = "keep"
    tools: Treatment = "keep"
    tool_call_arguments: Treatment = "keep"
    error_messages: Treatment = "keep"
    unknown_fields: Treatment = "keep"
    metadata: Treatment = "keep"
    metadata_keys: dict[str, Treatment] = msgspec.field(default_factory=dict)
    hash_key_env: Variable | None = None

    @property
    def treatments(self) -> set[Treatment]:
        """Every treatment that is asked for anywhere."""
        return {
            self.instructions,
            self.tools,
            self.tool_call_arguments,
            self.error_messages,
            self.unknown_fields,
            self.metadata,
            *self.metadata_keys.values(),
        }


class EntraConfig(_Section, frozen=True):
    """Who asks Microsoft Entra for tokens; the secret stands in a variable."""

    credential: Credential = "default"
    tenant_id: str | None = None
    client_id: str | None = None
    client_secret_env: Variable | None = None
    scope: str = "https://ai.azure.com/.default"


class DiscoveryConfig(_Section, frozen=True):
    """Where new threads are found at every sync: a query of the application's own.

    `whole_every` is how often a query with a position begins at its start once more.
    """

    sql: Annotated[str, Meta(min_length=1)]
    url_env: Variable
    timeout: Span = "5m"
    whole_every: Span = "7d"


class SourceConfig(_Section, frozen=True):
    """One server that is asked for runs, or an archive of files.

    `models` tells which model a name of the server's own stands for; `list_threads`
    whether the server's own list of threads is read (a Foundry has one, and so it is).
    """

    name: Name
    base_url: (
        Annotated[str, Meta(pattern=r"^https?://[^\s/@?\0]+(/[^\s@?\0]*)?\Z")] | None
    ) = None
    kind: Kind = "openai"
    api_version: Annotated[str, Meta(pattern=r"^[A-Za-z0-9.-]{1,40}\Z")] = "v1"
    entra: EntraConfig | None = None
    list_threads: bool | None = None
    discovery: DiscoveryConfig | None = None
    api_key_env: Variable | None = None
    requests_per_minute: Annotated[int, Meta(ge=1, le=10_000_000)] = 900
    trusted: bool = True
    price_provider: Name = "openai"
    models: dict[str, str] = msgspec.field(default_factory=dict)
    privacy: PrivacyConfig = PrivacyConfig()

    @property
    def is_asked(self) -> bool:
        """Whether there is a server; an archive has only files, for `runtide import`."""
        return self.kind != "archive"

    @property
    def address(self) -> str:
        """The base URL of a source that is asked."""
        return self.base_url or ""


class SyncConfig(_Section, frozen=True):
    """How a sync works; each source has its own workers.

    `window` is how long it may take: where not all threads can be asked in it, those
    that are due are, and none later than `max_interval`. `lease` is how long a process
    that does not answer keeps its part of a shared sync.
    """

    workers: Annotated[int, Meta(ge=1, le=256)] = 8
    page_size: Annotated[int, Meta(ge=1, le=100)] = 100
    window: Span | None = None
    lease: Span = "60s"
    max_interval: Annotated[str, Meta(pattern=r"^[1-9][0-9]{0,3}[hdw]\Z")] = "30d"
    full_walk_every: Annotated[str, Meta(pattern=r"^[1-9][0-9]{0,3}[hdw]$")] | None = None
    keep_ledger: Annotated[str, Meta(pattern=r"^[1-9][0-9]{0,3}[hdw]$")] = "365d"

    @property
    def longest_wait(self) -> timedelta:
        """After how long every thread is asked again."""
        return span(self.max_interval)

    @property
    def lease_seconds(self) -> float:
        """How long a process keeps its part of a shared sync without a sign of life."""
        return span(self.lease).total_seconds()

    @property
    def time_allowed(self) -> timedelta | None:
        """How long a sync may take; None is as long as it needs."""
        return None if self.window is None else span(self.window)

    @property
    def full_walk(self) -> timedelta | None:
        """How often every thread is read from its start; None is never."""
        return None if self.full_walk_every is None else span(self.full_walk_every)

    @property
    def ledger_kept(self) -> timedelta:
        """How long the rows of the ledger stay."""
        return span(self.keep_ledger)


class ScheduleConfig(_Section, frozen=True):
    """When a scheduled sync begins, of all sources or of one."""

    cron: str = "0 2 * * *"
    timezone: str = "UTC"
    source: Name | None = None
    jitter: Span | None = None
    on_start: bool = False
    overdue_after: Span = "1h"


class MetricsConfig(_Section, frozen=True):
    """Where figures for Prometheus go: an address to ask, a file to collect."""

    address: Annotated[str, Meta(pattern=r"^[^\s:]+:[0-9]{1,5}\Z")] | None = None
    file: str | None = None


class AlertConfig(_Section, frozen=True):
    """Who is told of what: a command, or the webhook whose URL a variable holds."""

    on: tuple[Event, ...] = ("failed", "overdue", "recovered")
    command: tuple[str, ...] = ()
    url_env: Variable | None = None


class ExportConfig(_Section, frozen=True):
    """Where run history goes on to as files, and as which.

    A catalog of Iceberg tables is named, or described as PyIceberg has it; without one
    it stands in the database itself.
    """

    to: Annotated[str, Meta(min_length=1)]
    format: ExportFormat = "parquet"
    catalog: str | dict[str, str] | None = None
    namespace: Annotated[str, Meta(pattern=r"^[A-Za-z0-9_]+(\.[A-Za-z0-9_]+)*\Z")] = (
        "runtide"
    )

    @property
    def catalog_name(self) -> str | None:
        """The name of a catalog that is configured; None for the database's own."""
        if isinstance(self.catalog, dict):
            return self.catalog.get("name", "default")
        return self.catalog

    @property
    def catalog_properties(self) -> dict[str, str]:
        """What is said of a catalog besides its name."""
        told = self.catalog if isinstance(self.catalog, dict) else {}
        return {key: value for key, value in told.items() if key != "name"}


class Config(_Section, frozen=True):
    """The whole file, with the environment's word over it."""

    database: DatabaseConfig = DatabaseConfig()
    sources: tuple[SourceConfig, ...] = ()
    sync: SyncConfig = SyncConfig()
    schedule: ScheduleConfig | tuple[ScheduleConfig, ...] | None = None
    metrics: MetricsConfig = MetricsConfig()
    alerts: tuple[AlertConfig, ...] = ()
    exports: tuple[ExportConfig, ...] = ()
