"""Schema `run_analytics`: prices, and the sums by day; its views are the migrations'."""

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Date,
    Index,
    Numeric,
    SmallInteger,
    Table,
    Text,
)

from etl.load.tables.columns import ANALYTICS, Xid8, column, instant, metadata
from etl.load.tables.sync import source_id

model_prices = Table(
    "model_prices",
    metadata,
    column("provider", Text, "Who asks for it: openai, azure …", primary_key=True),
    column("model", Text, "The model, by the provider's name for it.", primary_key=True),
    column("token_kind", Text, "input, cached_input or output.", primary_key=True),
    column("usd_per_million", Numeric, "US dollars for a million tokens.", nullable=False),
    instant(
        "effective_from",
        "Since when; until the next row of the same kind begins.",
        primary_key=True,
    ),
    column(
        "origin",
        Text,
        "user, or where the price was found; a user's row wins.",
        primary_key=True,
    ),
    CheckConstraint(
        "token_kind IN ('input', 'cached_input', 'output')",
        name="model_prices_token_kind_check",
    ),
    CheckConstraint(
        "usd_per_million >= 0 AND usd_per_million < 'Infinity'",
        name="model_prices_usd_per_million_check",
    ),
    CheckConstraint("isfinite(effective_from)", name="model_prices_effective_from_check"),
    schema=ANALYTICS,
    comment="What a million tokens cost, by model and kind, with history.",
)

model_names = Table(
    "model_names",
    metadata,
    column("provider", Text, "Whose names these are.", primary_key=True),
    column("name", Text, "The name, or how it begins.", primary_key=True),
    column(
        "matches",
        Text,
        "exactly, or beginning: every name that begins so.",
        primary_key=True,
    ),
    column(
        "model",
        Text,
        "The model whose price holds: run_analytics.model_prices.",
        nullable=False,
    ),
    column("origin", Text, "Where this was found.", nullable=False),
    CheckConstraint(
        "matches IN ('exactly', 'beginning')", name="model_names_matches_check"
    ),
    schema=ANALYTICS,
    comment="Other names of priced models: versions, old names, fine-tuned ones.",
)

deployments = Table(
    "deployments",
    metadata,
    source_id("The source that uses the name.", primary_key=True),
    column("name", Text, "The name that its runs carry.", primary_key=True),
    column("model", Text, "The model it stands for.", nullable=False),
    schema=ANALYTICS,
    comment="Names of a source's own, as the configuration tells them.",
)

daily_usage = Table(
    "daily_usage",
    metadata,
    column("day", Date, "The day (UTC) on which the runs were created.", nullable=False),
    column(
        "source_id",
        SmallInteger,
        "Where they were read: run_sync.sources.",
        nullable=False,
    ),
    column("assistant_id", Text, "The assistant that ran."),
    column("model", Text, "The model, by the name the server uses."),
    column("status", Text, "The status they have now.", nullable=False),
    column("runs", BigInteger, "How many runs.", nullable=False),
    column("runs_with_usage", BigInteger, "Those that report tokens.", nullable=False),
    column(
        "input_tokens", Numeric, "Prompt tokens, the cached ones included.", nullable=False
    ),
    column(
        "cached_input_tokens", Numeric, "Prompt tokens read from a cache.", nullable=False
    ),
    column(
        "billed_cached_tokens",
        Numeric,
        "The cached ones that count: never more than a run's prompt.",
        nullable=False,
    ),
    column(
        "output_tokens", Numeric, "Completion tokens, reasoning included.", nullable=False
    ),
    column(
        "reasoning_output_tokens",
        Numeric,
        "Completion tokens spent on reasoning.",
        nullable=False,
    ),
    column(
        "total_tokens",
        Numeric,
        "Tokens in total, as the server adds them up.",
        nullable=False,
    ),
    Index(
        "daily_usage_key",
        "day",
        "source_id",
        "assistant_id",
        "model",
        "status",
        unique=True,
        postgresql_nulls_not_distinct=True,
    ),
    schema=ANALYTICS,
    comment="Tokens by day; follows run_history.runs within each transaction.",
)

month_changes = Table(
    "month_changes",
    metadata,
    column("relation", Text, "runs or threads.", primary_key=True),
    column(
        "source_id",
        SmallInteger,
        "The source, as run_sync.sources knows it.",
        primary_key=True,
        autoincrement=False,
    ),
    column(
        "month",
        Date,
        "The first day (UTC) of the month in which runs were created, or threads tracked.",
        primary_key=True,
    ),
    column(
        "change_xid",
        Xid8,
        "The transaction that changed, added or took a row of it last.",
        nullable=False,
    ),
    schema=ANALYTICS,
    comment="Which months have changed, for those who carry them away;"
    " follows the tables within each transaction.",
)
