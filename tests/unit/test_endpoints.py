"""Endpoints that were switched off are known by their host, or by their answer."""

import pytest

from etl.operations.doctor.endpoints import retirement

INVALID = "the server does not know this thread: HTTP 404 Invalid URL (GET /v1/threads)"


@pytest.mark.parametrize("status", [None, 401, 404, 410, 500])
def test_openais_own_endpoint_is_off_whatever_it_answers_but_runs(
    status: int | None,
) -> None:
    assert retirement("api.openai.com", status, "anything") == (
        "api.openai.com switched this endpoint off on 2026-08-26"
    )


def test_an_endpoint_that_lists_runs_is_not_off() -> None:
    assert retirement("api.openai.com", 200, "") is None
    assert retirement("api.example.test", 200, "") is None


def test_another_servers_path_that_is_not_there_is_told() -> None:
    assert retirement("api.example.test", 404, INVALID) == (
        "api.example.test has no such path: base_url is wrong, or it was switched off"
    )
    assert retirement("api.example.test", 410, "") == (
        "api.example.test says that this endpoint is gone for good"
    )


def test_a_thread_that_is_not_there_says_nothing_of_the_endpoint() -> None:
    assert retirement("api.example.test", 404, "No thread found") is None
    assert retirement("api.example.test", None, "") is None
