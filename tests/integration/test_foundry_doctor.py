"""What the doctor says of a Foundry: token, endpoint, role, and the day it ends."""

from datetime import date

import pytest

from etl.operations.doctor.endpoints import retirement
from etl.operations.doctor.finding import Place, Verdict
from etl.operations.doctor.foundries import check_retirement
from tests.e2e.findings import lines
from tests.integration.entra import Issuer
from tests.integration.test_foundry import (
    BY_SECRET,
    READY,
    WRONG_SECRET,
    Foundry,
    authority,
    entra,
    foundry,
    issuer,
    project,
    token,
)

__all__ = ["authority", "entra", "foundry", "issuer", "project", "token"]

HOST = "res.services.ai.azure.com"


def said(foundry: Foundry) -> dict[str, str]:
    """Each check of the source, and how it ended."""
    found = {}
    for line in lines(foundry("doctor").out, "source foundry").splitlines():
        verdict, told = line[:8].rstrip(), line[10:].removeprefix("source foundry, ")
        check, _, rest = told.partition(": ")
        found[check] = f"{verdict}: {rest}"
    return found


@pytest.mark.usefixtures("entra")
def test_where_all_is_well_the_token_says_how_long_it_lasts(foundry: Foundry) -> None:
    foundry.configure(BY_SECRET)

    found = said(foundry)

    assert found["endpoint"] == "ok: project demo-project, version v1"
    assert found["access token"] == (
        "ok: the server takes Entra's, which is good for 60 minutes"
    )
    assert found["list call"] == "ok: the threads are listed"
    assert "retirement" not in found


@pytest.mark.usefixtures("token")
def test_a_tracked_thread_is_listed_with_a_ready_token(foundry: Foundry) -> None:
    foundry.configure(source=READY)
    assert foundry("track", "thread_1").code == 0

    found = said(foundry)

    assert found["access token"] == "ok: the server takes the one in FOUNDRY_TOKEN"
    assert found["list call"] == "ok: thread thread_1 is listed"


@pytest.mark.usefixtures("entra")
def test_where_entra_gives_no_token_nothing_else_is_blamed(
    foundry: Foundry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FOUNDRY_SECRET", "wrong")
    foundry.configure(BY_SECRET)

    found = said(foundry)

    assert found["access token"] == f"failed: {WRONG_SECRET}"
    assert found["list call"] == "left out: needs an access token"


@pytest.mark.usefixtures("entra")
def test_a_secret_that_is_not_set_names_its_variable(
    foundry: Foundry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("FOUNDRY_SECRET")
    foundry.configure(BY_SECRET)

    assert said(foundry)["access token"] == (
        "failed: The environment variable FOUNDRY_SECRET, which holds the client secret of"
        " source 'foundry', is not set; set it to the secret's value, which Azure shows"
        " only once"
    )


@pytest.mark.usefixtures("entra")
def test_a_missing_role_is_named(foundry: Foundry) -> None:
    foundry.project.role_is_missing = True
    foundry.configure(BY_SECRET)

    assert said(foundry)["access token"] == (
        "failed: the server refuses the access token of Microsoft Entra: HTTP 403 The"
        " principal lacks agents/read. (request id req_of_test); give the identity the role"
        " Foundry User on the project"
    )


@pytest.mark.usefixtures("token")
def test_a_token_that_is_not_taken_says_what_to_do(
    foundry: Foundry, issuer: Issuer
) -> None:
    issuer.requests_each = 0
    foundry.configure(source=READY)

    found = said(foundry)

    assert found["access token"].startswith(
        "failed: the server refuses the access token: HTTP 401 "
    )
    assert found["list call"] == "left out: needs a certificate and a key that are taken"


@pytest.mark.usefixtures("token")
def test_an_address_that_is_no_projects_is_told_before_and_after(foundry: Foundry) -> None:
    foundry.address = foundry.address.removesuffix("/api/projects/demo-project")
    foundry.configure(source=READY)

    found = said(foundry)

    assert found["endpoint"] == (
        "warning: base_url has the path /, which is no project's; write it as"
        " https://RESOURCE.services.ai.azure.com/api/projects/PROJECT"
    )
    assert found["list call"] == (
        "failed: the server has no list of threads: HTTP 404 Resource not found (request id"
        " req_of_test); check base_url, which ends in /api/projects/ and the project's"
        " name, or set list_threads = false"
    )


@pytest.mark.parametrize(
    ("days", "verdict", "told"),
    [
        (128, Verdict.OK, "Microsoft ends this service on 2027-03-31, in 128 days"),
        (89, Verdict.WARNING, "Microsoft ends this service on 2027-03-31, in 89 days"),
        (-1, Verdict.WARNING, "Microsoft ended this service on 2027-03-31"),
    ],
)
def test_the_day_it_ends_is_told_and_warned_of(
    days: int, verdict: Verdict, told: str
) -> None:
    found = check_retirement(Place("source f"), days)

    assert (found.verdict, found.told) == (verdict, told)


def test_from_that_day_on_a_silence_is_explained() -> None:
    before, after = date(2027, 3, 30), date(2027, 3, 31)

    assert retirement(HOST, 404, "", today=before) is None
    assert retirement(HOST, 200, "", today=after) is None
    assert retirement(HOST, 401, "", today=after) is None
    assert retirement(HOST, 404, "", today=after) == (
        "Microsoft switched this endpoint off on 2027-03-31"
    )


def test_the_package_is_named_where_it_is_missing(
    foundry: Foundry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("etl.extract.credentials.find_spec", lambda _: None)
    foundry.configure()

    assert said(foundry)["access token"] == (
        "failed: Access tokens of Microsoft Entra need the package azure-identity; run `pip"
        " install 'runtide[foundry]'`, or name the variable of a ready token in api_key_env"
    )
