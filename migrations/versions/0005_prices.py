"""What models cost: prices with their history, and the names they go by.

The facts are those of the package genai-prices 0.2.3 (MIT licence), read on
2026-11-23: OpenAI's models that are priced by text tokens alone, base prices without
tiers, batch and priority (scripts/extract_prices.py). They are a start: what a user
sets has `user` for its origin, and wins.

Going down sets the tables aside in `run_analytics_parked`; going up again takes them
back.
"""

import csv
from pathlib import Path

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"

ORIGIN = "genai-prices 0.2.3"
FACTS = Path(__file__).parent.parent / "data" / "genai_prices_0_2_3"
PARKED = "run_analytics_parked"
TABLES = ("model_prices", "model_names", "deployments")


REVISION = """
CREATE FUNCTION run_analytics.schema_revision() RETURNS text
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$ SELECT version_num FROM run_sync.alembic_version $$
"""


def upgrade() -> None:
    op.execute("CREATE SCHEMA run_analytics")
    op.execute(REVISION)
    op.execute(
        "COMMENT ON FUNCTION run_analytics.schema_revision IS"
        " 'The revision of the schema, for those who may not read run_sync.'"
    )
    op.execute("COMMENT ON SCHEMA run_analytics IS 'What people query.'")
    op.add_column(
        "sources",
        sa.Column(
            "price_provider",
            sa.Text(),
            server_default="openai",
            nullable=False,
            comment="Whose prices its models have: run_analytics.model_prices.",
        ),
        schema="run_sync",
    )
    if op.get_bind().scalar(sa.select(sa.func.to_regnamespace(PARKED))) is not None:
        for table in TABLES:
            op.execute(f"ALTER TABLE {PARKED}.{table} SET SCHEMA run_analytics")
        op.execute(f"DROP SCHEMA {PARKED}")
    else:
        _create()
        _seed()


def downgrade() -> None:
    op.execute(f"CREATE SCHEMA {PARKED}")
    for table in TABLES:
        op.execute(f"ALTER TABLE run_analytics.{table} SET SCHEMA {PARKED}")
    op.execute("DROP FUNCTION run_analytics.schema_revision")
    op.execute("DROP SCHEMA run_analytics")
    op.drop_column("sources", "price_provider", schema="run_sync")


def _create() -> None:
    op.create_table(
        "model_prices",
        sa.Column(
            "provider",
            sa.Text(),
            nullable=False,
            comment="Who asks for it: openai, azure …",
        ),
        sa.Column(
            "model",
            sa.Text(),
            nullable=False,
            comment="The model, by the provider's name for it.",
        ),
        sa.Column(
            "token_kind",
            sa.Text(),
            nullable=False,
            comment="input, cached_input or output.",
        ),
        sa.Column(
            "usd_per_million",
            sa.Numeric(),
            nullable=False,
            comment="US dollars for a million tokens.",
        ),
        sa.Column(
            "effective_from",
            sa.DateTime(timezone=True),
            nullable=False,
            comment="Since when; until the next row of the same kind begins.",
        ),
        sa.Column(
            "origin",
            sa.Text(),
            nullable=False,
            comment="user, or where the price was found; a user's row wins.",
        ),
        sa.CheckConstraint(
            "token_kind IN ('input', 'cached_input', 'output')",
            name="model_prices_token_kind_check",
        ),
        sa.CheckConstraint(
            "usd_per_million >= 0 AND usd_per_million < 'Infinity'",
            name="model_prices_usd_per_million_check",
        ),
        sa.CheckConstraint(
            "isfinite(effective_from)", name="model_prices_effective_from_check"
        ),
        sa.PrimaryKeyConstraint(
            "provider",
            "model",
            "token_kind",
            "effective_from",
            "origin",
            name="model_prices_pkey",
        ),
        schema="run_analytics",
        comment="What a million tokens cost, by model and kind, with history.",
    )
    op.create_table(
        "model_names",
        sa.Column("provider", sa.Text(), nullable=False, comment="Whose names these are."),
        sa.Column("name", sa.Text(), nullable=False, comment="The name, or how it begins."),
        sa.Column(
            "matches",
            sa.Text(),
            nullable=False,
            comment="exactly, or beginning: every name that begins so.",
        ),
        sa.Column(
            "model",
            sa.Text(),
            nullable=False,
            comment="The model whose price holds: run_analytics.model_prices.",
        ),
        sa.Column("origin", sa.Text(), nullable=False, comment="Where this was found."),
        sa.CheckConstraint(
            "matches IN ('exactly', 'beginning')", name="model_names_matches_check"
        ),
        sa.PrimaryKeyConstraint("provider", "name", "matches", name="model_names_pkey"),
        schema="run_analytics",
        comment="Other names of priced models: versions, old names, fine-tuned ones.",
    )
    op.create_table(
        "deployments",
        sa.Column(
            "source_id",
            sa.SmallInteger(),
            autoincrement=False,
            nullable=False,
            comment="The source that uses the name.",
        ),
        sa.Column(
            "name", sa.Text(), nullable=False, comment="The name that its runs carry."
        ),
        sa.Column("model", sa.Text(), nullable=False, comment="The model it stands for."),
        sa.ForeignKeyConstraint(
            ["source_id"], ["run_sync.sources.source_id"], name="deployments_source_id_fkey"
        ),
        sa.PrimaryKeyConstraint("source_id", "name", name="deployments_pkey"),
        schema="run_analytics",
        comment="Names of a source's own, as the configuration tells them.",
    )


def _seed() -> None:
    prices = sa.table(
        "model_prices",
        *map(sa.column, ("provider", "model", "token_kind", "origin")),
        sa.column("usd_per_million", sa.Numeric()),
        sa.column("effective_from", sa.DateTime(timezone=True)),
        schema="run_analytics",
    )
    names = sa.table(
        "model_names",
        *map(sa.column, ("provider", "name", "matches", "model", "origin")),
        schema="run_analytics",
    )
    known = {"provider": "openai", "origin": ORIGIN}
    op.bulk_insert(
        prices,
        [
            {**row, **known, "effective_from": f"{row['effective_from']}T00:00:00+00:00"}
            for row in _facts("prices")
        ],
    )
    op.bulk_insert(names, [{**row, **known} for row in _facts("names")])


def _facts(which: str) -> list[dict[str, str]]:
    path = FACTS.with_name(f"{FACTS.name}_{which}.csv")
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))
