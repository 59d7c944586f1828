"""Bars and lines stand out from the page, light or dark."""

import pytest

from etl.analytics.report.charts import COLOURS
from etl.analytics.report.page import FOLDER

LEAST = 3.0


def luminance(colour: str) -> float:
    parts = [int(colour[n : n + 2], 16) / 255 for n in (1, 3, 5)]
    red, green, blue = (
        p / 12.92 if p <= 0.03928 else ((p + 0.055) / 1.055) ** 2.4 for p in parts
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


@pytest.mark.parametrize("page", ["#ffffff", "#13171c"])
def test_every_colour_stands_out_from_the_page(page: str) -> None:
    assert f"--page: {page};" in (FOLDER / "page.css").read_text(encoding="utf-8")
    for colour in COLOURS:
        dark, light = sorted((luminance(colour), luminance(page)))
        assert (light + 0.05) / (dark + 0.05) >= LEAST, colour
