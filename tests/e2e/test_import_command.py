"""`runtide import`: what it says, its exit codes, and what a kill leaves behind."""

import gzip
import json
import random
import subprocess
import sys
from signal import SIGKILL

import pytest
from sqlalchemy.engine import Engine

from etl.load.database import opened
from tests.e2e.conftest import Command
from tests.integration.builders import a_payload, query

ARCHIVE = '[[sources]]\nname = "old"\nkind = "archive"\n'
SERVER = '[[sources]]\nname = "new"\nbase_url = "http://127.0.0.1:9/v1"\n'


@pytest.fixture
def archive(runtide: Command) -> Command:
    """The command, with an archive as its only source."""
    (runtide.directory / "config.toml").write_text(ARCHIVE)
    return runtide


def lines(*numbers: int) -> bytes:
    """Runs as JSON Lines."""
    runs = (a_payload(f"run_{each}", thread_id=f"thread_{each % 7}") for each in numbers)
    return b"".join(json.dumps(each).encode() + b"\n" for each in runs)


def figures(out: str) -> list[str]:
    """The row of figures under the headings; not how long it took."""
    rows = [line.split() for line in out.splitlines()]
    heading = next(at for at, row in enumerate(rows) if row[:1] == ["outcome"])
    return rows[heading + 2][:-1]


def test_a_folder_of_everything_gives_its_runs_and_a_sentence_for_the_rest(
    archive: Command,
) -> None:
    folder = archive.directory / "dump"
    folder.mkdir()
    (folder / "a.jsonl").write_bytes(lines(1, 2))
    (folder / "b.json.gz").write_bytes(b"[" + lines(3, 4).replace(b"}\n{", b"},{") + b"]")
    (folder / "c").write_bytes(gzip.compress(lines(5, 6)))
    (folder / "d.jsonl").write_bytes(lines(7, 8)[:-9])
    (folder / "e.jsonl").write_bytes(
        lines(9) + b'{"id": "run_10", "tools": [\n' + lines(11)
    )
    (folder / "f.pdf").write_bytes(b"%PDF-1.4\n")
    (folder / "g.json").write_bytes(b"")
    (folder / "h.csv").write_bytes(b"id,status\nrun_1,completed\n")
    (folder / "i.gz").write_bytes(gzip.compress(lines(*range(20, 4_000)))[:-500])
    (folder / "j.json").write_text('[{"object": "thread.message", "id": "msg_1"}, 5]')

    done = archive("import", "dump")

    assert done.code == 3
    assert done.err.splitlines()[:5] == [
        "runtide: dump/d.jsonl ends in the middle of line 2; 1 run before it is imported.",
        "runtide: dump/e.jsonl is damaged at line 2; 1 run before it is imported.",
        "runtide: dump/f.pdf is a PDF document.",
        "runtide: dump/g.json is empty.",
        "runtide: dump/h.csv holds no JSON, which begins with { or [.",
    ]
    assert len(done.err.splitlines()) == 6
    assert done.err.splitlines()[5].startswith("runtide: dump/i.gz ")
    assert figures(done.out)[:2] == ["partial", "10"]
    assert "\nObjects that are no runs: 1 thread.message, 1 other JSON.\n" in done.out


def test_more_than_ten_sentences_are_counted(archive: Command) -> None:
    for number in range(13):
        (archive.directory / f"{number:02}.json").write_bytes(b"")

    done = archive("import", *(f"{number:02}.json" for number in range(13)), "--quiet")

    assert (done.code, done.out) == (3, "")
    assert done.err.splitlines() == [
        *(f"runtide: {number:02}.json is empty." for number in range(10)),
        "runtide: … and 3 more; with `--log-level warning` all of them are logged.",
    ]


def test_what_it_says_of_a_plain_import(archive: Command) -> None:
    (archive.directory / "runs.jsonl").write_bytes(lines(1, 2, 3))

    first = archive("import", "runs.jsonl")
    second = archive("import", "runs.jsonl")
    tried = archive("import", "--dry-run", "--again", "runs.jsonl")

    assert [each.code for each in (first, second, tried)] == [0, 0, 0]
    assert first.out.startswith("importing 1 file, ")
    assert figures(first.out) == ["succeeded", "1", "3", "3", "0", "0", "0", "0"]
    assert figures(tried.out) == ["succeeded", "1", "3", "0", "0", "3", "0", "0"]
    assert second.out.splitlines()[-1] == (
        "1 file imported before and not changed since; --again reads them anew."
    )
    assert tried.out.splitlines()[-1] == (
        "Nothing was written: this is what an import would do."
    )


def test_json_is_one_object(archive: Command) -> None:
    done = archive("import", "-", "--json", stdin=lines(1, 2).decode() + '{"error": {}}')

    told = json.loads(done.out)
    assert told.pop("seconds") >= 0
    assert told.pop("bytes_read") > 0
    assert (done.code, told) == (
        0,
        {
            "sync_id": 1,
            "dry_run": False,
            "outcome": "succeeded",
            "files": 1,
            "files_known": 0,
            "files_resumed": 0,
            "runs_read": 2,
            "runs_created": 2,
            "runs_updated": 0,
            "runs_unchanged": 0,
            "runs_left": 0,
            "runs_kept_out": 0,
            "rejects": 0,
            "threads_tracked": 0,
            "others": {"error": 1},
            "troubles": [],
            "troubles_count": 0,
        },
    )


MEANINGLESS = [
    (["nowhere.json"], "There is no nowhere.json; nothing was imported."),
    (["empty"], "There is no file in the folder empty; nothing was imported."),
    (
        ["-", "--saved-at", "yesterday"],
        (
            "--saved-at is 'yesterday'; write a date or an instant such as 2026-08-25"
            " or 2026-08-25T12:00:00Z."
        ),
    ),
    (["-", "-"], "Standard input can be read once; nothing was imported."),
]


def test_what_cannot_be_meant_is_refused_before_anything_begins(archive: Command) -> None:
    (archive.directory / "empty").mkdir()

    for arguments, sentence in MEANINGLESS:
        done = archive("import", *arguments)

        assert (done.code, done.out, done.err) == (2, "", f"runtide: {sentence}\n")
    assert archive("import", "-", "--json").out.startswith('{"sync_id": 1,')


def test_among_several_sources_one_must_be_named(archive: Command) -> None:
    (archive.directory / "config.toml").write_text(ARCHIVE + SERVER)

    done = archive("import", "-", stdin=lines(1).decode())
    named = archive("import", "-", "--source", "old", stdin=lines(1).decode())

    assert (done.code, done.err) == (
        2,
        "runtide: There are several sources (old, new); name one with --source.\n",
    )
    assert named.code == 0


# an archive among the sources ---------------------------------------------------------


def test_where_there_is_only_an_archive_no_server_is_missed(archive: Command) -> None:
    with (archive.directory / "config.toml").open("a") as file:
        file.write('[schedule]\ncron = "* * * * *"\n')
    archive("import", "-", stdin=lines(1).decode())

    syncs = [archive(each) for each in ("sync", "verify", "backfill", "schedule")]
    doctor, status = archive("doctor"), archive("status")

    assert [(each.code, each.err) for each in syncs] == [
        (
            2,
            (
                "runtide: Source 'old' is an archive and has no server to ask;"
                " `runtide import` reads its files.\n"
            ),
        )
    ] * 4
    assert (doctor.code, status.code) == (0, 0)
    assert doctor.out.splitlines()[-2] == (
        "ok        source old, kind: an archive: its runs come from files, by `runtide"
        " import`"
    )
    assert status.out.splitlines()[3].split() == [
        "old",
        "-",
        "0",
        "0",
        "0",
        "0",
        "0",
        "0",
        "-",
    ]


def test_an_archive_cannot_be_scheduled(archive: Command) -> None:
    with (archive.directory / "config.toml").open("a") as file:
        file.write('[schedule]\nsource = "old"\n')

    done = archive("status")

    assert (done.code, done.err) == (
        2,
        (
            "runtide: config.toml: schedule.source is 'old', an"
            " archive, which has no server to ask; leave it out.\n"
        ),
    )


# kill -9 ------------------------------------------------------------------------------


@pytest.mark.parametrize("kills", [2, pytest.param(25, marks=pytest.mark.slow)])
def test_a_killed_import_loses_nothing_and_doubles_nothing(
    archive: Command, database_url: str, kills: int
) -> None:
    """Killed once some rows are there, again and again; the ledger counts each row once."""
    dice = random.Random(kills)  # noqa: S311  # any instant will do
    path = archive.directory / "runs.jsonl"
    size = 6_000 * (kills + 1)
    path.write_bytes(lines(*range(size)))
    with opened(database_url) as engine:
        for _ in range(kills):
            kill_an_import(archive, engine, after=dice.randint(1, 4_000))
            check(engine, size)
        assert archive("import", "--quiet", "runs.jsonl").code == 0
        check(engine, size)
        assert taken(engine) == size
        assert query(engine, "SELECT count(*) FROM run_history.runs") == [(size,)]
        assert query(engine, "SELECT sum(runs_read) FROM run_sync.syncs") == [(size,)]


def kill_an_import(command: Command, engine: Engine, *, after: int) -> None:
    """End an import once it has taken in so many more runs, if it gets that far."""
    goal = taken(engine) + after
    work = subprocess.Popen(
        [sys.executable, "-m", "etl", "import", "--quiet", "runs.jsonl"],
        cwd=command.directory,
        env=command.full_environment(),
        stderr=subprocess.PIPE,
        text=True,
    )
    while work.poll() is None and taken(engine) < goal:
        pass
    work.send_signal(SIGKILL)
    _, said = work.communicate(timeout=60)
    assert work.returncode in {0, -SIGKILL}
    assert said == ""


def taken(engine: Engine) -> int:
    found = query(engine, "SELECT payloads FROM run_sync.imports")
    return int(found[0][0]) if found else 0


def check(engine: Engine, size: int) -> None:
    """The rows are those before the place that is noted, and were counted once."""
    assert query(
        engine,
        "SELECT (SELECT count(*) FROM run_history.runs),"
        " (SELECT coalesce(sum(runs_created), 0) FROM run_sync.syncs)",
    ) == [(taken(engine), taken(engine))]
    assert taken(engine) <= size
