"""What the configuration says of prices and names reaches the tables."""

from collections.abc import Mapping

import pytest
from sqlalchemy.engine import Engine

from etl import wiring
from etl.config import SourceConfig
from etl.domain.errors import DatabaseError
from tests.integration.builders import query, row_versions


@pytest.fixture
def engine(swept_engine: Engine) -> Engine:
    return swept_engine


def record(engine: Engine, *, provider: str = "openai", **models: str) -> None:
    """Note a source whose configuration has these names."""
    config = SourceConfig(
        name="azure", base_url="http://azure", price_provider=provider, models=models
    )
    wiring.source_ids(engine, (config,))


def noted(engine: Engine) -> Mapping[str, str]:
    found = query(engine, "SELECT name, model FROM run_analytics.deployments")
    return {name: model for name, model in found}  # noqa: C416  # dict() has no types


def test_names_of_the_configuration_are_noted_changed_and_taken_away(
    engine: Engine,
) -> None:
    record(engine, bot="gpt-4o", old="gpt-4", same="o1")
    assert noted(engine) == {"bot": "gpt-4o", "old": "gpt-4", "same": "o1"}

    record(engine, bot="gpt-4o-mini", new="o3", same="o1")
    assert noted(engine) == {"bot": "gpt-4o-mini", "new": "o3", "same": "o1"}

    record(engine)
    assert noted(engine) == {}


def test_the_provider_of_the_configuration_is_noted(engine: Engine) -> None:
    record(engine)
    record(engine, provider="mine")

    assert query(engine, "SELECT name, price_provider FROM run_sync.sources") == [
        ("azure", "mine")
    ]


def test_what_is_noted_already_is_not_written_again(engine: Engine) -> None:
    record(engine, provider="mine", bot="gpt-4o", other="o1")
    before = row_versions(engine, "run_sync", "run_analytics")

    record(engine, provider="mine", bot="gpt-4o", other="o1")
    assert row_versions(engine, "run_sync", "run_analytics") == before

    record(engine, provider="mine", bot="gpt-4", other="o1")
    after = row_versions(engine, "run_sync", "run_analytics")
    changed = {name for name in after if after[name] != before[name]}
    assert changed == {"run_analytics.deployments"}
    assert (
        len(
            set(after["run_analytics.deployments"])
            - set(before["run_analytics.deployments"])
        )
        == 1
    )


def test_the_names_of_one_source_are_none_of_anothers(engine: Engine) -> None:
    record(engine, bot="gpt-4o")

    wiring.source_ids(
        engine, (SourceConfig(name="b", base_url="http://b", models={"bot": "o1"}),)
    )
    record(engine)

    assert query(
        engine,
        "SELECT s.name, d.name, d.model FROM run_analytics.deployments d"
        " JOIN run_sync.sources s USING (source_id)",
    ) == [("b", "bot", "o1")]


def test_names_change_as_a_whole_or_not_at_all(engine: Engine) -> None:
    record(engine, bot="gpt-4o", old="gpt-4")
    with engine.begin() as connection:
        connection.exec_driver_sql(
            "ALTER TABLE run_analytics.deployments"
            " ADD CONSTRAINT no_new CHECK (name <> 'new')"
        )
    try:
        with pytest.raises(DatabaseError, match="no_new"):
            record(engine, provider="mine", bot="o1", new="o3")
    finally:
        with engine.begin() as connection:
            connection.exec_driver_sql(
                "ALTER TABLE run_analytics.deployments DROP CONSTRAINT no_new"
            )

    assert noted(engine) == {"bot": "gpt-4o", "old": "gpt-4"}
    assert query(engine, "SELECT price_provider FROM run_sync.sources") == [("openai",)]
