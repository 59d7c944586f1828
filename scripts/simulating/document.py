"""docs/scale.md: where the figures stand in it, and putting new ones there."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "scale.md"
PLOTS = ROOT / "docs" / "scale"

PLACE = re.compile(
    r"(?P<head><!-- scripts/simulate writes (?P<name>\w+) -->\n).*?(?P<end><!-- end -->)",
    re.DOTALL,
)


def filled(page: str, texts: dict[str, str]) -> str:
    """The page, with each place holding the text of its name; nothing else changes."""
    return PLACE.sub(
        lambda found: f"{found['head']}\n{texts[found['name']]}\n{found['end']}", page
    )


def write(texts: dict[str, str], plots: dict[str, str]) -> None:
    """Put tables and plots in their places."""
    PAGE.write_text(filled(PAGE.read_text("utf-8"), texts), "utf-8")
    PLOTS.mkdir(exist_ok=True)
    for name, plot in plots.items():
        (PLOTS / name).write_text(plot, "utf-8")
