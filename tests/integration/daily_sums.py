"""The sums by day as the runs themselves give them, to compare with those kept."""

SUMMED_UP = """
    SELECT created_at::date, source_id, left(assistant_id, 200), left(model, 200),
           left(status, 200), count(*),
           count(*) FILTER (WHERE prompt_tokens IS NOT NULL
                            OR completion_tokens IS NOT NULL),
           coalesce(sum(prompt_tokens), 0), coalesce(sum(cached_prompt_tokens), 0),
           sum(CASE WHEN cached_prompt_tokens <= 0 OR prompt_tokens <= 0
                         OR cached_prompt_tokens IS NULL OR prompt_tokens IS NULL THEN 0
                    WHEN cached_prompt_tokens > prompt_tokens THEN prompt_tokens
                    ELSE cached_prompt_tokens END),
           coalesce(sum(completion_tokens), 0), coalesce(sum(reasoning_tokens), 0),
           coalesce(sum(total_tokens), 0)
    FROM run_history.runs GROUP BY 1, 2, 3, 4, 5
"""
KEPT = """
    SELECT day, source_id, assistant_id, model, status, runs, runs_with_usage,
           input_tokens, cached_input_tokens, billed_cached_tokens, output_tokens,
           reasoning_output_tokens, total_tokens
    FROM run_analytics.daily_usage
"""
DIFFERENCES = f"({SUMMED_UP} EXCEPT {KEPT}) UNION ALL ({KEPT} EXCEPT {SUMMED_UP})"
"""Days that are not what the runs say; none, whenever one looks."""
