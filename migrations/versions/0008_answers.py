"""Views that answer questions.

By day, model, assistant, thread and tool; failures, waste, waiting, context and
truncation; how the syncs went, and how far they came.

Those of tokens and costs by day, model and assistant read the sums by day, and prices
of the moment; only days within which a price changes are read run by run.
"""

from alembic import op

revision = "0008"
down_revision = "0007"

START = "(({day})::timestamp AT TIME ZONE 'UTC')"

SUMS = """
    sum(runs)::bigint AS runs, sum(runs_with_usage)::bigint AS runs_with_usage,
    sum(input_tokens) AS input_tokens, sum(cached_input_tokens) AS cached_input_tokens,
    sum(output_tokens) AS output_tokens,
    sum(reasoning_output_tokens) AS reasoning_output_tokens,
    sum(total_tokens) AS total_tokens,
    sum(priced_runs)::bigint AS priced_runs, sum(unpriced_runs)::bigint AS unpriced_runs,
    sum(no_usage_runs)::bigint AS no_usage_runs, sum(cost_usd) AS cost_usd
"""
IS_WASTED = "status IN ('failed', 'expired', 'cancelled', 'incomplete')"
WASTED = f"""
    coalesce(sum(runs) FILTER (WHERE {IS_WASTED}), 0)::bigint AS wasted_runs,
    coalesce(sum(total_tokens) FILTER (WHERE {IS_WASTED}), 0) AS wasted_tokens,
    sum(cost_usd) FILTER (WHERE {IS_WASTED}) AS wasted_cost_usd
"""
OF_RUNS = """
    count(*) AS runs, count(*) FILTER (WHERE cost_status <> 'no_usage') AS runs_with_usage,
    coalesce(sum(input_tokens), 0) AS input_tokens,
    coalesce(sum(cached_input_tokens), 0) AS cached_input_tokens,
    coalesce(sum(output_tokens), 0) AS output_tokens,
    coalesce(sum(reasoning_output_tokens), 0) AS reasoning_output_tokens,
    coalesce(sum(total_tokens), 0) AS total_tokens,
    count(*) FILTER (WHERE cost_status = 'priced') AS priced_runs,
    count(*) FILTER (WHERE cost_status = 'unpriced') AS unpriced_runs,
    count(*) FILTER (WHERE cost_status = 'no_usage') AS no_usage_runs,
    sum(cost_usd) AS cost_usd
"""
"""The same sums, of single runs."""


def _percentiles(column: str, *shares: int) -> str:
    return ", ".join(
        f"percentile_cont(0.{share}) WITHIN GROUP (ORDER BY {column}) AS {column.partition('_')[0]}_p{share}_seconds"
        for share in shares
    )


VIEWS = {
    "repriced_days": (
        "Days within which a model's price changes: their runs are priced one by one.",
        """
        SELECT DISTINCT p.source_id, p.model, (p.valid_from AT TIME ZONE 'UTC')::date AS day
        FROM run_analytics.model_periods p
        WHERE (p.valid_from AT TIME ZONE 'UTC')::time > '00:00'
        """,
    ),
    "daily_costs": (
        "Tokens and costs by day, source, assistant, model and status.",
        f"""
        SELECT u.day, u.source_id, s.name AS source, u.assistant_id, u.model, u.status,
               u.runs, u.runs_with_usage, u.input_tokens, u.cached_input_tokens,
               u.output_tokens, u.reasoning_output_tokens, u.total_tokens,
               CASE WHEN p.price_model IS NULL THEN 0 ELSE u.runs_with_usage END AS priced_runs,
               CASE WHEN p.price_model IS NULL THEN u.runs_with_usage ELSE 0 END AS unpriced_runs,
               u.runs - u.runs_with_usage AS no_usage_runs,
               CASE WHEN u.runs_with_usage > 0 THEN run_analytics.cost_usd(
                   u.input_tokens, u.billed_cached_tokens, u.output_tokens,
                   p.input_usd_per_million, p.cached_input_usd_per_million, p.output_usd_per_million
               ) END AS cost_usd,
               CASE WHEN p.price_model IS NULL THEN u.total_tokens ELSE 0 END AS unpriced_tokens
        FROM run_analytics.daily_usage u
        JOIN run_sync.sources s USING (source_id)
        LEFT JOIN run_analytics.model_periods p
            ON p.source_id = u.source_id AND p.model = u.model
            AND {START.format(day="u.day")} >= p.valid_from
            AND (p.valid_to IS NULL OR {START.format(day="u.day")} < p.valid_to)
        WHERE NOT EXISTS (
            SELECT FROM run_analytics.repriced_days c
            WHERE c.source_id = u.source_id AND c.model = u.model AND c.day = u.day
        )
        UNION ALL
        SELECT c.day, c.source_id, r.source, r.assistant_id, c.model, r.status, r.runs,
               r.runs_with_usage, r.input_tokens, r.cached_input_tokens, r.output_tokens,
               r.reasoning_output_tokens, r.total_tokens, r.priced_runs,
               r.unpriced_runs, r.no_usage_runs, r.cost_usd, r.unpriced_tokens
        FROM run_analytics.repriced_days c
        CROSS JOIN LATERAL (
            SELECT source, left(assistant_id, 200) AS assistant_id,
                   left(status, 200) AS status, {OF_RUNS},
                   coalesce(sum(total_tokens) FILTER (WHERE cost_status = 'unpriced'), 0)
                       AS unpriced_tokens
            FROM run_analytics.run_costs
            WHERE source_id = c.source_id AND left(model, 200) = c.model
                AND created_at >= {START.format(day="c.day")}
                AND created_at < {START.format(day="c.day + 1")}
            GROUP BY 1, 2, 3
        ) AS r
        """,
    ),
    "token_usage_daily": (
        "Tokens and costs by day (UTC), source, assistant and model.",
        f"""
        SELECT day, source_id, source, assistant_id, model, {SUMS}, {WASTED}
        FROM run_analytics.daily_costs
        GROUP BY day, source_id, source, assistant_id, model
        """,
    ),
    "token_usage_by_model": (
        "Tokens and costs by source and model, over the whole history.",
        f"""
        SELECT source_id, source, model, min(day) AS first_day, max(day) AS last_day, {SUMS}, {WASTED}
        FROM run_analytics.daily_costs
        GROUP BY source_id, source, model
        """,
    ),
    "token_usage_by_assistant": (
        "Tokens and costs by source and assistant, over the whole history.",
        f"""
        SELECT source_id, source, assistant_id, min(day) AS first_day, max(day) AS last_day, {SUMS}, {WASTED}
        FROM run_analytics.daily_costs
        GROUP BY source_id, source, assistant_id
        """,
    ),
    "run_waste": (
        "Tokens and costs that bought no whole answer, by day, source, assistant, model and status.",
        f"""
        SELECT day, source_id, source, assistant_id, model, status, {SUMS}
        FROM run_analytics.daily_costs
        WHERE {IS_WASTED}
        GROUP BY day, source_id, source, assistant_id, model, status
        """,
    ),
    "unpriced_models": (
        "Models that used tokens on days without a known price: runtide prices set, or a name in the configuration.",
        """
        SELECT c.source_id, c.source, c.model, s.price_provider AS provider,
               sum(c.unpriced_runs)::bigint AS unpriced_runs,
               sum(c.unpriced_tokens) AS total_tokens,
               min(c.day) AS first_day, max(c.day) AS last_day
        FROM run_analytics.daily_costs c
        JOIN run_sync.sources s USING (source_id)
        WHERE c.unpriced_runs > 0
        GROUP BY c.source_id, c.source, c.model, s.price_provider
        """,
    ),
    "thread_overview": (
        "One row per thread that has runs: how long, how large, how dear, how it grew.",
        f"""
        SELECT c.source_id, c.source, c.thread_id, {OF_RUNS},
               count(*) FILTER (WHERE c.is_wasted) AS wasted_runs,
               coalesce(sum(c.total_tokens) FILTER (WHERE c.is_wasted), 0) AS wasted_tokens,
               sum(c.cost_usd) FILTER (WHERE c.is_wasted) AS wasted_cost_usd,
               count(DISTINCT c.assistant_id) AS assistants,
               max(c.input_tokens) AS largest_input_tokens,
               min(c.created_at) AS first_run_at, max(c.created_at) AS last_run_at,
               t.last_pass_at, t.gone_at
        FROM run_analytics.run_costs c
        LEFT JOIN run_sync.threads t ON t.source_id = c.source_id AND t.thread_id = c.thread_id
        GROUP BY c.source_id, c.source, c.thread_id, t.last_pass_at, t.gone_at
        """,
    ),
    "context_growth": (
        "How the prompts of a thread grow with one assistant, run by run.",
        """
        SELECT source_id, source, thread_id, assistant_id, count(*) AS runs,
               (array_agg(input_tokens ORDER BY created_at, run_id))[1] AS first_input_tokens,
               (array_agg(input_tokens ORDER BY created_at DESC, run_id DESC))[1] AS last_input_tokens,
               max(input_tokens) AS largest_input_tokens,
               regr_slope(input_tokens, place) AS input_tokens_per_run,
               min(created_at) AS first_run_at, max(created_at) AS last_run_at
        FROM (
            SELECT source_id, source, thread_id, assistant_id, input_tokens, created_at, run_id,
                   row_number() OVER (PARTITION BY source_id, thread_id, assistant_id
                                      ORDER BY created_at, run_id) AS place
            FROM run_analytics.run_facts
            WHERE status = 'completed' AND input_tokens > 0
        ) AS answered
        GROUP BY source_id, source, thread_id, assistant_id
        """,
    ),
    "truncation_in_effect": (
        "Which truncation runs had, by source, assistant, model and limits, and how many hit a limit.",
        """
        SELECT source_id, source, assistant_id, model, truncation_type,
               truncation_last_messages, max_input_tokens, max_output_tokens,
               count(*) AS runs,
               count(*) FILTER (WHERE incomplete_reason = 'max_prompt_tokens') AS runs_at_input_limit,
               count(*) FILTER (WHERE incomplete_reason = 'max_completion_tokens') AS runs_at_output_limit,
               coalesce(sum(input_tokens), 0) AS input_tokens,
               max(input_tokens) AS largest_input_tokens,
               min(created_at) AS first_run_at, max(created_at) AS last_run_at
        FROM run_analytics.run_facts
        GROUP BY source_id, source, assistant_id, model, truncation_type,
                 truncation_last_messages, max_input_tokens, max_output_tokens
        """,
    ),
    "run_latency_daily": (
        "Seconds that runs waited and worked, by day, source, assistant and model. Reads single runs: for a long history, filter run_facts on created_at.",
        f"""
        SELECT day, source_id, source, assistant_id, model, count(*) AS runs,
               count(queue_seconds) AS runs_started, count(duration_seconds) AS runs_ended,
               {_percentiles("queue_seconds", 50, 95, 99)},
               {_percentiles("duration_seconds", 50, 95, 99)},
               max(duration_seconds) AS duration_max_seconds
        FROM run_analytics.run_facts
        GROUP BY day, source_id, source, assistant_id, model
        """,
    ),
    "tool_usage": (
        "Tools that runs were given, by source, assistant and tool; a run with two tools counts with both.",
        """
        SELECT r.source_id, s.name AS source, r.assistant_id, t.tool_type, t.function_name,
               count(*) AS runs, count(DISTINCT r.thread_id) AS threads,
               min(r.created_at) AS first_run_at, max(r.created_at) AS last_run_at
        FROM run_history.runs r
        JOIN (SELECT DISTINCT tool_set_id, tool_type, function_name
              FROM run_history.tools) AS t USING (tool_set_id)
        JOIN run_sync.sources s USING (source_id)
        GROUP BY r.source_id, s.name, r.assistant_id, t.tool_type, t.function_name
        """,
    ),
    "run_failures": (
        "Runs that ended without their whole answer, by day, source, assistant, model, status and reason.",
        """
        SELECT day, source_id, source, assistant_id, model, status, error_code,
               incomplete_reason, count(*) AS runs,
               coalesce(sum(total_tokens), 0) AS total_tokens,
               max(created_at) AS last_run_at,
               (array_agg(run_id ORDER BY created_at DESC, run_id DESC))[1] AS example_run_id,
               count(*) FILTER (WHERE cost_status = 'unpriced') AS unpriced_runs,
               sum(cost_usd) AS cost_usd
        FROM run_analytics.run_costs
        WHERE status IN ('failed', 'expired', 'incomplete')
        GROUP BY day, source_id, source, assistant_id, model, status, error_code, incomplete_reason
        """,
    ),
    "sync_health": (
        "One row per sync: how long it took and what it brought.",
        """
        SELECT y.sync_id, y.started_at, y.finished_at,
               extract(epoch FROM y.finished_at - y.started_at)::double precision AS seconds,
               y.trigger,
               (SELECT array_agg(s.name ORDER BY s.name) FROM run_sync.sources s
                WHERE s.source_id = ANY (y.source_ids)) AS sources,
               y.outcome, y.threads_due, y.threads, y.threads_failed, y.pages, y.requests,
               y.retries, y.runs_read, y.runs_created, y.runs_updated, y.runs_unchanged,
               y.rejects, y.database_bytes, y.error
        FROM run_sync.syncs y
        """,
    ),
    "freshness": (
        "How far each source is complete: every tracked thread has been read up to complete_through.",
        """
        SELECT s.source_id, s.name AS source, s.kind,
               count(t.thread_id) AS threads,
               count(*) FILTER (WHERE t.gone_at IS NULL AND t.consecutive_errors = 0 AND t.last_pass_at IS NOT NULL) AS threads_complete,
               count(*) FILTER (WHERE t.gone_at IS NULL AND t.consecutive_errors > 0) AS threads_failing,
               count(t.thread_id) FILTER (WHERE t.gone_at IS NULL AND t.last_pass_at IS NULL) AS threads_never_read,
               count(*) FILTER (WHERE t.gone_at IS NOT NULL) AS threads_gone,
               CASE WHEN count(t.thread_id) FILTER (WHERE t.gone_at IS NULL AND t.last_pass_at IS NULL) = 0
                    THEN min(t.last_pass_at) FILTER (WHERE t.gone_at IS NULL) END AS complete_through,
               max(t.last_run_at) AS newest_run_at
        FROM run_sync.sources s
        LEFT JOIN run_sync.threads t USING (source_id)
        GROUP BY s.source_id, s.name, s.kind
        """,
    ),
}

COLUMNS = """
    day date, source_id smallint, source text, assistant_id text, model text, runs bigint,
    runs_with_usage bigint, input_tokens numeric, cached_input_tokens numeric,
    output_tokens numeric, reasoning_output_tokens numeric, total_tokens numeric,
    priced_runs bigint, unpriced_runs bigint, no_usage_runs bigint, cost_usd numeric,
    wasted_runs bigint, wasted_tokens numeric, wasted_cost_usd numeric
"""

USAGE_IN = f"""
CREATE FUNCTION run_analytics.token_usage_daily_in(
    time_zone text, first_day date DEFAULT '-infinity', last_day date DEFAULT 'infinity'
) RETURNS TABLE ({COLUMNS}) LANGUAGE sql STABLE AS $$
    SELECT (created_at AT TIME ZONE $1)::date, source_id, source, assistant_id, model,
           {OF_RUNS},
           count(*) FILTER (WHERE is_wasted),
           coalesce(sum(total_tokens) FILTER (WHERE is_wasted), 0),
           sum(cost_usd) FILTER (WHERE is_wasted)
    FROM run_analytics.run_costs
    WHERE created_at >= CASE WHEN isfinite($2) THEN $2::timestamp AT TIME ZONE $1
                             ELSE '-infinity' END
      AND created_at < CASE WHEN isfinite($3) THEN ($3 + 1)::timestamp AT TIME ZONE $1
                            ELSE 'infinity' END
    GROUP BY 1, 2, 3, 4, 5
$$
"""
USAGE_IN_COMMENT = (
    "token_usage_daily with the days of a time zone (Europe/Berlin), both days included."
    " Reads single runs: name the first day of a long history."
)

MEANINGS = {
    "source_id": "Where the runs were read, as the tables of run_history know it.",
    "source": "Where the runs were read: the source's name in the configuration.",
    "thread_id": "The thread.",
    "assistant_id": "The assistant that ran.",
    "model": "The model, by the name the server uses.",
    "status": "The status the runs ended with.",
    "day": "The day (UTC) on which the runs were created.",
    "first_day": "The first day (UTC) with such a run.",
    "last_day": "The last day (UTC) with such a run.",
    "runs": "How many runs.",
    "runs_with_usage": "Those that report tokens.",
    "input_tokens": "Prompt tokens, the cached ones included.",
    "cached_input_tokens": "Prompt tokens read from a cache.",
    "output_tokens": "Completion tokens, reasoning included.",
    "reasoning_output_tokens": "Completion tokens spent on reasoning.",
    "total_tokens": "Tokens in total, as the server adds them up.",
    "priced_runs": "Runs whose tokens have a price.",
    "unpriced_runs": "Runs with tokens but without a known price: not in cost_usd.",
    "no_usage_runs": "Runs that report no tokens: not in cost_usd.",
    "cost_usd": "US dollars of the priced runs; null where there is none.",
    "unpriced_tokens": "Tokens without a known price, as the server adds them up.",
    "wasted_runs": "Runs that failed, expired, were cancelled or ended incomplete.",
    "wasted_tokens": "Tokens of the wasted runs.",
    "wasted_cost_usd": "US dollars of the wasted runs; null where none is priced.",
    "provider": "Whose prices the source's models have.",
    "assistants": "How many different assistants ran.",
    "largest_input_tokens": "The most prompt tokens of one run.",
    "first_run_at": "When the first of the runs was created.",
    "last_run_at": "When the last of the runs was created.",
    "last_pass_at": "When the last complete pass read the thread's end.",
    "gone_at": "When the thread was tombstoned.",
    "first_input_tokens": "Prompt tokens of the first completed run.",
    "last_input_tokens": "Prompt tokens of the last completed run.",
    "input_tokens_per_run": "By how many prompt tokens each run is longer than the one before: the slope of a line through all.",
    "truncation_type": "truncation_strategy.type.",
    "truncation_last_messages": "How many messages were kept, where truncation says so.",
    "max_input_tokens": "The limit on prompt tokens.",
    "max_output_tokens": "The limit on completion tokens.",
    "runs_at_input_limit": "Runs that ended incomplete because of the limit on prompt tokens.",
    "runs_at_output_limit": "Runs that ended incomplete because of the limit on completion tokens.",
    "runs_started": "Those that have started.",
    "runs_ended": "Those whose start and end are known.",
    "queue_p50_seconds": "Half of the runs started within so many seconds.",
    "queue_p95_seconds": "95 in 100 runs started within so many seconds.",
    "queue_p99_seconds": "99 in 100 runs started within so many seconds.",
    "duration_p50_seconds": "Half of the runs took so many seconds at most.",
    "duration_p95_seconds": "95 in 100 runs took so many seconds at most.",
    "duration_p99_seconds": "99 in 100 runs took so many seconds at most.",
    "duration_max_seconds": "The longest run.",
    "tool_type": "The tool's type.",
    "function_name": "The function's name.",
    "threads": "How many threads.",
    "error_code": "last_error.code.",
    "incomplete_reason": "incomplete_details.reason.",
    "example_run_id": "The last such run.",
    "sync_id": "Counts syncs upward.",
    "started_at": "When the sync began.",
    "finished_at": "When it ended; null while it works or if it died.",
    "seconds": "How long it took.",
    "trigger": "What started it.",
    "sources": "The sources it read.",
    "outcome": "succeeded, partial, failed or interrupted; null while it works.",
    "threads_due": "Threads it had before it.",
    "threads_failed": "Threads whose pass failed.",
    "pages": "Pages committed.",
    "requests": "HTTP attempts.",
    "retries": "Second and later attempts.",
    "runs_read": "Runs on the committed pages.",
    "runs_created": "Rows inserted.",
    "runs_updated": "Rows changed.",
    "runs_unchanged": "Runs whose row was already right.",
    "rejects": "Payloads quarantined.",
    "database_bytes": "Size of the whole database when the sync ended.",
    "error": "Why it failed, in a sentence.",
    "kind": "The protocol the source speaks.",
    "threads_complete": "Threads whose last pass read their end.",
    "threads_failing": "Threads whose last pass failed.",
    "threads_never_read": "Threads that no pass has read to their end yet.",
    "threads_gone": "Threads that the server no longer knows; their runs stay.",
    "complete_through": "Every run created before this, in every tracked thread that is not gone, is in the tables as it was then; null where a thread was never read.",
    "newest_run_at": "When the newest run was created.",
}
OWN = {
    "sync_health.threads": "Threads whose pass ended, well or not.",
    "freshness.threads": "Tracked threads.",
    "freshness.source_id": "The source, as the tables of run_history know it.",
    "freshness.source": "The source's name in the configuration.",
    "daily_costs.status": "The status the runs have now.",
    "repriced_days.day": "The day (UTC).",
    "unpriced_models.total_tokens": "Their tokens, which are in no cost.",
}


def upgrade() -> None:
    for view, (comment, query) in VIEWS.items():
        op.execute(f"CREATE VIEW run_analytics.{view} AS {query}")
        op.execute(f"COMMENT ON VIEW run_analytics.{view} IS '{_quoted(comment)}'")
        _comment_columns(view)
    op.execute(USAGE_IN)
    op.execute(
        f"COMMENT ON FUNCTION run_analytics.token_usage_daily_in IS '{USAGE_IN_COMMENT}'"
    )


def downgrade() -> None:
    op.execute("DROP FUNCTION run_analytics.token_usage_daily_in")
    for view in reversed(VIEWS):
        op.execute(f"DROP VIEW run_analytics.{view}")


def _comment_columns(view: str) -> None:
    columns = op.get_bind().exec_driver_sql(
        "SELECT attname FROM pg_attribute"
        f" WHERE attrelid = 'run_analytics.{view}'::regclass AND attnum > 0"
    )
    for column in columns.scalars().all():
        comment = _quoted(OWN.get(f"{view}.{column}") or MEANINGS[column])
        op.execute(f"COMMENT ON COLUMN run_analytics.{view}.{column} IS '{comment}'")


def _quoted(comment: str) -> str:
    return comment.replace("'", "''")
