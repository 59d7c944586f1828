"""What a report asks, as SQL: each statement reads views of run_analytics alone."""

from dataclasses import dataclass

from etl.analytics.report.period import Grain

MOST_MESSAGES = 300
MOST_GROWING = 100
MOST_THREADS = 50
"""So many by cost and so many by tokens; a filter can only choose among them."""

STRETCHES = {
    Grain.DAY: "day",
    Grain.WEEK: "date_trunc('week', day::timestamp)::date",
    Grain.MONTH: "date_trunc('month', day::timestamp)::date",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Wording:
    """How finely statements tell days and names apart, and of which source."""

    grain: Grain = Grain.DAY
    is_folded: bool = False
    has_source: bool = False

    @property
    def parts(self) -> dict[str, str]:
        """What stands in the place of the words in braces."""
        return {
            "stretch": STRETCHES[self.grain],
            "model": self._kept("model", "models"),
            "assistant_id": self._kept("assistant_id", "assistants"),
            "of_source": "\n    AND source = :source" if self.has_source else "",
        }

    def _kept(self, column: str, plural: str) -> str:
        if not self.is_folded:
            return column
        return (
            f"CASE WHEN {column} = ANY (:kept_{plural}) THEN {column}"
            f" ELSE '(other {plural})' END"
        )


SUMS = """sum(runs)::bigint AS runs, sum(unpriced_runs)::bigint AS unpriced_runs,
    sum(no_usage_runs)::bigint AS no_usage_runs,
    sum(input_tokens) AS input_tokens, sum(cached_input_tokens) AS cached_input_tokens,
    sum(output_tokens) AS output_tokens,
    sum(reasoning_output_tokens) AS reasoning_output_tokens,
    sum(total_tokens) AS total_tokens, sum(cost_usd) AS cost_usd,
    sum(wasted_runs)::bigint AS wasted_runs, sum(wasted_tokens) AS wasted_tokens,
    sum(wasted_cost_usd) AS wasted_cost_usd"""

TOTALS = f"""\
SELECT {SUMS}
FROM run_analytics.token_usage_daily
WHERE day BETWEEN :first_day AND :last_day{{of_source}}"""

USAGE = f"""\
SELECT {{stretch}} AS day, source, {{model}} AS model, {{assistant_id}} AS assistant_id,
    {SUMS}
FROM run_analytics.token_usage_daily
WHERE day BETWEEN :first_day AND :last_day{{of_source}}
GROUP BY 1, 2, 3, 4
ORDER BY 1, 2, 3, 4"""

WASTE = """\
SELECT {stretch} AS day, source, {model} AS model, {assistant_id} AS assistant_id, status,
    sum(runs)::bigint AS runs, sum(unpriced_runs)::bigint AS unpriced_runs,
    sum(total_tokens) AS total_tokens, sum(cost_usd) AS cost_usd
FROM run_analytics.run_waste
WHERE day BETWEEN :first_day AND :last_day{of_source}
GROUP BY 1, 2, 3, 4, 5
ORDER BY 1, 2, 3, 4, 5"""

FAILURES = """\
SELECT {stretch} AS day, source, {model} AS model, {assistant_id} AS assistant_id, status,
    coalesce(error_code, incomplete_reason) AS reason, count(*) AS runs,
    coalesce(sum(total_tokens), 0) AS total_tokens, max(created_at) AS last_run_at,
    (array_agg(run_id ORDER BY created_at DESC, run_id DESC))[1] AS example_run_id
FROM run_analytics.run_facts
WHERE created_at >= :begins_at AND created_at < :ends_at{of_source}
    AND is_error
GROUP BY 1, 2, 3, 4, 5, 6
ORDER BY 1, 2, 3, 4, 5, 6"""

MESSAGES = f"""\
SELECT {{stretch}} AS day, source, {{model}} AS model, {{assistant_id}} AS assistant_id,
    status, error_code, left(error_message, 500) AS error_message, count(*) AS runs,
    max(created_at) AS last_run_at
FROM run_analytics.run_facts
WHERE created_at >= :begins_at AND created_at < :ends_at{{of_source}}
    AND is_error AND error_message IS NOT NULL
GROUP BY 1, 2, 3, 4, 5, 6, 7
ORDER BY last_run_at DESC, 2, 3, 4, 5, 6, 7
LIMIT {MOST_MESSAGES}"""

LATENCY = """\
SELECT {stretch} AS day, source, {model} AS model, {assistant_id} AS assistant_id, measure,
    CASE WHEN measured > 0
         THEN round(measured::numeric, 1 - floor(log(measured::numeric))::int)
         ELSE 0 END AS seconds,
    count(*) AS runs
FROM run_analytics.run_facts
CROSS JOIN LATERAL (
    VALUES ('queue', queue_seconds), ('duration', duration_seconds)
) AS m (measure, measured)
WHERE created_at >= :begins_at AND created_at < :ends_at{of_source}
    AND measured >= 0
GROUP BY 1, 2, 3, 4, 5, 6
ORDER BY 1, 2, 3, 4, 5, 6"""

THREADS = f"""\
WITH cells AS (
    SELECT {{stretch}} AS day, source, {{model}} AS model, {{assistant_id}} AS assistant_id,
        thread_id, count(*) AS runs,
        count(*) FILTER (WHERE cost_status = 'unpriced') AS unpriced_runs,
        coalesce(sum(total_tokens), 0) AS total_tokens, sum(cost_usd) AS cost_usd,
        max(created_at) AS last_run_at
    FROM run_analytics.run_costs
    WHERE created_at >= :begins_at AND created_at < :ends_at{{of_source}}
    GROUP BY 1, 2, 3, 4, 5
), ranked AS (
    SELECT source, thread_id,
        row_number() OVER (ORDER BY sum(cost_usd) DESC NULLS LAST, sum(total_tokens) DESC,
                           source, thread_id) AS place_by_cost,
        row_number() OVER (ORDER BY sum(total_tokens) DESC, source, thread_id)
            AS place_by_tokens,
        count(*) OVER () AS threads
    FROM cells
    GROUP BY source, thread_id
)
SELECT cells.*, ranked.threads
FROM cells
JOIN ranked USING (source, thread_id)
WHERE {MOST_THREADS} >= least(place_by_cost, place_by_tokens)
ORDER BY day, source, model, assistant_id, thread_id"""

GROWTH = f"""\
SELECT source, thread_id, {{assistant_id}} AS assistant_id, count(*) AS runs,
    (array_agg(input_tokens ORDER BY created_at, run_id))[1] AS first_input_tokens,
    (array_agg(input_tokens ORDER BY created_at DESC, run_id DESC))[1] AS last_input_tokens,
    max(input_tokens) AS largest_input_tokens,
    regr_slope(input_tokens, place) AS input_tokens_per_run
FROM (
    SELECT source, thread_id, assistant_id, input_tokens, created_at, run_id,
        row_number() OVER (PARTITION BY source, thread_id, assistant_id
                           ORDER BY created_at, run_id) AS place
    FROM run_analytics.run_facts
    WHERE created_at >= :begins_at AND created_at < :ends_at{{of_source}}
        AND status = 'completed' AND input_tokens > 0
) AS answered
GROUP BY source, thread_id, answered.assistant_id
HAVING count(*) > 1
ORDER BY input_tokens_per_run DESC, runs DESC, source, thread_id, 3
LIMIT {MOST_GROWING}"""

TOOLS = """\
SELECT source, {assistant_id} AS assistant_id, tool_type, function_name,
    sum(runs)::bigint AS runs, max(last_run_at) AS last_run_at
FROM run_analytics.tool_usage
WHERE last_run_at >= :begins_at AND first_run_at < :ends_at{of_source}
GROUP BY 1, 2, 3, 4
ORDER BY 1, 2, 3, 4"""

FRESHNESS = """\
SELECT source, kind, complete_through, newest_run_at, threads, threads_complete,
    threads_failing, threads_never_read, threads_gone
FROM run_analytics.freshness
WHERE true{of_source}
ORDER BY source"""

DATED = {
    "usage": USAGE,
    "waste": WASTE,
    "failures": FAILURES,
    "latency": LATENCY,
    "threads": THREADS,
}
"""Those whose answers grow with the period and with what is told apart."""

OTHERS = {
    "totals": TOTALS,
    "messages": MESSAGES,
    "growth": GROWTH,
    "tools": TOOLS,
    "freshness": FRESHNESS,
}

NEWEST_DAY = """\
SELECT max(day) FROM run_analytics.token_usage_daily
WHERE day <= :today{of_source}"""

KEPT = """\
SELECT {column} FROM run_analytics.token_usage_daily
WHERE day BETWEEN :first_day AND :last_day{of_source}
    AND {column} IS NOT NULL
GROUP BY 1 ORDER BY sum(total_tokens) DESC, sum(runs) DESC, 1
LIMIT :most"""
