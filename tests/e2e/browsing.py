"""A real browser that looks at a report: Chromium without a window or a network."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, Route, sync_playwright

FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
NAMES = ("chromium", "chromium-browser", "google-chrome")


def browser_path() -> str:
    """The browser of this machine; skips the test where there is none."""
    given = os.environ.get("RUNTIDE_TEST_BROWSER")
    found = given or next(filter(None, map(shutil.which, NAMES)), None)
    if found is None:
        pytest.skip("no browser: install chromium, or name one in RUNTIDE_TEST_BROWSER")
    return found


@contextmanager
def a_browser() -> Iterator[Browser]:
    """The browser, started once and ended again."""
    path = browser_path()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield browser
        browser.close()


@dataclass
class Look:
    """A page that is being looked at, and what it did that it should not.

    `requests` are those it made, `sent` those that its own policy did not stop.
    """

    page: Page
    requests: list[str] = field(default_factory=list)
    sent: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)

    def table(self, name: str) -> list[list[str]]:
        """The cells of a table's body, whether it is open or not."""
        rows: list[list[str]] = self.page.evaluate(
            "name => [...document.querySelectorAll(`#table-${name} tbody tr`)]"
            ".map(row => [...row.cells]"
            ".map(cell => cell.dataset.exact || cell.textContent))",
            name,
        )
        return rows

    def total(self, name: str) -> str:
        """What a tile says; of money, all decimals."""
        said: str = self.page.evaluate(
            "name => { const tile = document.getElementById(`total-${name}`);"
            " return tile.dataset.exact ?? tile.textContent; }",
            name,
        )
        return said

    def bars(self, chart: str) -> list[str]:
        """The names beside a chart's bars, as they are read: down, then right."""
        placed: list[tuple[float, float, str]] = self.page.evaluate(
            "name => [...document.querySelectorAll(`#chart-${name} .role-axis-label text`)]"
            ".map(text => [text.getBoundingClientRect(), text.textContent])"
            ".map(([place, text]) => [Math.round(place.top), place.left, text])",
            chart,
        )
        return [text for _, _, text in sorted(placed)]

    def drawn(self, chart: str) -> list[str]:
        """The shapes of a chart's marks."""
        shapes: list[str] = self.page.evaluate(
            "name => [...document.querySelectorAll("
            "`#chart-${name} .mark-rect.role-mark path`)]"
            ".map(path => path.getAttribute('d'))",
            chart,
        )
        return shapes

    def choose(self, **choices: str) -> None:
        """Choose in the filter by what its lists show."""
        for name, label in choices.items():
            if name in {"from", "to"}:
                self.page.fill(f"[name={name}]", label)
            else:
                self.page.select_option(f"[name={name}]", label=label)
        self.settle()

    def settle(self) -> None:
        """Wait until every chart stands."""
        self.page.wait_for_selector("html[data-ready=yes]", state="attached")


@contextmanager
def looking_at(browser: Browser, path: Path, **options: Any) -> Iterator[Look]:
    """Open a file in a window of its own; all that it asks for is noted and refused."""
    context = browser.new_context(**options)
    page = context.new_page()
    look = Look(page)

    def refuse(route: Route) -> None:
        look.sent.append(route.request.url)
        route.abort()

    page.on("request", lambda request: look.requests.append(request.url))
    page.on("pageerror", lambda error: look.complaints.append(str(error)))
    page.on("dialog", lambda dialog: look.complaints.append(f"dialog {dialog.message}"))
    page.on("console", lambda said: look.complaints.append(f"{said.type}: {said.text}"))
    page.route(lambda url: not url.startswith("file:"), refuse)
    page.goto(path.as_uri())
    look.settle()
    yield look
    context.close()
