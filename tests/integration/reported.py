"""A database that reports are made of: prices, two sources, some hostile texts."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

import sqlalchemy as sa
from sqlalchemy.engine import URL, Engine

from etl.load.database import opened
from tests.conftest import _database

NOW = datetime(2026, 10, 20, 12, tzinfo=UTC)
HOSTILE_MODEL = '</script><img src=x onerror="window.hacked=1">'
HOSTILE_ASSISTANT = "<img src=x onerror=window.hacked=1>{{7*7}}"
HOSTILE_SOURCE = "<b>two</b>{{7*7}}"
HOSTILE_CODE = "<script>window.hacked=1</script>"
HOSTILE_MESSAGE = "{{7*7}} <!-- </script><img src=x onerror=window.hacked=1> \u2028 ${7*7}"

RUNS = 400
"""From 2026-09-30 to 2026-10-19; 2026-10-04 has none."""

SEED = """
INSERT INTO run_sync.sources (source_id, name, kind, base_url)
VALUES (1, 'one', 'openai', 'http://one/v1'), (2, :source, 'openai', 'http://two/v1');

INSERT INTO run_sync.threads (source_id, thread_id, tracked_at, last_pass_at)
SELECT s, 'thread_' || n, '2026-09-01', '2026-10-20 02:00+00'
FROM generate_series(1, 2) AS s, generate_series(0, 69) AS n;

INSERT INTO run_analytics.model_prices
    (provider, model, token_kind, usd_per_million, effective_from, origin)
VALUES ('openai', 'a', 'input', 2.5, '2020-01-01', 'user'),
       ('openai', 'a', 'cached_input', 1.25, '2020-01-01', 'user'),
       ('openai', 'a', 'output', 10, '2020-01-01', 'user'),
       ('openai', :model, 'input', 0.123456789012, '2020-01-01', 'user'),
       ('openai', :model, 'output', 0.7, '2020-01-01', 'user');

INSERT INTO run_history.tools (tool_set_id, position, tool_type, function_name)
VALUES ('00000000-0000-0000-0000-000000000001', 0, 'function', 'weather');

INSERT INTO run_history.runs (source_id, run_id, thread_id, assistant_id, status, model,
    created_at, started_at, completed_at, prompt_tokens, cached_prompt_tokens,
    completion_tokens, reasoning_tokens, total_tokens, last_error_code,
    last_error_message, incomplete_reason, tool_set_id, first_seen_at, changed_at, sync_id)
SELECT 1 + n % 2, 'run_' || n, 'thread_' || n % 70,
    CASE n % 3 WHEN 0 THEN :assistant WHEN 1 THEN 'asst_b' END, status,
    CASE n % 5 WHEN 0 THEN :model WHEN 1 THEN 'a' WHEN 2 THEN 'a'
               WHEN 3 THEN 'nobody-knows' END,
    at, at + make_interval(secs => n * n % 7),
    CASE WHEN status IN ('completed', 'incomplete')
         THEN at + make_interval(secs => n * n % 7 + 0.37 * (n * n % 997)) END,
    CASE WHEN has_usage THEN input END, CASE WHEN has_usage THEN input / 3 END,
    CASE WHEN has_usage THEN output END, CASE WHEN has_usage THEN output / 4 END,
    CASE WHEN has_usage THEN input + output END,
    CASE WHEN status = 'failed' THEN :code END,
    CASE WHEN status = 'failed' THEN :message END,
    CASE WHEN status = 'incomplete' THEN 'max_prompt_tokens' END,
    '00000000-0000-0000-0000-000000000001', at, at, 1
FROM generate_series(1, :runs) AS n
CROSS JOIN LATERAL (SELECT
    timestamptz '2026-10-01' + make_interval(days => (CASE WHEN n % 19 < 4 THEN n % 19
        ELSE n % 19 + 1 END)::int - 1, secs => n * 37 % 80000) AS at,
    (ARRAY['completed', 'completed', 'completed', 'failed', 'expired', 'incomplete',
           'cancelled'])[1 + n % 7] AS status,
    n % 11 > 0 AS has_usage, 1000 + n * 131 % 9001 AS input, n * 17 % 1009 AS output
) AS drawn
"""


def seed(engine: Engine) -> None:
    """Fill a database that has the newest schema and no rows."""
    values = {
        "source": HOSTILE_SOURCE,
        "model": HOSTILE_MODEL,
        "assistant": HOSTILE_ASSISTANT,
        "code": HOSTILE_CODE,
        "message": HOSTILE_MESSAGE,
        "runs": RUNS,
    }
    with engine.begin() as connection:
        for statement in SEED.split(";\n"):
            clause = sa.text(statement)
            given = {name: values[name] for name in clause.compile().params}
            connection.execute(clause, given)
        connection.execute(sa.text("ANALYZE"))  # as the server does by itself, later


MEASURED = """
SELECT count(*) AS runs,
       count(*) FILTER (WHERE prompt_tokens IS NOT NULL
                        AND model IS DISTINCT FROM 'a' AND model IS DISTINCT FROM :model)
           AS unpriced_runs,
       count(*) FILTER (WHERE prompt_tokens IS NULL) AS no_usage_runs,
       coalesce(sum(total_tokens), 0)::bigint AS total_tokens,
       sum(CASE model
           WHEN 'a' THEN (prompt_tokens - cached_prompt_tokens) * 2.5
                         + cached_prompt_tokens * 1.25 + completion_tokens * 10
           WHEN :model THEN prompt_tokens * 0.123456789012 + completion_tokens * 0.7
           END / 1000000) AS cost_usd
FROM run_history.runs
WHERE created_at >= :first AND created_at < CAST(:last AS timestamptz) + interval '1 day'
"""
"""What a report must say, from the runs and the prices above alone."""


def measured(
    engine: Engine, first: str = "2026-09-20", last: str = "2026-10-19", where: str = "true"
) -> sa.Row[tuple[object, ...]]:
    """The sums of the runs of a period, both days included."""
    statement = sa.text(f"{MEASURED} AND {where}")
    values = {"first": f"{first} 00:00+00", "last": f"{last} 00:00+00"}
    names = {
        "model": HOSTILE_MODEL, "assistant": HOSTILE_ASSISTANT,
    }  # fmt: skip
    given = {
        name: value
        for name, value in (values | names).items()
        if name in statement.compile().params
    }
    with engine.connect() as connection:
        return connection.execute(statement, given).one()


@contextmanager
def a_seeded_database(admin: Engine, server_url: URL, template: str) -> Iterator[Engine]:
    """A database of its own, seeded, to be read only."""
    with (
        contextmanager(_database)(admin, server_url, template) as url,
        opened(url) as engine,
    ):
        seed(engine)
        yield engine
