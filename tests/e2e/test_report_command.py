"""`runtide report`: where it writes, and what it says when it cannot."""

import os

import pytest
from sqlalchemy.engine import Engine

from tests.e2e.conftest import Command
from tests.integration.reported import seed


@pytest.fixture
def seeded(runtide: Command, engine: Engine) -> Command:
    """The command, with a seeded database."""
    seed(engine)
    runtide.configure("http://127.0.0.1:9/v1")
    return runtide


def test_it_writes_what_it_is_asked_for_and_replaces_what_was_there(
    seeded: Command,
) -> None:
    place = seeded.directory / "kept.csv"
    place.write_text("old")

    page = seeded("report", "--from", "2026-10-01", "--to", "2026-10-19")
    rows = seeded("report", "--format", "csv", "--out", "kept.csv", "--from", "2026-10-01")

    assert (page.code, page.out, page.err) == (
        0,
        "The report is runtide-report.html.\n",
        "",
    )
    assert (rows.code, rows.out) == (0, "The report is kept.csv.\n")
    assert "2026-10-01 to 2026-10-19 (UTC), 19 days; sources" in (
        seeded.directory / "runtide-report.html"
    ).read_text(encoding="utf-8")
    assert place.read_text().startswith("day,source,model,assistant_id,runs,")
    names = sorted(path.name for path in seeded.directory.iterdir())
    assert names == ["config.toml", "kept.csv", "runtide-report.html"]


WRONG = [
    (["--format", "pdf"], "There is no format 'pdf'; choose html, png, csv, json."),
    (["--from", "yesterday"], "'yesterday' is no day; write it as 2026-11-30."),
    (
        ["--to", "9999-12-31"],
        "9999-12-31 is no day of this century; write it as 2026-11-30.",
    ),
    (["--open", "maybe"], "--open is yes or no, not 'maybe'."),
    (
        ["--from", "2026-10-02", "--to", "2026-10-01"],
        (
            "The period would end on 2026-10-01 before it begins on 2026-10-02; choose"
            " --from and --to the other way round."
        ),
    ),
    (
        ["--format", "csv", "--out", "no/such/place.csv"],
        (
            "no/such/place.csv cannot be written: No such file or directory; choose"
            " another place with --out."
        ),
    ),
    (
        ["--format", "json", "--out", "taken"],
        "taken cannot be written: Is a directory; choose another place with --out.",
    ),
    (
        ["--format", "json", "--out", "."],
        ". cannot be written: Is a directory; choose another place with --out.",
    ),
    (
        ["--format", "csv", "--out", "pipe"],
        "pipe cannot be written: It is no ordinary file; choose another place with --out.",
    ),
]


def test_what_is_wrong_is_a_sentence_and_leaves_nothing(runtide: Command) -> None:
    runtide.configure("http://127.0.0.1:9/v1")
    (runtide.directory / "taken").mkdir()
    os.mkfifo(runtide.directory / "pipe")

    for words, sentence in WRONG:
        answer = runtide("report", *words)
        assert (answer.code, answer.err) == (2, f"runtide: {sentence}\n")
    names = sorted(path.name for path in runtide.directory.iterdir())
    assert names == ["config.toml", "pipe", "taken"]
    assert (runtide.directory / "pipe").is_fifo()


def test_a_link_stays_and_what_it_leads_to_is_replaced(runtide: Command) -> None:
    runtide.configure("http://127.0.0.1:9/v1")
    link, place = runtide.directory / "latest.csv", runtide.directory / "october.csv"
    link.symlink_to("october.csv")

    assert runtide("report", "--format", "csv", "--out", "latest.csv").code == 0
    assert link.is_symlink()
    assert place.read_text().startswith("day,source,")


def test_without_the_extra_it_says_how_to_get_it(
    runtide: Command, without_extra: str
) -> None:
    runtide.configure("http://127.0.0.1:9/v1")

    page = runtide("report", PYTHONPATH=without_extra)
    rows = runtide("report", "--format", "json", PYTHONPATH=without_extra)

    assert page.code == 2
    assert page.err == (
        "runtide: A report needs packages that are not installed; install runtide with its"
        " extra `report` (pip install '.[report]' in its repository), or choose --format"
        " csv or json.\n"
    )
    assert (rows.code, rows.out) == (0, "The report is runtide-report.json.\n")
