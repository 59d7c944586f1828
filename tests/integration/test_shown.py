"""What a server has shown, pooled by the processes of a sync."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy.engine import Engine

from etl.domain.batch import SourceId
from etl.domain.shown import NOTHING, SHORTEST_CUT, WITNESSES, Shown
from etl.load import plans
from etl.load.database import connected
from etl.load.shown import pooled
from tests.integration.builders import a_sync, execute, query

LENGTHS = st.integers(1, 100)

facts = st.builds(
    Shown,
    last_pages=st.lists(LENGTHS, max_size=2).map(tuple),
    cut_at=st.none() | LENGTHS,
    cursors_go_by_creation=st.booleans(),
)


@pytest.fixture
def source(swept_engine: Engine) -> SourceId:
    made = "INSERT INTO run_sync.sources (name, kind) VALUES ('demo', 'openai')"
    execute(swept_engine, made)
    [(source_id,)] = query(swept_engine, "SELECT source_id FROM run_sync.sources")
    return SourceId(source_id)


def planned(engine: Engine, source: SourceId) -> int:
    """A sync that knows what it has before it."""
    with connected(engine) as connection:
        sync_id = a_sync(connection)
        with connection.begin():
            plans.write(connection, sync_id, source, known=0, due=0)
    return sync_id


@settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(told=st.lists(facts, max_size=6))
def test_the_pool_adds_up_as_facts_do(
    swept_engine: Engine, source: SourceId, told: list[Shown]
) -> None:
    sync_id, expected = planned(swept_engine, source), NOTHING

    for more in told:
        expected += more
        assert pooled(swept_engine, sync_id, source, more) == expected

    assert pooled(swept_engine, sync_id, source, NOTHING) == expected


def test_another_sync_is_shown_everything_anew(
    swept_engine: Engine, source: SourceId
) -> None:
    pooled(
        swept_engine,
        planned(swept_engine, source),
        source,
        Shown(last_pages=(40,) * WITNESSES),
    )

    later = pooled(swept_engine, planned(swept_engine, source), source, NOTHING)

    assert later.doubted_from == SHORTEST_CUT
