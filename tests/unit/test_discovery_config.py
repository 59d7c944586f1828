"""The section of a discovery: what it says by itself, and what is refused."""

from pathlib import Path

import pytest

from etl.config import DiscoveryConfig, read_settings
from etl.domain.errors import ConfigError

SOURCE = """
[[sources]]
name = "demo"
base_url = "http://demo/v1"
kind = "{kind}"
{more}
[sources.discovery]
sql = "SELECT thread_id FROM chats"
url_env = "{variable}"
{last}
"""


def written(
    folder: Path,
    *,
    kind: str = "openai",
    more: str = "",
    variable: str = "U",
    last: str = "",
) -> Path:
    path = folder / "config.toml"
    path.write_text(SOURCE.format(kind=kind, more=more, variable=variable, last=last))
    return path


def test_a_discovery_has_five_minutes_and_asks_for_all_every_week(tmp_path: Path) -> None:
    (source,) = read_settings(written(tmp_path), {}).config.sources

    assert source.discovery == DiscoveryConfig(
        sql="SELECT thread_id FROM chats", url_env="U", timeout="5m", whole_every="7d"
    )


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        (
            {"last": 'time_out = "5m"'},
            (
                "sources[0].discovery.time_out is not a key of runtide; did you mean"
                " timeout?"
            ),
        ),
        (
            {"variable": "postgresql://me:secret@host/db"},
            (
                "sources[0].discovery.url_env is not shown, it may be a secret, expected"
                " the name of an environment variable, never the secret itself."
            ),
        ),
        (
            {"last": 'timeout = "5 minutes"'},
            (
                "sources[0].discovery.timeout is '5 minutes', expected a number of seconds,"
                " minutes, hours, days or weeks such as 90s, 5m or 12h."
            ),
        ),
        (
            {"kind": "foundry", "more": "list_threads = true"},
            (
                "source 'demo' has a discovery and list_threads = true; leave one of them"
                " out, for new threads are found in one way."
            ),
        ),
    ],
)
def test_what_is_wrong_with_a_discovery_is_one_sentence(
    tmp_path: Path, changes: dict[str, str], sentence: str
) -> None:
    path = written(tmp_path, **changes)

    with pytest.raises(ConfigError) as caught:
        read_settings(path, {})

    assert str(caught.value) == f"{path}: {sentence}"
