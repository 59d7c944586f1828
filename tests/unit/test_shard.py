"""What a worker of a cluster is told: what it needs, and nothing that is secret."""

import json
from pathlib import Path

import pytest

from etl.config import Config, DatabaseConfig, Settings, SourceConfig
from etl.config.sections import AlertConfig, ExportConfig
from etl.wiring.shard import told

PLAIN = "postgresql://runtide@db.example/history"


def settings(url: str, **environment: str) -> Settings:
    return Settings(
        path=Path("config.toml"),
        config=Config(
            database=DatabaseConfig(url=url),
            sources=(SourceConfig(name="demo", base_url="http://h/v1", api_key_env="KEY"),),
            alerts=(AlertConfig(command=("mail", "secret-address")),),
            exports=(ExportConfig(to="s3://user:secret@bucket"),),
        ),
        environment=environment,
    )


def test_a_worker_is_told_of_no_secret() -> None:
    url = "postgresql://runtide:secret@db.example/history"

    message = json.dumps(told(settings(url, KEY="secret", RUNTIDE_DATABASE_URL=url)))

    assert "secret" not in message
    assert '"api_key_env": "KEY"' in message


@pytest.mark.parametrize(
    ("url", "environment", "expected"),
    [
        (PLAIN, {}, PLAIN),
        ("postgresql://runtide:secret@db.example/history", {}, "embedded"),
        (PLAIN + "?sslpassword=secret", {}, "embedded"),
        ("embedded", {}, "embedded"),
        (PLAIN, {"RUNTIDE_DATABASE_URL": PLAIN + "2"}, "embedded"),
    ],
)
def test_a_url_is_told_where_it_holds_no_password_and_is_meant(
    url: str, environment: dict[str, str], expected: str
) -> None:
    assert told(settings(url, **environment))["database"]["url"] == expected
