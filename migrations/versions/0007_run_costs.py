"""Views of single runs: their facts, the price that held, what they cost.

Prices are looked up when a view is read and stored nowhere else, so that a price that
is set, or a name that is mapped, counts at once for the runs of its validity. Prices
and names are worked out once in a query (MATERIALIZED): a planner without statistics of
these small tables would do it again for every run.
"""

from alembic import op

revision = "0007"
down_revision = "0006"

VIEWS = {
    "run_facts": (
        "One row per run, in OpenTelemetry's words: input includes cached tokens, output"
        " includes reasoning. Filter on created_at, which picks the months to read.",
        """
        SELECT r.source_id, s.name AS source, r.run_id, r.thread_id, r.assistant_id,
               r.model, r.status, r.created_at,
               (r.created_at AT TIME ZONE 'UTC')::date AS day,
               r.started_at, e.ended_at,
               r.prompt_tokens AS input_tokens,
               r.cached_prompt_tokens AS cached_input_tokens,
               r.completion_tokens AS output_tokens,
               r.reasoning_tokens AS reasoning_output_tokens,
               r.total_tokens,
               num_nonnulls(r.prompt_tokens, r.completion_tokens) > 0 AS has_usage,
               r.status NOT IN ('completed', 'failed', 'cancelled', 'expired', 'incomplete') AS is_open,
               r.status IN ('failed', 'expired', 'incomplete') AS is_error,
               r.status IN ('failed', 'expired', 'cancelled', 'incomplete') AS is_wasted,
               extract(epoch FROM r.started_at - r.created_at)::double precision AS queue_seconds,
               extract(epoch FROM e.ended_at - r.started_at)::double precision AS duration_seconds,
               r.last_error_code AS error_code, r.last_error_message AS error_message,
               r.incomplete_reason, r.truncation_type, r.truncation_last_messages,
               r.max_prompt_tokens AS max_input_tokens,
               r.max_completion_tokens AS max_output_tokens,
               r.metadata, r.changed_at
        FROM run_history.runs r
        JOIN run_sync.sources s USING (source_id)
        CROSS JOIN LATERAL (
            SELECT coalesce(r.completed_at, r.failed_at, r.cancelled_at) AS ended_at
        ) AS e
        """,
    ),
    "price_periods": (
        "What a model costs from one change of price to the next. A model has a price"
        " where both input and output have one; cached input without one costs as input.",
        """
        WITH periods AS MATERIALIZED (
            SELECT i.provider, i.model, i.valid_from,
                   lead(i.valid_from) OVER (PARTITION BY i.provider, i.model ORDER BY i.valid_from) AS valid_to,
                   input.usd_per_million AS input_usd_per_million,
                   coalesce(cached.usd_per_million, input.usd_per_million) AS cached_input_usd_per_million,
                   output.usd_per_million AS output_usd_per_million,
                   concat_ws(', ', input.origin, nullif(nullif(cached.origin, input.origin), output.origin),
                             nullif(output.origin, input.origin)) AS price_origin
            FROM (SELECT DISTINCT provider, model, effective_from AS valid_from
                  FROM run_analytics.model_prices) AS i
            CROSS JOIN LATERAL run_analytics.price_at(i.provider, i.model, 'input', i.valid_from) AS input
            CROSS JOIN LATERAL run_analytics.price_at(i.provider, i.model, 'output', i.valid_from) AS output
            LEFT JOIN LATERAL run_analytics.price_at(i.provider, i.model, 'cached_input', i.valid_from) AS cached ON true
        )
        SELECT * FROM periods
        """,
    ),
    "priced_models": (
        "Every name of a model that runs carry, and the priced model it stands for.",
        """
        WITH models AS MATERIALIZED (
            SELECT u.source_id, s.name AS source, u.model, s.price_provider AS provider,
                   found.model AS price_model,
                   CASE WHEN d.model IS NULL OR found.found_by IS NULL THEN found.found_by
                        ELSE 'configuration' END AS found_by
            FROM (SELECT DISTINCT source_id, model FROM run_analytics.daily_usage
                  WHERE model IS NOT NULL) AS u
            JOIN run_sync.sources s USING (source_id)
            LEFT JOIN run_analytics.deployments d ON d.source_id = u.source_id AND d.name = u.model
            LEFT JOIN LATERAL run_analytics.find_model(s.price_provider, coalesce(d.model, u.model)) AS found ON true
        )
        SELECT * FROM models
        """,
    ),
    "model_periods": (
        "What a name that runs carry costs from one change to the next. Before a version has a"
        " price of its own, that of its model holds.",
        """
        WITH periods AS MATERIALIZED (
            SELECT u.source_id, s.name AS source, u.model, p.valid_from,
                   least(p.valid_to, min(p.valid_from) OVER (
                       PARTITION BY u.source_id, u.model ORDER BY c.place
                       GROUPS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING)) AS valid_to,
                   p.provider, p.model AS price_model, p.input_usd_per_million,
                   p.cached_input_usd_per_million, p.output_usd_per_million, p.price_origin
            FROM (SELECT DISTINCT source_id, model FROM run_analytics.daily_usage
                  WHERE model IS NOT NULL) AS u
            JOIN run_sync.sources s USING (source_id)
            LEFT JOIN run_analytics.deployments d ON d.source_id = u.source_id AND d.name = u.model
            CROSS JOIN LATERAL run_analytics.candidates(s.price_provider, coalesce(d.model, u.model)) AS c
            JOIN run_analytics.price_periods p ON p.provider = s.price_provider AND p.model = c.model
        )
        SELECT * FROM periods WHERE valid_to IS NULL OR valid_from < valid_to
        """,
    ),
    "run_costs": (
        "One row per run with its cost: (input - cached) at the input price, cached at"
        " the cached price, output at the output price. Filter on created_at.",
        """
        SELECT f.source_id, f.source, f.run_id, f.thread_id, f.assistant_id, f.model,
               f.status, f.created_at, f.day, f.input_tokens, f.cached_input_tokens,
               f.output_tokens, f.reasoning_output_tokens, f.total_tokens, f.is_wasted,
               CASE WHEN NOT f.has_usage THEN 'no_usage'
                    WHEN p.price_model IS NULL THEN 'unpriced' ELSE 'priced' END AS cost_status,
               CASE WHEN f.has_usage THEN run_analytics.cost_usd(
                   coalesce(f.input_tokens, 0)::numeric,
                   run_analytics.billed_cached_tokens(f.input_tokens, f.cached_input_tokens),
                   coalesce(f.output_tokens, 0)::numeric,
                   p.input_usd_per_million, p.cached_input_usd_per_million, p.output_usd_per_million
               ) END AS cost_usd,
               p.provider AS price_provider, p.price_model, p.valid_from AS price_from,
               p.input_usd_per_million, p.cached_input_usd_per_million,
               p.output_usd_per_million, p.price_origin, f.metadata,
               f.error_code, f.incomplete_reason
        FROM run_analytics.run_facts f
        LEFT JOIN run_analytics.model_periods p
            ON p.source_id = f.source_id AND p.model = left(f.model, 200)
            AND f.created_at >= p.valid_from
            AND (p.valid_to IS NULL OR f.created_at < p.valid_to)
        """,
    ),
}

FUNCTIONS = {
    "price_at(provider text, model text, kind text, moment timestamptz)": (
        "The row of model_prices that holds at a moment: a user's own wins.",
        "TABLE (usd_per_million numeric, origin text)",
        """
        SELECT p.usd_per_million, p.origin
        FROM run_analytics.model_prices p
        WHERE p.provider = $1 AND p.model = $2 AND p.token_kind = $3 AND p.effective_from <= $4
        ORDER BY (p.origin = 'user') DESC, p.effective_from DESC, p.origin DESC
        LIMIT 1
        """,
    ),
    "candidates(provider text, name text)": (
        "The models whose price a name may have; where several have one, the first counts.",
        "TABLE (model text, found_by text, place integer)",
        """
        SELECT $2, 'name', 1
        UNION ALL
        SELECT n.model, 'other name', 2 FROM run_analytics.model_names n
        WHERE n.provider = $1 AND n.matches = 'exactly' AND n.name = $2
        UNION ALL
        SELECT undated.name, 'name without date', 3
        FROM (SELECT regexp_replace($2, '-[0-9]{4}-[0-9]{2}-[0-9]{2}$', '') AS name) AS undated
        UNION ALL
        SELECT n.model, 'beginning of the name', 4 FROM (
            SELECT b.model FROM run_analytics.model_names b
            WHERE b.provider = $1 AND b.matches = 'beginning' AND starts_with($2, b.name)
            ORDER BY length(b.name) DESC LIMIT 1
        ) AS n
        """,
    ),
    "find_model(provider text, name text)": (
        "The first candidate that has a price, and how it was found.",
        "TABLE (model text, found_by text)",
        """
        SELECT candidate.model, candidate.found_by
        FROM run_analytics.candidates($1, $2) AS candidate
        CROSS JOIN LATERAL (
            SELECT count(*) AS kinds, max(kind.since) AS since
            FROM (SELECT min(p.effective_from) AS since FROM run_analytics.model_prices p
                  WHERE p.provider = $1 AND p.model = candidate.model
                      AND p.token_kind IN ('input', 'output')
                  GROUP BY p.token_kind) AS kind
        ) AS whole
        WHERE whole.kinds = 2
        ORDER BY (whole.since <= now()) DESC, candidate.place LIMIT 1
        """,
    ),
}

COST = """
CREATE FUNCTION run_analytics.cost_usd(
    input_tokens numeric, cached_tokens numeric, output_tokens numeric,
    input_usd numeric, cached_usd numeric, output_usd numeric
) RETURNS numeric LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN ((input_tokens - cached_tokens) * input_usd + cached_tokens * cached_usd
        + output_tokens * output_usd) * 0.000001
"""
COST_COMMENT = "What tokens cost at prices for a million; exact, and null where a price is."

MEANINGS = {
    "source_id": "Where the run was read, as the tables of run_history know it.",
    "source": "Where the run was read: the source's name in the configuration.",
    "run_id": "The run.",
    "thread_id": "The run's thread.",
    "assistant_id": "The assistant that ran.",
    "model": "The model, by the name the server uses.",
    "status": "The run's status when it was last read.",
    "created_at": "When the run was created.",
    "day": "The day (UTC) on which the run was created.",
    "started_at": "When the run started.",
    "ended_at": "When the run completed, failed or was cancelled; the API tells no such time of an expired one.",
    "input_tokens": "Prompt tokens, the cached ones included; null until reported.",
    "cached_input_tokens": "Prompt tokens read from a cache; null where not reported.",
    "output_tokens": "Completion tokens, reasoning included; null until reported.",
    "reasoning_output_tokens": "Completion tokens spent on reasoning; null where not reported.",
    "total_tokens": "Tokens in total, as the server adds them up.",
    "has_usage": "Whether the run reports tokens.",
    "is_open": "Whether the run may still change.",
    "is_error": "Whether it ended without its whole answer: failed, expired or incomplete.",
    "is_wasted": "Whether its tokens bought no whole answer: failed, expired, cancelled or incomplete.",
    "queue_seconds": "Seconds from creation to start.",
    "duration_seconds": "Seconds from start to end.",
    "error_code": "last_error.code.",
    "error_message": "last_error.message.",
    "incomplete_reason": "incomplete_details.reason.",
    "truncation_type": "truncation_strategy.type: how earlier messages were left out.",
    "truncation_last_messages": "How many messages were kept, where truncation says so.",
    "max_input_tokens": "The limit on prompt tokens.",
    "max_output_tokens": "The limit on completion tokens.",
    "metadata": "The run's metadata.",
    "changed_at": "When a changed value was last read.",
    "provider": "Whose prices these are.",
    "valid_from": "Since when the prices hold.",
    "valid_to": "Until when; null where no change is known.",
    "input_usd_per_million": "US dollars for a million input tokens.",
    "cached_input_usd_per_million": "US dollars for a million cached input tokens.",
    "output_usd_per_million": "US dollars for a million output tokens.",
    "price_origin": "Where the prices come from: user, or a collection of facts and its version.",
    "price_provider": "Whose price was used.",
    "price_model": "The model whose price was used; null where none is known.",
    "found_by": "How the name led to a price: configuration, name, other name, name without date, beginning of the name.",
    "cost_status": "priced, unpriced (the price is not known) or no_usage (no tokens reported).",
    "cost_usd": "US dollars; null unless priced.",
    "price_from": "Since when the price that was used holds.",
}
OWN = {
    "price_periods.model": "The model, by the provider's name for it.",
    "model_periods.provider": "Whose prices its models have.",
    "priced_models.provider": "Whose prices its models have.",
}


def upgrade() -> None:
    for signature, (comment, returns, body) in FUNCTIONS.items():
        op.execute(
            f"CREATE FUNCTION run_analytics.{signature} RETURNS {returns}"
            f" LANGUAGE sql STABLE PARALLEL SAFE AS $${body}$$"
        )
        op.execute(
            f"COMMENT ON FUNCTION run_analytics.{_name(signature)} IS '{_quoted(comment)}'"
        )
    op.execute(COST)
    op.execute(f"COMMENT ON FUNCTION run_analytics.cost_usd IS '{COST_COMMENT}'")
    for view, (comment, query) in VIEWS.items():
        op.execute(f"CREATE VIEW run_analytics.{view} AS {query}")
        op.execute(f"COMMENT ON VIEW run_analytics.{view} IS '{_quoted(comment)}'")
        _comment_columns(view)


def downgrade() -> None:
    for view in reversed(VIEWS):
        op.execute(f"DROP VIEW run_analytics.{view}")
    for name in ("cost_usd", *map(_name, FUNCTIONS)):
        op.execute(f"DROP FUNCTION run_analytics.{name}")


def _comment_columns(view: str) -> None:
    columns = op.get_bind().exec_driver_sql(
        "SELECT attname FROM pg_attribute"
        f" WHERE attrelid = 'run_analytics.{view}'::regclass AND attnum > 0"
    )
    for column in columns.scalars().all():
        comment = _quoted(OWN.get(f"{view}.{column}") or MEANINGS[column])
        op.execute(f"COMMENT ON COLUMN run_analytics.{view}.{column} IS '{comment}'")


def _name(signature: str) -> str:
    return signature.partition("(")[0]


def _quoted(comment: str) -> str:
    return comment.replace("'", "''")
