"""The configuration: read once, checked whole, refused in one sentence."""

from pathlib import Path

import pytest

from etl.config import (
    Config,
    DatabaseConfig,
    ScheduleConfig,
    Settings,
    SourceConfig,
    SyncConfig,
    read_settings,
)
from etl.domain.errors import ConfigError

SHIPPED = Path(__file__).parents[2] / "config.toml"
SECRET = "sk-test-0123456789"
SOURCE = """
[[sources]]
name = "openai"
base_url = "https://api.example.com/v1"
"""

Files = Path
"""The folder in which a test writes its files."""


def settings_of(
    folder: Files, text: str, environment: dict[str, str] | None = None
) -> Settings:
    path = folder / "config.toml"
    path.write_text(text, encoding="utf-8")
    return read_settings(path, environment or {})


def refusal(folder: Files, text: str) -> str:
    """What is said against a file, after the file's own name."""
    with pytest.raises(ConfigError) as caught:
        settings_of(folder, text)
    start, _, rest = str(caught.value).partition(f"{folder / 'config.toml'}")
    assert start == ""
    return rest


def a_source(**fields: str) -> str:
    """The text of one source with some of its fields told otherwise."""
    told = {"name": '"openai"', "base_url": '"https://api.example.com/v1"'} | fields
    return "[[sources]]\n" + "\n".join(f"{key} = {value}" for key, value in told.items())


# What is read ----------------------------------------------------------------


def test_an_empty_file_is_all_defaults(tmp_path: Files) -> None:
    assert settings_of(tmp_path, "").config == Config()


def test_the_shipped_file_tells_the_defaults() -> None:
    config = read_settings(SHIPPED, {}).config

    assert config == Config(sources=config.sources, schedule=ScheduleConfig())
    assert config.sources == (
        SourceConfig(
            name="openai",
            base_url="https://api.openai.com/v1",
            api_key_env="OPENAI_API_KEY",
        ),
    )


def test_every_key_can_be_told(tmp_path: Files) -> None:
    text = """
        [database]
        url = "postgresql://me@host/db"
        data_dir = "/var/lib/runtide"
        [[sources]]
        name = "my.look-alike_1"
        kind = "openai"
        base_url = "http://127.0.0.1:8080/api/v1"
        api_key_env = "MY_KEY"
        requests_per_minute = 1
        trusted = false
        price_provider = "azure"
        models = { "support-bot" = "gpt-4o", "gpt-3.5.eu" = "gpt-3.5-turbo" }
        [sync]
        workers = 256
        page_size = 1
        [schedule]
        cron = "*/5 0-6 * * mon"
        timezone = "Europe/Berlin"
    """

    assert settings_of(tmp_path, text).config == Config(
        database=DatabaseConfig(url="postgresql://me@host/db", data_dir="/var/lib/runtide"),
        sources=(
            SourceConfig(
                name="my.look-alike_1",
                kind="openai",
                base_url="http://127.0.0.1:8080/api/v1",
                api_key_env="MY_KEY",
                requests_per_minute=1,
                trusted=False,
                price_provider="azure",
                models={"support-bot": "gpt-4o", "gpt-3.5.eu": "gpt-3.5-turbo"},
            ),
        ),
        sync=SyncConfig(workers=256, page_size=1),
        schedule=ScheduleConfig(cron="*/5 0-6 * * mon", timezone="Europe/Berlin"),
    )


def test_there_may_be_several_entries_of_the_schedule(tmp_path: Files) -> None:
    text = (
        SOURCE
        + """
        [[schedule]]
        cron = "0 3 * * *"
        [[schedule]]
        cron = "*/10 * * * *"
        source = "openai"
        jitter = "90s"
        on_start = true
    """
    )

    assert settings_of(tmp_path, text).schedule == (
        ScheduleConfig(cron="0 3 * * *"),
        ScheduleConfig(cron="*/10 * * * *", source="openai", jitter="90s", on_start=True),
    )


def test_without_a_schedule_nothing_is_promised(tmp_path: Files) -> None:
    settings = settings_of(tmp_path, "")

    assert settings.promised == ()
    assert settings.schedule == (ScheduleConfig(cron="0 2 * * *", timezone="UTC"),)


def test_where_a_catalog_has_its_tokens_from_is_no_secret(tmp_path: Files) -> None:
    told = '"oauth2-server-uri" = "https://idp/x"\n"hive.kerberos-authentication" = "true"'
    text = f'[[exports]]\nto = "x"\nformat = "iceberg"\n[exports.catalog]\n{told}\n'
    [export] = settings_of(tmp_path, text).exports
    assert len(export.catalog_properties) == 2


def test_a_file_that_everybody_may_write_is_refused(tmp_path: Files) -> None:
    path = tmp_path / "config.toml"
    path.write_text("")
    path.chmod(0o666)

    with pytest.raises(ConfigError) as caught:
        read_settings(path, {})

    assert str(caught.value) == (
        f"{path} can be written by every user of this machine, and it names addresses"
        f" and commands; run `chmod o-w {path}`."
    )


def test_the_data_directory_lies_beside_the_file(tmp_path: Files) -> None:
    assert settings_of(tmp_path, "").data_dir == tmp_path / ".runtide/postgres"


def test_an_absolute_data_directory_stays_where_it_is(tmp_path: Files) -> None:
    assert settings_of(tmp_path, '[database]\ndata_dir = "/x"').data_dir == Path("/x")


def test_the_file_lies_here_unless_the_environment_or_the_caller_names_another(
    tmp_path: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("config", "env", "told"):
        text = SOURCE.replace("openai", name)
        (tmp_path / f"{name}.toml").write_text(text, encoding="utf-8")

    def name_read(path: Path | None, **environment: str) -> str:
        return read_settings(path, environment).sources()[0].name

    assert name_read(None) == "config"
    assert name_read(None, RUNTIDE_CONFIG="") == "config"
    assert name_read(None, RUNTIDE_CONFIG="env.toml") == "env"
    assert name_read(Path("told.toml"), RUNTIDE_CONFIG="env.toml") == "told"


def test_the_path_of_the_settings_is_absolute(
    tmp_path: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings_of(tmp_path, "")
    monkeypatch.chdir(tmp_path)

    assert read_settings(None, {}).path == tmp_path / "config.toml"


def test_the_environment_may_name_another_database(tmp_path: Files) -> None:
    text = '[database]\nurl = "postgresql://file/db"'

    assert settings_of(tmp_path, "").database_url == "embedded"
    assert settings_of(tmp_path, text).database_url == "postgresql://file/db"
    for told, expected in [("postgresql://env/db", "postgresql://env/db"), ("", None)]:
        settings = settings_of(tmp_path, text, {"RUNTIDE_DATABASE_URL": told})
        assert settings.database_url == (expected or "postgresql://file/db")


# Sources and their keys ------------------------------------------------------


def test_sources_are_found_by_name(tmp_path: Files) -> None:
    settings = settings_of(tmp_path, SOURCE + SOURCE.replace("openai", "foundry"))

    assert [source.name for source in settings.sources()] == ["openai", "foundry"]
    assert [source.name for source in settings.sources("foundry")] == ["foundry"]


def test_an_unknown_source_is_refused(tmp_path: Files) -> None:
    settings = settings_of(tmp_path, SOURCE + SOURCE.replace("openai", "foundry"))

    with pytest.raises(ConfigError) as caught:
        settings.sources("azure")

    assert str(caught.value) == (
        f"{settings.path} has no source 'azure'; it has openai, foundry."
    )


@pytest.mark.parametrize("name", [None, "openai"])
def test_a_file_without_sources_is_refused_where_one_is_needed(
    tmp_path: Files, name: str | None
) -> None:
    settings = settings_of(tmp_path, "")

    with pytest.raises(ConfigError) as caught:
        settings.sources(name)

    assert str(caught.value) == f"{settings.path} names no [[sources]]; add one to it."


def key_of(folder: Files, environment: dict[str, str], **fields: str) -> str | None:
    settings = settings_of(folder, a_source(**fields), environment)
    return settings.api_key(settings.sources()[0])


def test_the_key_is_in_the_variable_that_the_source_names(tmp_path: Files) -> None:
    environment = {"MY_KEY": f" {SECRET}\n"}

    assert key_of(tmp_path, environment, api_key_env='"MY_KEY"') == SECRET


def test_a_source_may_need_no_key(tmp_path: Files) -> None:
    assert key_of(tmp_path, {"OPENAI_API_KEY": SECRET}) is None


@pytest.mark.parametrize("environment", [{}, {"MY_KEY": ""}, {"MY_KEY": " \n"}])
def test_a_key_that_is_not_set_is_refused(
    tmp_path: Files, environment: dict[str, str]
) -> None:
    with pytest.raises(ConfigError) as caught:
        key_of(tmp_path, environment, api_key_env='"MY_KEY"')

    assert str(caught.value) == (
        "The environment variable MY_KEY, which holds the API key of source 'openai',"
        " is not set; set it, or leave api_key_env out of"
        f" {tmp_path / 'config.toml'} where no key is needed."
    )


@pytest.mark.parametrize("odd", ["sk-\x07", "sk-\nx", "sk-\N{SNOWMAN}", "sk-ö", "a\x7fb"])
def test_a_key_that_cannot_stand_in_a_header_is_refused_and_not_shown(
    tmp_path: Files, odd: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        key_of(tmp_path, {"MY_KEY": odd}, api_key_env='"MY_KEY"')

    assert str(caught.value) == (
        "The environment variable MY_KEY of source 'openai' holds characters that no"
        " API key has; set it anew."
    )


# What is refused -------------------------------------------------------------


def test_a_missing_file_is_refused(tmp_path: Files) -> None:
    path = tmp_path / "none.toml"

    with pytest.raises(ConfigError) as caught:
        read_settings(path, {})

    assert str(caught.value) == (
        f"There is no {path}; run `runtide init` to write one, or name another file"
        " with --config."
    )


def test_a_folder_is_refused(tmp_path: Files) -> None:
    with pytest.raises(ConfigError) as caught:
        read_settings(tmp_path, {})

    assert str(caught.value) == f"{tmp_path} cannot be read: Is a directory."


def test_what_is_not_utf8_is_refused(tmp_path: Files) -> None:
    path = tmp_path / "config.toml"
    path.write_bytes(b"# \xff")

    with pytest.raises(ConfigError) as caught:
        read_settings(path, {})

    assert str(caught.value) == (
        f"{path} is not TOML: 'utf-8' codec can't decode byte 0xff in position 2:"
        " invalid start byte."
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[sync]\nworkers =", "Invalid value (at end of document)"),
        ("[sync]\nworkers = 1 2", "Expected newline or end of document after a statement"),
        ("[sync]\n[sync]", "Cannot declare ('sync',) twice"),
    ],
)
def test_what_is_not_toml_is_refused_with_its_place(
    tmp_path: Files, text: str, said: str
) -> None:
    assert refusal(tmp_path, text).startswith(f" is not TOML: {said}")


KNOWN_IN_SOURCES = (
    "name, base_url, kind, api_version, entra, list_threads, discovery, api_key_env,"
    " requests_per_minute, trusted, price_provider, models, privacy"
)
NO_ADDRESS = (
    "source 'a' has no base_url; name the address of its server, or set kind = \"archive\""
    " where there are only files."
)
AN_ADDRESS = "an address that begins with https:// or http://, without user or query"
A_NAME = "1 to 64 letters, digits, dots, dashes or underscores"
A_VARIABLE = "the name of an environment variable, never the secret itself"
A_ZONE = "a name of the time zone database such as Europe/Berlin"
FIVE_FIELDS = "five fields: minute, hour, day of month, month, day of week"
HIDDEN = "not shown, it may be a secret"
MAPPED = "the models of source 'openai' map"
NO_MODEL = (
    "cannot be a name: expected 1 to 200 characters that can be printed, without spaces"
    " around them."
)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        # unknown keys
        (
            "x = 1",
            (
                "x is not a key of runtide; known are database, sources, sync, schedule,"
                " metrics, alerts, exports."
            ),
        ),
        ("[databas]", "databas is not a key of runtide; did you mean database?"),
        (
            "[sync]\nworker = 1",
            "sync.worker is not a key of runtide; did you mean workers?",
        ),
        (
            "[schedule]\nx = 1",
            (
                "schedule.x is not a key of runtide; known are cron, timezone, source,"
                " jitter, on_start, overdue_after."
            ),
        ),
        (
            a_source(api_key=f'"{SECRET}"'),
            "sources[0].api_key is not a key of runtide; did you mean api_key_env?",
        ),
        (
            SOURCE + a_source(x="1"),
            f"sources[1].x is not a key of runtide; known are {KNOWN_IN_SOURCES}.",
        ),
        # missing keys
        ("[[sources]]", "sources[0] has no name; add it."),
        (SOURCE + '[[sources]]\nname = "a"', NO_ADDRESS),
        # wrong kinds of values
        ("database = 5", "database is 5, expected a table."),
        (
            "schedule = 5",
            (
                "schedule is 5, expected a table, or a list of tables, each under"
                " [[schedule]]."
            ),
        ),
        ("sources = 5", "sources is 5, expected a list of tables, each under [[sources]]."),
        ("[sync]\nworkers = true", "sync.workers is True, expected a whole number."),
        ('[sync]\nworkers = "8"', "sync.workers is '8', expected a whole number."),
        ("[sync]\npage_size = 1.5", "sync.page_size is 1.5, expected a whole number."),
        ("[schedule]\ncron = 5", "schedule.cron is 5, expected a text in quotes."),
        (a_source(trusted="1"), "sources[0].trusted is 1, expected true or false."),
        (a_source(base_url="5"), "sources[0].base_url is 5, expected a text in quotes."),
        (
            a_source(api_key_env="5"),
            "sources[0].api_key_env is 5, expected a text in quotes.",
        ),
        # values out of bounds
        ("[sync]\nworkers = 0", "sync.workers is 0, expected a whole number >= 1."),
        ("[sync]\nworkers = 257", "sync.workers is 257, expected a whole number <= 256."),
        ("[sync]\npage_size = 0", "sync.page_size is 0, expected a whole number >= 1."),
        (
            "[sync]\npage_size = 101",
            "sync.page_size is 101, expected a whole number <= 100.",
        ),
        (
            a_source(requests_per_minute="0"),
            "sources[0].requests_per_minute is 0, expected a whole number >= 1.",
        ),
        (
            a_source(requests_per_minute="10_000_001"),
            (
                "sources[0].requests_per_minute is 10000001,"
                " expected a whole number <= 10000000."
            ),
        ),
        # names
        (a_source(name='""'), f"sources[0].name is '', expected {A_NAME}."),
        (a_source(name='"a b"'), f"sources[0].name is 'a b', expected {A_NAME}."),
        (a_source(name='"a\\n"'), f"sources[0].name is 'a\\n', expected {A_NAME}."),
        (
            a_source(name=f'"{"a" * 65}"'),
            f"sources[0].name is '{'a' * 65}', expected {A_NAME}.",
        ),
        (SOURCE + SOURCE, "two sources are named 'openai'; rename one."),
        (
            a_source(kind='"azure"'),
            "sources[0].kind is 'azure', expected openai or foundry or archive.",
        ),
        # addresses
        (
            a_source(base_url='"api.example.com"'),
            f"sources[0].base_url is 'api.example.com', expected {AN_ADDRESS}.",
        ),
        (
            a_source(base_url='"https://"'),
            f"sources[0].base_url is 'https://', expected {AN_ADDRESS}.",
        ),
        (
            a_source(base_url='"ftp://host/v1"'),
            f"sources[0].base_url is 'ftp://host/v1', expected {AN_ADDRESS}.",
        ),
        (
            a_source(base_url='"https://host/v1\\n"'),
            f"sources[0].base_url is 'https://host/v1\\n', expected {AN_ADDRESS}.",
        ),
        (
            a_source(base_url='"https://host:99999/v1"'),
            (
                "the base_url of source 'openai' is 'https://host:99999/v1', expected"
                " a host and perhaps a port (Port out of range 0-65535)."
            ),
        ),
        # privacy
        (
            SOURCE + '[sources.privacy]\ninstructions = "hide"',
            "sources[0].privacy.instructions is 'hide', expected keep or hash or omit.",
        ),
        (
            SOURCE + "[sources.privacy]\nmetadata_keys = { mail = 5 }",
            "sources[0].privacy.metadata_keys.mail is 5, expected a text in quotes.",
        ),
        (
            SOURCE + '[sources.privacy]\nmetadata_keys = { mail = "no", a = "keep" }',
            (
                "sources[0].privacy.metadata_keys.mail is 'no', expected keep or hash or"
                " omit."
            ),
        ),
        (
            SOURCE + '[sources.privacy]\nerrors = "omit"',
            (
                "sources[0].privacy.errors is not a key of runtide; did you mean"
                " error_messages?"
            ),
        ),
        (
            SOURCE + f'[sources.privacy]\nhash_key_env = "{SECRET}"',
            f"sources[0].privacy.hash_key_env is {HIDDEN}, expected {A_VARIABLE}.",
        ),
        (
            SOURCE + '[sources.privacy]\ntools = "hash"',
            (
                "source 'openai' hashes parts of its payloads, and its privacy has no"
                " hash_key_env; name the environment variable that holds the key."
            ),
        ),
        # prices
        (
            a_source(price_provider='"a b"'),
            f"sources[0].price_provider is 'a b', expected {A_NAME}.",
        ),
        (
            SOURCE + "models = 5",
            "sources[0].models is 5, expected a table.",
        ),
        (
            SOURCE + '[sources.models]\n"a" = "b"\n"gpt-3.5.eu" = 4',
            "sources[0].models.gpt-3.5.eu is 4, expected a text in quotes.",
        ),
        (
            SOURCE + '[sources.models]\n"bot" = ""',
            f"{MAPPED} 'bot' to '', and '' {NO_MODEL}",
        ),
        (
            SOURCE + '[sources.models]\n" bot" = "gpt-4o"',
            f"{MAPPED} ' bot' to 'gpt-4o', and ' bot' {NO_MODEL}",
        ),
        (
            SOURCE + '[sources.models]\n"bot" = "gpt\\u0000"',
            f"{MAPPED} 'bot' to 'gpt\\x00', and 'gpt\\x00' {NO_MODEL}",
        ),
        (
            SOURCE + f'[sources.models]\n"bot" = "{"m" * 201}"',
            f"{MAPPED} 'bot' to '{'m' * 201}', and '{'m' * 201}' {NO_MODEL}",
        ),
        # exports
        (
            '[[exports]]\nto = "x"\nformat = "csv"',
            "exports[0].format is 'csv', expected parquet or jsonl or iceberg.",
        ),
        (
            '[[exports]]\nto = "x"\nformat = "iceberg"\ncatalog = 3',
            (
                "exports[0].catalog is 3, expected the name of a catalog, or a table that"
                " describes it."
            ),
        ),
        (
            '[[exports]]\nto = "x"\nformat = "iceberg"\nnamespace = "a b"',
            (
                "exports[0].namespace is 'a b', expected letters, digits and underscores,"
                " with dots between names."
            ),
        ),
        (
            '[[exports]]\nto = "x"\ncatalog = "lake"',
            (
                'exports[0] has a catalog, which only format = "iceberg" needs; leave it'
                " out."
            ),
        ),
        (
            (
                '[[exports]]\nto = "x"\nformat = "iceberg"\n[exports.catalog]\n'
                f'name = "lake"\n"s3.secret-access-key" = "{SECRET}"'
            ),
            (
                "exports[0].catalog holds a secret in s3.secret-access-key; take it out,"
                " and set PYICEBERG_CATALOG__LAKE__S3__SECRET_ACCESS_KEY in the"
                " environment."
            ),
        ),
        (
            (
                '[[exports]]\nto = "x"\nformat = "iceberg"\n[exports.catalog]\n'
                f'name = "my_lake"\ntoken = "{SECRET}"'
            ),
            (
                "exports[0].catalog holds a secret in token; take it out, name the catalog"
                " 'my-lake', and set PYICEBERG_CATALOG__MY_LAKE__TOKEN in the environment."
            ),
        ),
        (
            (
                '[[exports]]\nto = "x"\nformat = "iceberg"\n[exports.catalog]\n'
                f'type = "sql"\nuri = "postgresql+psycopg://me:{SECRET}@host/x"'
            ),
            (
                "exports[0].catalog holds a secret in uri; take it out, and set"
                " PYICEBERG_CATALOG__DEFAULT__URI in the environment."
            ),
        ),
        (
            (
                '[[exports]]\nto = "x"\nformat = "iceberg"\n[exports.catalog]\n'
                f'type = "sql"\nuri = "postgresql+psycopg://host/x?password={SECRET}"'
            ),
            (
                "exports[0].catalog holds a secret in uri; take it out, and set"
                " PYICEBERG_CATALOG__DEFAULT__URI in the environment."
            ),
        ),
        # metrics and alerts
        (
            '[metrics]\naddress = "9464"',
            "metrics.address is '9464', expected a host and a port such as 127.0.0.1:9464.",
        ),
        (
            '[[alerts]]\non = ["late"]',
            "alerts[0].on[0] is 'late', expected failed or overdue or recovered.",
        ),
        (
            "[[alerts]]",
            "alerts[0] needs either a command or a url_env, and not both.",
        ),
        (
            '[[alerts]]\ncommand = "mail"',
            "alerts[0].command is 'mail', expected a list of texts.",
        ),
        (
            f'[[alerts]]\nurl_env = "https://hooks/{SECRET}"',
            f"alerts[0].url_env is {HIDDEN}, expected {A_VARIABLE}.",
        ),
        # times
        (
            '[schedule]\njitter = "5 minutes"',
            (
                "schedule.jitter is '5 minutes', expected a number of seconds, minutes,"
                " hours, days or weeks such as 90s, 5m or 12h."
            ),
        ),
        (
            SOURCE + '[[schedule]]\n[[schedule]]\nsource = "other"',
            "schedule[1].source is 'other', but the sources are openai.",
        ),
        (
            '[schedule]\ncron = "0 0 30 2 *"',
            (f"schedule.cron is '0 0 30 2 *', expected {FIVE_FIELDS} (bad day-of-month)."),
        ),
        (
            '[schedule]\ntimezone = "Nowhere/City"',
            f"schedule.timezone is 'Nowhere/City', expected {A_ZONE}.",
        ),
        ('[schedule]\ntimezone = ""', f"schedule.timezone is '', expected {A_ZONE}."),
        (
            '[schedule]\ntimezone = "../passwd"',
            f"schedule.timezone is '../passwd', expected {A_ZONE}.",
        ),
        (
            '[schedule]\ncron = "daily"',
            (f"schedule.cron is 'daily', expected {FIVE_FIELDS} (there are 1)."),
        ),
        (
            '[schedule]\ncron = "0 99 * * *"',
            (f"schedule.cron is '0 99 * * *', expected {FIVE_FIELDS} (bad hour)."),
        ),
        # what may hold a secret
        ("[database]\nurl = 5", "database.url is 5, expected a text in quotes."),
        (
            f'[database]\nurl = ["postgresql://me:{SECRET}@host/db"]',
            "database.url is a list, expected a text in quotes.",
        ),
        (
            f'[database.url]\npassword = "{SECRET}"',
            "database.url is a table, expected a text in quotes.",
        ),
        (
            f'[sources]\nname = "a"\napi_key = "{SECRET}"',
            "sources is a table, expected a list of tables, each under [[sources]].",
        ),
        (f'sources = ["{SECRET}"]', f"sources[0] is {HIDDEN}, expected a table."),
        (
            f'sources = "{SECRET}"',
            f"sources is {HIDDEN}, expected a list of tables, each under [[sources]].",
        ),
        (
            a_source(api_key_env=f'"{SECRET}"'),
            f"sources[0].api_key_env is {HIDDEN}, expected {A_VARIABLE}.",
        ),
        (
            a_source(base_url=f'"https://me:{SECRET}@host/v1"'),
            f"sources[0].base_url is {HIDDEN}, expected {AN_ADDRESS}.",
        ),
        (
            a_source(base_url=f'"https://host/v1?key={SECRET}"'),
            f"sources[0].base_url is {HIDDEN}, expected {AN_ADDRESS}.",
        ),
    ],
)
def test_a_file_is_refused_in_one_sentence(tmp_path: Files, text: str, said: str) -> None:
    told = refusal(tmp_path, text)

    assert told == f": {said}"
    assert SECRET not in told
