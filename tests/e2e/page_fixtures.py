"""Fixtures: a report of a seeded database, made once, and a browser that looks at it."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser
from sqlalchemy.engine import URL, Engine

from etl.analytics.report import write_report
from tests.e2e.browsing import Look, a_browser, looking_at
from tests.integration.reported import NOW, a_seeded_database


@pytest.fixture(scope="session")
def reported(admin: Engine, server_url: URL, template: str) -> Iterator[Engine]:
    """A seeded database, to be read only."""
    with a_seeded_database(admin, server_url, template) as engine:
        yield engine


@pytest.fixture(scope="session")
def report_page(reported: Engine, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of the seeded database."""
    path = tmp_path_factory.mktemp("report") / "report.html"
    write_report(reported, path, at=NOW)
    return path


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A browser, for the tests of one file."""
    with a_browser() as browser:
        yield browser


@pytest.fixture(scope="module")
def shared(browser: Browser, report_page: Path) -> Iterator[Look]:
    """The report, opened once for the tests of one file."""
    size = {"width": 1280, "height": 900}
    with looking_at(browser, report_page, viewport=size) as look:
        yield look
