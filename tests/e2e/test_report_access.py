"""The report's page for everyone: phones, the dark, paper, keyboards, other ears."""

from pathlib import Path

import pytest
from playwright.sync_api import Browser

from tests.e2e.browsing import Look, looking_at

LEAST_CONTRAST = 4.5

CONTRASTS = """() => {
  const parse = (text) => text.match(/[\\d.]+/g).map(Number);
  const light = ([r, g, b]) => [r, g, b].map((c) => c / 255)
    .map((c) => (c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4))
    .reduce((sum, c, n) => sum + c * [0.2126, 0.7152, 0.0722][n], 0);
  const behind = (element) => {
    for (let each = element; each; each = each.parentElement) {
      const colour = parse(getComputedStyle(each).backgroundColor);
      if (colour.length < 4 || colour[3] > 0) return colour;
    }
    return [255, 255, 255];
  };
  const ratio = (a, b) => (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
  return [...document.querySelectorAll("body *")]
    .filter((e) => e.checkVisibility() && [...e.childNodes]
      .some((n) => n.nodeType === 3 && n.textContent.trim()))
    .map((e) => [e, getComputedStyle(e)])
    .map(([e, style]) => [
      ratio(light(parse(e.matches("svg *") ? style.fill : style.color)), light(behind(e))),
      `${e.tagName} ${e.textContent.slice(0, 30)}`]);
}"""


def background(look: Look) -> str:
    colour: str = look.page.evaluate("getComputedStyle(document.body).backgroundColor")
    return colour


def test_a_phone_needs_no_scrolling_to_the_side(
    browser: Browser, report_page: Path
) -> None:
    with looking_at(browser, report_page, viewport={"width": 360, "height": 740}) as look:
        look.page.evaluate(
            "document.querySelectorAll('details').forEach(d => d.open = true)"
        )

        assert look.page.evaluate("document.scrollingElement.scrollWidth") == 360
        wide = look.page.evaluate(
            "[...document.querySelectorAll('.scroll')]"
            ".filter(s => s.scrollWidth > 360).length"
        )
        assert wide > 0
        assert look.page.evaluate(
            "[...document.querySelectorAll('.chart svg')]"
            ".every(svg => svg.getBoundingClientRect().right <= 360)"
        )


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_text_stands_out_from_what_is_behind_it(
    browser: Browser, report_page: Path, scheme: str
) -> None:
    with looking_at(browser, report_page, color_scheme=scheme) as look:
        look.page.evaluate(
            "document.querySelectorAll('details').forEach(d => d.open = true)"
        )
        contrasts = look.page.evaluate(CONTRASTS)

        assert len(contrasts) > 200
        assert [each for each in contrasts if each[0] < LEAST_CONTRAST] == []


def test_dark_follows_the_system_and_the_button_overrules_it(
    browser: Browser, report_page: Path
) -> None:
    with looking_at(browser, report_page, color_scheme="dark") as look:
        assert background(look) == "rgb(19, 23, 28)"
        assert look.page.text_content("#theme") == "Light"

        look.page.click("#theme")

        assert background(look) == "rgb(255, 255, 255)"
        assert look.page.text_content("#theme") == "Dark"


def test_paper_is_white_with_open_tables_and_no_controls(
    browser: Browser, report_page: Path
) -> None:
    with looking_at(browser, report_page, color_scheme="dark") as look:
        look.page.emulate_media(media="print")
        look.page.evaluate("dispatchEvent(new Event('beforeprint'))")

        assert background(look) == "rgb(255, 255, 255)"
        assert look.page.is_hidden("#theme")
        assert look.page.is_hidden("nav")
        assert look.page.is_visible("#table-days")

        look.page.evaluate("dispatchEvent(new Event('afterprint'))")
        assert (
            look.page.locator("#table-days").evaluate("t => t.closest('details').open")
            is False
        )


def test_landmarks_headings_and_names_are_in_order(shared: Look) -> None:
    page = shared.page
    levels = page.evaluate(
        "[...document.querySelectorAll('h1,h2,h3')].map(h => Number(h.tagName[1]))"
    )

    assert page.get_attribute("html", "lang") == "en"
    assert page.title() == "Runs, tokens and cost"
    for landmark in ("header", "nav", "main", "footer", "form[role=search]"):
        assert page.locator(landmark).count() == 1, landmark
    assert levels[0] == 1
    assert set(levels[1:]) == {2}
    ids = page.evaluate("[...document.querySelectorAll('[id]')].map(e => e.id)")
    assert len(ids) == len(set(ids))


def test_every_control_has_a_label_and_every_table_its_headings(shared: Look) -> None:
    page = shared.page

    assert page.evaluate(
        "[...document.querySelectorAll('input,select')].every(c => c.labels.length === 1)"
    )
    assert page.locator("table").count() == page.locator("table caption").count() == 11
    assert page.locator("thead th:not([scope=col]), tbody th:not([scope=row])").count() == 0
    assert page.evaluate(
        "[...document.querySelectorAll('[aria-labelledby]')]"
        ".every(e => document.getElementById(e.getAttribute('aria-labelledby')))"
    )


def test_every_chart_is_named_and_has_its_table(shared: Look) -> None:
    charts = shared.page.locator(".chart[role=img]")

    assert charts.count() == 13
    for chart in charts.all():
        assert "below has the numbers" in (chart.get_attribute("aria-label") or "")
        assert chart.locator("xpath=ancestor::section//table").count() > 0


def test_the_keyboard_reaches_everything(shared: Look) -> None:
    page = shared.page
    page.locator("body").press("Tab")

    assert page.evaluate("document.activeElement.className") == "skip"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "content"
    page.focus("#theme")
    page.keyboard.press("Enter")
    assert page.get_attribute("html", "data-theme") == "dark"
    page.focus("details.figures:not([open]) summary")
    page.keyboard.press("Enter")
    assert page.is_visible("#table-days")
