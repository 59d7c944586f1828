"""Settings of a Foundry: who asks for its tokens, and what contradicts itself."""

from pathlib import Path

import pytest

from etl.config import Settings, read_settings
from etl.domain.errors import ConfigError
from etl.extract.credentials import Identity
from etl.extract.keys import ApiKey
from etl.wiring.kinds import headers_of, identity_of, key_of, query_of

ADDRESS = "https://res.services.ai.azure.com/api/projects/p"
SECRET_OF_ENTRA = """\
credential = "client_secret"
tenant_id = "tenant"
client_id = "client"
client_secret_env = "AZURE_CLIENT_SECRET"
"""
SECRET = "a-client-secret-0123456789"


def settings_of(
    directory: Path, source: str = "", entra: str | None = None, **environment: str
) -> Settings:
    path = directory / "config.toml"
    table = "" if entra is None else f"[sources.entra]\n{entra}"
    path.write_text(
        f'[[sources]]\nname = "f"\nkind = "foundry"\nbase_url = "{ADDRESS}"\n{source}\n'
        f"{table}"
    )
    return read_settings(path, environment)


def refusal(directory: Path, source: str = "", entra: str | None = None) -> str:
    with pytest.raises(ConfigError) as caught:
        settings_of(directory, source, entra)
    return str(caught.value).removeprefix(f"{directory / 'config.toml'}: ")


@pytest.mark.parametrize(
    ("source", "entra", "said"),
    [
        (
            'api_key_env = "TOKEN"',
            "",
            (
                "source 'f' names both api_key_env and entra; leave out entra where a ready"
                " token is to be used, else api_key_env."
            ),
        ),
        (
            "",
            'credential = "client_secret"\nclient_id = "client"',
            (
                "source 'f' asks Microsoft Entra with a client secret, and its entra has no"
                " tenant_id and no client_secret_env; add what is missing."
            ),
        ),
        (
            "",
            'client_secret_env = "SECRET"',
            (
                "source 'f' has the credential 'default', which has no use for"
                ' client_secret_env; leave it out, or set credential = "client_secret".'
            ),
        ),
        (
            "",
            'credential = "managed_identity"\ntenant_id = "t"',
            (
                "source 'f' has the credential 'managed_identity', which has no use for"
                ' tenant_id; leave it out, or set credential = "client_secret".'
            ),
        ),
        (
            "",
            'credential = "password"',
            (
                "sources[0].entra.credential is 'password', expected default or"
                " client_secret or managed_identity."
            ),
        ),
        (
            "",
            f'client_secret = "{SECRET}"',
            (
                "sources[0].entra.client_secret is not a key of runtide; did you mean"
                " client_secret_env?"
            ),
        ),
        (
            "",
            f'client_secret_env = "{SECRET}"',
            (
                "sources[0].entra.client_secret_env is not shown, it may be a secret,"
                " expected the name of an environment variable, never the secret itself."
            ),
        ),
        (
            'api_version = "v1&x=y"',
            None,
            (
                "sources[0].api_version is 'v1&x=y', expected letters, digits, dots and"
                " dashes such as v1 or 2025-05-01."
            ),
        ),
    ],
)
def test_what_contradicts_itself_is_refused_in_a_sentence(
    tmp_path: Path, source: str, entra: str | None, said: str
) -> None:
    assert refusal(tmp_path, source, entra) == said


def test_a_foundry_without_more_asks_with_the_default_credential(tmp_path: Path) -> None:
    settings = settings_of(tmp_path)

    identity = identity_of(settings, settings.sources()[0])

    assert identity == Identity(scope="https://ai.azure.com/.default")
    assert repr(key_of(settings, settings.sources()[0])) == "EntraKey(…)"


def test_a_client_secret_comes_from_its_variable_and_shows_itself_nowhere(
    tmp_path: Path,
) -> None:
    settings = settings_of(tmp_path, entra=SECRET_OF_ENTRA, AZURE_CLIENT_SECRET=SECRET)

    identity = identity_of(settings, settings.sources()[0])

    assert identity.client_secret == SECRET
    assert SECRET not in repr(identity)


def test_a_client_secret_that_is_not_set_is_told_before_anything_begins(
    tmp_path: Path,
) -> None:
    settings = settings_of(tmp_path, entra=SECRET_OF_ENTRA)

    with pytest.raises(ConfigError) as caught:
        key_of(settings, settings.sources()[0])

    assert str(caught.value) == (
        "The environment variable AZURE_CLIENT_SECRET, which holds the client secret of"
        " source 'f', is not set; set it to the secret's value, which Azure shows only"
        " once."
    )


def test_a_ready_token_needs_no_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("etl.extract.credentials.find_spec", lambda _: None)
    settings = settings_of(tmp_path, 'api_key_env = "TOKEN"', TOKEN="ready")

    key = key_of(settings, settings.sources()[0])

    assert isinstance(key, ApiKey)
    assert key.header() == "Bearer ready"


def test_without_the_extra_the_sentence_names_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("etl.extract.credentials.find_spec", lambda _: None)
    settings = settings_of(tmp_path)

    with pytest.raises(ConfigError) as caught:
        key_of(settings, settings.sources()[0])

    assert str(caught.value) == (
        "Access tokens of Microsoft Entra need the package azure-identity; run `pip"
        " install 'runtide[foundry]'`, or name the variable of a ready token in"
        " api_key_env."
    )


def test_the_kind_decides_headers_and_query(tmp_path: Path) -> None:
    foundry = settings_of(tmp_path, 'api_version = "2025-05-01"').sources()[0]

    assert headers_of(foundry) == {"Accept": "application/json"}
    assert query_of(foundry) == {"api-version": "2025-05-01"}
