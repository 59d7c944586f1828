"""Tokens by day, kept by the tables themselves: whoever writes runs, the sums follow.

Triggers of `run_history.runs` add what a statement added and take away what it took,
in its own transaction. Rows that move between partitions count once, because the
triggers are those of the whole table. A partition that is dropped or detached by hand
is not seen: `SELECT run_analytics.rebuild_daily_usage()` sums up anew.

Going down drops the sums; going up again makes them from the runs.
"""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"

KEYS = "day, source_id, assistant_id, model, status"
SUMS = (
    "runs",
    "runs_with_usage",
    "input_tokens",
    "cached_input_tokens",
    "billed_cached_tokens",
    "output_tokens",
    "reasoning_output_tokens",
    "total_tokens",
)

MEASURED = """
    (created_at AT TIME ZONE 'UTC')::date AS day, source_id,
    left(assistant_id, 200) AS assistant_id, left(model, 200) AS model,
    left(status, 200) AS status,
    {sign} AS runs,
    {sign} * (num_nonnulls(prompt_tokens, completion_tokens) > 0)::int
        AS runs_with_usage,
    {sign} * coalesce(prompt_tokens, 0)::numeric AS input_tokens,
    {sign} * coalesce(cached_prompt_tokens, 0)::numeric AS cached_input_tokens,
    {sign} * run_analytics.billed_cached_tokens(prompt_tokens, cached_prompt_tokens)
        AS billed_cached_tokens,
    {sign} * coalesce(completion_tokens, 0)::numeric AS output_tokens,
    {sign} * coalesce(reasoning_tokens, 0)::numeric AS reasoning_output_tokens,
    {sign} * coalesce(total_tokens, 0)::numeric AS total_tokens
"""
"""What one run adds to its day, or with the sign -1 takes away; no index could hold
the names that some servers make up in full."""

TOTALS = ", ".join(f"sum({name})" for name in SUMS)
ADDED = ", ".join(f"{name} = d.{name} + excluded.{name}" for name in SUMS)
IS_CHANGE = " OR ".join(f"sum({name}) <> 0" for name in SUMS)

BILLED_CACHED = """
CREATE FUNCTION run_analytics.billed_cached_tokens(input bigint, cached bigint)
RETURNS numeric LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN greatest(least(coalesce(cached, 0), coalesce(input, 0)), 0)::numeric
"""

ADD_UP = f"""
    INSERT INTO run_analytics.daily_usage AS d ({KEYS}, {", ".join(SUMS)})
    SELECT {KEYS}, {TOTALS}
    FROM ({{changes}}) AS changes
    GROUP BY {KEYS}
    HAVING {IS_CHANGE}
    ORDER BY {KEYS}
    ON CONFLICT ({KEYS}) DO UPDATE SET {ADDED};
"""

CLEAR = """
    DELETE FROM run_analytics.daily_usage d
    USING (SELECT DISTINCT (created_at AT TIME ZONE 'UTC')::date AS day, source_id
           FROM runs_before) AS touched
    WHERE d.day = touched.day AND d.source_id = touched.source_id AND d.runs = 0;
"""

AFTER = f"SELECT {MEASURED.format(sign=1)} FROM runs_after"
BEFORE = f"SELECT {MEASURED.format(sign=-1)} FROM runs_before"

FOLLOW = f"""
CREATE FUNCTION run_analytics.follow_runs() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        {ADD_UP.format(changes=AFTER)}
    ELSIF TG_OP = 'UPDATE' THEN
        {ADD_UP.format(changes=f"{AFTER} UNION ALL {BEFORE}")}
        {CLEAR}
    ELSIF TG_OP = 'DELETE' THEN
        {ADD_UP.format(changes=BEFORE)}
        {CLEAR}
    ELSE
        TRUNCATE run_analytics.daily_usage;
    END IF;
    RETURN NULL;
END
$$
"""

REBUILD = f"""
CREATE FUNCTION run_analytics.rebuild_daily_usage() RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    LOCK TABLE run_history.runs IN SHARE ROW EXCLUSIVE MODE;
    DELETE FROM run_analytics.daily_usage; -- a report at work still sees what was there
    {ADD_UP.format(changes=f"SELECT {MEASURED.format(sign=1)} FROM run_history.runs")}
END
$$
"""

TRIGGERS = {
    "INSERT": "REFERENCING NEW TABLE AS runs_after",
    "UPDATE": "REFERENCING OLD TABLE AS runs_before NEW TABLE AS runs_after",
    "DELETE": "REFERENCING OLD TABLE AS runs_before",
    "TRUNCATE": "",
}
"""What each is told of the statement that fired it."""

FUNCTIONS = {
    "billed_cached_tokens": "Cached tokens that count: never more than the prompt has, never below 0.",
    "follow_runs": "Adds to the days what a statement changed in run_history.runs.",
    "rebuild_daily_usage": "Sums up all days anew; needed only after a partition was dropped by hand.",
}


def upgrade() -> None:
    _create()
    for function in (BILLED_CACHED, FOLLOW, REBUILD):
        op.execute(function)
    for name, comment in FUNCTIONS.items():
        op.execute(f"COMMENT ON FUNCTION run_analytics.{name} IS '{comment}'")
    op.execute(
        "REVOKE ALL ON FUNCTION run_analytics.follow_runs, run_analytics.rebuild_daily_usage FROM PUBLIC"
    )
    for event, told in TRIGGERS.items():
        op.execute(
            f"CREATE TRIGGER follow_{event.lower()} AFTER {event} ON run_history.runs {told}"
            " FOR EACH STATEMENT EXECUTE FUNCTION run_analytics.follow_runs()"
        )
    op.execute("SELECT run_analytics.rebuild_daily_usage()")


def downgrade() -> None:
    for event in TRIGGERS:
        op.execute(f"DROP TRIGGER follow_{event.lower()} ON run_history.runs")
    op.drop_table("daily_usage", schema="run_analytics")
    for name in reversed(FUNCTIONS):
        op.execute(f"DROP FUNCTION run_analytics.{name}")


def _create() -> None:
    op.create_table(
        "daily_usage",
        sa.Column(
            "day",
            sa.Date(),
            nullable=False,
            comment="The day (UTC) on which the runs were created.",
        ),
        sa.Column(
            "source_id",
            sa.SmallInteger(),
            nullable=False,
            comment="Where they were read: run_sync.sources.",
        ),
        sa.Column("assistant_id", sa.Text(), comment="The assistant that ran."),
        sa.Column("model", sa.Text(), comment="The model, by the name the server uses."),
        sa.Column("status", sa.Text(), nullable=False, comment="The status they have now."),
        sa.Column("runs", sa.BigInteger(), nullable=False, comment="How many runs."),
        sa.Column(
            "runs_with_usage",
            sa.BigInteger(),
            nullable=False,
            comment="Those that report tokens.",
        ),
        sa.Column(
            "input_tokens",
            sa.Numeric(),
            nullable=False,
            comment="Prompt tokens, the cached ones included.",
        ),
        sa.Column(
            "cached_input_tokens",
            sa.Numeric(),
            nullable=False,
            comment="Prompt tokens read from a cache.",
        ),
        sa.Column(
            "billed_cached_tokens",
            sa.Numeric(),
            nullable=False,
            comment="The cached ones that count: never more than a run's prompt.",
        ),
        sa.Column(
            "output_tokens",
            sa.Numeric(),
            nullable=False,
            comment="Completion tokens, reasoning included.",
        ),
        sa.Column(
            "reasoning_output_tokens",
            sa.Numeric(),
            nullable=False,
            comment="Completion tokens spent on reasoning.",
        ),
        sa.Column(
            "total_tokens",
            sa.Numeric(),
            nullable=False,
            comment="Tokens in total, as the server adds them up.",
        ),
        schema="run_analytics",
        comment="Tokens by day; follows run_history.runs within each transaction.",
        postgresql_with={"fillfactor": 70},
    )
    op.execute(
        "CREATE UNIQUE INDEX daily_usage_key ON run_analytics.daily_usage"
        f" ({KEYS}) NULLS NOT DISTINCT"
    )
