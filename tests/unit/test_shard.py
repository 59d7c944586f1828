"""What a worker of a cluster is told: what it needs, and nothing that is secret."""

from pathlib import Path

from msgspec import json

from etl.config import Config, DatabaseConfig, Settings, SourceConfig
from etl.config.sections import AlertConfig, ExportConfig, ScheduleConfig
from etl.wiring.shard import told


def test_a_worker_is_told_of_no_secret() -> None:
    url = "postgresql://runtide:secret@db.example/history"
    settings = Settings(
        path=Path("config.toml"),
        config=Config(
            database=DatabaseConfig(url=url),
            sources=(SourceConfig(name="demo", base_url="http://h/v1", api_key_env="KEY"),),
            schedule=ScheduleConfig(cron="0 3 * * *"),
            alerts=(AlertConfig(command=("mail", "secret-address")),),
            exports=(ExportConfig(to="s3://user:secret@bucket"),),
        ),
        environment={"KEY": "secret", "RUNTIDE_DATABASE_URL": url},
    )

    path, message = told(settings)

    assert b"secret" not in message
    assert (path, json.decode(message, type=Config)) == (
        "config.toml",
        Config(sources=settings.config.sources, schedule=settings.config.schedule),
    )
