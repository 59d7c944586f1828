"""Documents in the repository: whether they say what they should, and writing them."""

from pathlib import Path

ROOT = Path(__file__).parents[2]

Documents = dict[str, str]
"""Their texts, by their path from the root of the repository."""


def stale(documents: Documents, command: str) -> list[str]:
    """A sentence for each document that says something else than it should."""
    return [
        f"{path} is not what the database says; run `{command}` and commit what it writes."
        for path, text in documents.items()
        if not (ROOT / path).exists() or (ROOT / path).read_text("utf-8") != text
    ]


def write(documents: Documents) -> None:
    """Put each in its place."""
    for path, text in documents.items():
        place = ROOT / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text, "utf-8")
