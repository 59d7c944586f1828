"""Files of run history: cut at their objects, whatever they are packed in and wherever."""

import errno
import gzip
import io
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from backports import zstd
from hypothesis import example, given, settings
from hypothesis import strategies as st

from etl.domain.errors import ConfigError, FileError
from etl.domain.importing import Damage, Other
from etl.domain.page import Payload
from etl.domain.run import Instant
from etl.extract.archive.files import ArchiveFile, check_paths, files_of
from etl.extract.archive.packing import Unpacked
from etl.extract.archive.scanning import Scanner
from etl.extract.archive.things import thing_of
from tests.integration.builders import a_payload

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text()
)
VALUES = st.recursive(
    SCALARS,
    lambda below: (
        st.lists(below, max_size=3) | st.dictionaries(st.text(), below, max_size=3)
    ),
    max_leaves=12,
)
RECORDS = st.fixed_dictionaries(
    {"id": st.text(min_size=1), "object": st.just("thread.run")},
    optional={"metadata": VALUES, "tools": VALUES, '"}],{': VALUES, "status": SCALARS},
)


def pieces(data: bytes, size: int) -> Iterator[bytes]:
    return (data[at : at + size] for at in range(0, len(data), size))


def scanned(data: bytes, *, size: int = 1 << 20, **options: Any) -> list[Any]:
    """What a scanner gives out: objects as values, damage as it is."""
    elements = Scanner(pieces(data, size), **options).elements()
    return [each if isinstance(each, Damage) else json.loads(each) for each in elements]


def lists(runs: list[Any], indent: int | None) -> str:
    return json.dumps({"object": "list", "data": runs, "has_more": False}, indent=indent)


def as_lines(runs: list[Any], indent: int | None) -> str:
    del indent
    return "".join(json.dumps(each) + "\n" for each in runs)


SHAPES: dict[str, Callable[[list[Any], int | None], str]] = {
    "an array": lambda runs, indent: json.dumps(runs, indent=indent),
    "JSON Lines": as_lines,
    "JSON Lines with commas": lambda runs, _: as_lines(runs, None).replace("}\n", "},\n"),
    "objects one after the other": lambda runs, indent: " ".join(
        json.dumps(each, indent=indent) for each in runs
    ),
    "a list answer": lists,
    "list answers": lambda runs, indent: "\n".join(lists([each], indent) for each in runs),
    "an array of list answers": lambda runs, indent: json.dumps(
        [json.loads(lists(runs, None)), json.loads(lists([], None))], indent=indent
    ),
    "an array of arrays": lambda runs, indent: json.dumps([[], runs], indent=indent),
    "runs under a name": lambda runs, indent: json.dumps({"runs": runs}, indent=indent),
    "runs by thread": lambda runs, indent: json.dumps(
        {"thread_a": runs, "thread_b": []}, indent=indent
    ),
    "pages by thread": lambda runs, indent: json.dumps(
        {"thread_a": {"object": "list", "data": runs}}, indent=indent
    ),
    "threads with their runs": lambda runs, indent: json.dumps(
        [{"id": "thread_a", "object": "thread", "runs": runs}], indent=indent
    ),
}


@pytest.mark.parametrize("shape", SHAPES)
@settings(max_examples=20)
@given(
    runs=st.lists(RECORDS, max_size=5),
    size=st.integers(1, 200),
    indent=st.sampled_from([None, 0, 2]),
)
@example(runs=[{"id": "a", "object": "thread.run"}] * 3, size=1, indent=0)
def test_every_shape_gives_its_runs_wherever_the_stream_is_cut(
    shape: str, runs: list[Any], size: int, indent: int | None
) -> None:
    data = SHAPES[shape](runs, indent).encode()

    assert scanned(data, size=size) == runs


@given(data=st.data(), size=st.integers(1, 60))
def test_damage_is_the_same_wherever_the_stream_is_cut(data: Any, size: int) -> None:
    runs = data.draw(st.lists(RECORDS, min_size=1, max_size=4))
    text = SHAPES[data.draw(st.sampled_from(sorted(SHAPES)))](runs, None).encode()
    at = data.draw(st.integers(0, len(text) - 1))
    put = data.draw(st.sampled_from([b"", b'"', b"}", b"{", b"]", b"\n", b"\0", b","]))
    damaged = text[:at] + put + text[at + 1 :]

    def texts(size: int) -> list[Any]:
        return list(Scanner(pieces(damaged, size)).elements())

    assert texts(size) == texts(1 << 20)


@settings(max_examples=30)
@given(VALUES)
def test_whatever_a_list_holds_comes_out_as_it_is(value: Any) -> None:
    """Objects that hold nothing but lists and objects are gone into, and lists always."""
    run = {"id": "run_1", "object": "thread.run", "metadata": value}

    assert scanned(json.dumps([run, run]).encode(), size=7) == [run, run]


def test_objects_nested_deeper_than_one_match_reaches_are_counted_out() -> None:
    deep: Any = "end"
    for _ in range(40):
        deep = {"in": [deep]}
    runs = [{"id": "run_1", "metadata": deep}, {"id": "run_2"}]

    assert scanned(json.dumps(runs).encode(), size=11) == runs


RUNS = [{"id": f"run_{number}", "object": "thread.run"} for number in range(1, 6)]
LINES = [json.dumps(each).encode() for each in RUNS]


def test_a_file_that_ends_too_soon_gives_what_is_whole() -> None:
    data = b"\n".join(LINES)[:-5]

    assert scanned(data) == [*RUNS[:4], Damage("ends in the middle", 5, 160)]


def test_a_list_that_ends_too_soon_gives_what_is_whole() -> None:
    data = b'{"object":"list","data":[' + b",".join(LINES)[:-5]

    assert scanned(data) == [*RUNS[:4], Damage("ends in the middle", 1, 185)]


def test_half_written_lines_cost_only_themselves() -> None:
    data = b"\n".join([LINES[0][:-4], LINES[1], LINES[2], LINES[3][:9], LINES[4], b"oops"])

    assert scanned(data) == [
        Damage("is damaged", 1, 0),
        RUNS[1],
        RUNS[2],
        Damage("is damaged", 4, 116),
        RUNS[4],
        Damage("is no JSON", 6, 166),
    ]


@pytest.mark.parametrize("size", [1, 20, 1 << 20])
def test_a_line_that_ends_behind_a_backslash_costs_only_itself(size: int) -> None:
    text = b'{"id": "run_1", "x": "a\\\nb"}\n' + LINES[0] + b"\n"

    *damage, run = Scanner(pieces(text, size)).elements()

    assert [each.line for each in damage if isinstance(each, Damage)] == [1, 2]
    assert run == LINES[0]


def test_what_is_larger_than_a_run_can_be_is_not_held_in_memory() -> None:
    large = b'{"id": "run_9", "metadata": {"k": "' + b"x" * 5_000 + b'"}}'
    data = b"\n".join([LINES[0], large, LINES[1]])

    assert scanned(data, size=100, largest=1_000) == [
        RUNS[0],
        Damage("holds an object of more than 1,000 bytes", 2, 40),
        RUNS[1],
    ]


def test_a_list_larger_than_any_bound_is_read_all_the_same() -> None:
    data = json.dumps({"whatever": {"runs": RUNS * 500}}).encode()

    assert scanned(data, size=512, largest=4_096) == RUNS * 500


# what things are ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (a_payload("msg_1", object="thread.message"), "thread.message"),
        (a_payload("step_1", object="thread.run.step"), "thread.run.step"),
        ({"id": "asst_1", "object": "assistant", "created_at": 1}, "assistant"),
        ({"id": "run_1", "object": "thread.run.deleted"}, "thread.run.deleted"),
        ({"error": {"message": "no"}}, "error"),
        ({"a": 1}, "other JSON"),
        ({"object": "\x1b[31m"}, "other JSON"),
        (3, "other JSON"),
    ],
)  # fmt: skip
def test_what_is_no_run_is_called_by_its_name(value: Any, kind: str) -> None:
    assert thing_of(json.dumps(value).encode()) == Other(kind)


@pytest.mark.parametrize(
    "value",
    [
        a_payload(thread_id="thread_a"),
        {"id": "run_1", "object": "thread.run"},
        {"id": 7, "status": "completed", "created_at": 1_700_000_000_000},
        {"id": "run_1", "object": "run", "status": "queued", "created_at": 1},
    ],
)
def test_what_looks_like_a_run_is_one(value: Any) -> None:
    thing = thing_of(json.dumps(value).encode())

    assert isinstance(thing, Payload)
    assert (thing.run_id, json.loads(thing.text)) == (str(value["id"]), value)


def test_a_damaged_text_is_a_run_only_where_it_says_so() -> None:
    thing = thing_of(b'{"id": "run_1", "object": "thread.run", "status": }')

    assert isinstance(thing, Payload)
    assert thing.run_id == "run_1"
    assert thing_of(b'{"id": 1 2}') is None


# what they are packed in ---------------------------------------------------------------

TEXT = b"\n".join(LINES) + b"\n"
PACKED = {
    "plain": TEXT,
    "with a byte order mark": b"\xef\xbb\xbf" + TEXT,
    "gzip": gzip.compress(TEXT),
    "gzip in members": gzip.compress(TEXT[:50]) + gzip.compress(TEXT[50:]) + b"\0" * 9,
    "zstd": zstd.compress(TEXT),
    "zstd in frames": zstd.compress(TEXT[:50]) + zstd.compress(TEXT[50:]),
}


@pytest.mark.parametrize("packed", PACKED)
def test_what_a_file_begins_with_says_how_it_is_packed(packed: str) -> None:
    unpacked = Unpacked(io.BytesIO(PACKED[packed]))

    assert b"".join(unpacked.pieces()) == TEXT
    assert unpacked.trouble is None


@pytest.mark.parametrize("packed", ["gzip", "zstd"])
def test_packed_content_that_ends_too_soon_is_read_as_far_as_it_goes(packed: str) -> None:
    many = b"".join(
        b'{"id": "run_%d", "object": "thread.run"}\n' % n for n in range(99_999)
    )
    pack = gzip.compress if packed == "gzip" else zstd.compress
    whole = pack(many)
    unpacked = Unpacked(io.BytesIO(whole[: len(whole) // 2]))

    came = b"".join(unpacked.pieces())

    assert many.startswith(came)
    assert len(came) > len(many) // 10
    assert unpacked.trouble == "its packed content is damaged, or ends too soon"


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "is empty"),
        (b" \n", "is empty"),
        (b"%PDF-1.7 \n", "is a PDF document"),
        (b"SQLite format 3\0", "is an SQLite database"),
        (b"PAR1\x15\x04", "is a Parquet file"),
        (b"PK\x03\x04", "is a zip archive, which is to be unpacked first"),
        (b"sk-secret\n", "holds no JSON, which begins with { or ["),
        ("[]".encode("utf-16"), "is text in UTF-16 or UTF-32; write it as UTF-8"),
        ("[]".encode("utf-16-le"), "is text in UTF-16 or UTF-32; write it as UTF-8"),
        (gzip.compress(b"%PDF-1.7", mtime=0), "is a PDF document"),
    ],
)  # fmt: skip
def test_foreign_files_are_told_by_what_they_are(content: bytes, sentence: str) -> None:
    with pytest.raises(FileError) as caught:
        list(Unpacked(io.BytesIO(content)).pieces())

    assert str(caught.value) == sentence


# where they lie ------------------------------------------------------------------------


def test_folders_are_gone_through_in_order_and_hidden_files_are_left_out(
    tmp_path: Path,
) -> None:
    for name in ("b/2.json", "b/1.json", "a.json", ".hidden.json", ".git/x.json"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("{}")

    found = [Path(each.name).relative_to(tmp_path) for each in files_of([str(tmp_path)])]

    assert [str(each) for each in found] == ["a.json", "b/1.json", "b/2.json"]


def test_links_to_folders_are_followed_each_folder_once(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "out").mkdir()
    (tmp_path / "out/1.json").write_text("{}")
    (tmp_path / "in/back").symlink_to(tmp_path / "in")
    (tmp_path / "in/latest").symlink_to(tmp_path / "out")
    (tmp_path / "in/newest").symlink_to(tmp_path / "out")

    found = [each.name for each in files_of([str(tmp_path / "in")])]

    assert found == [str(tmp_path / "in/latest/1.json")]


def test_a_folder_that_cannot_be_read_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "closed").mkdir()
    (tmp_path / "open.json").write_text("{}")
    scandir = os.scandir

    def refusing(path: str | Path) -> Any:
        if Path(path).name == "closed":
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refusing)
    whole, closed = files_of([str(tmp_path)])

    assert [Path(each.name).name for each in (whole, closed)] == ["open.json", "closed"]
    with pytest.raises(FileError, match=r"^cannot be read: Permission denied$"):
        list(closed.things(after=0))


def test_a_name_that_is_no_utf_8_is_written_out_and_the_file_opens(tmp_path: Path) -> None:
    try:
        Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff.json")).write_text("{}")
    except OSError:
        pytest.skip("this file system takes names of UTF-8 only")

    [file] = files_of([str(tmp_path)])

    assert file.name == file.path == f"{tmp_path}/\\xff.json"
    assert list(file.things(after=0)) == [Other("other JSON")]


def test_an_empty_path_is_not_the_current_directory() -> None:
    with pytest.raises(ConfigError, match="One of the paths is empty; nothing was"):
        check_paths([""])


def test_a_path_that_no_file_can_have_is_refused() -> None:
    with pytest.raises(ConfigError, match="cannot be read: File name too long; nothing"):
        check_paths(["x" * 5_000])


def test_a_path_that_does_not_exist_is_refused_before_anything_is_read() -> None:
    with pytest.raises(ConfigError) as caught:
        check_paths(["/nowhere/at/all.json"])

    assert str(caught.value) == "There is no /nowhere/at/all.json; nothing was imported."


def test_damage_before_the_place_of_going_on_is_told_and_not_counted(
    tmp_path: Path,
) -> None:
    path = tmp_path / "runs.jsonl"
    path.write_bytes(LINES[0] + b'\n{"id": 1 2}\n' + b"\n".join(LINES[1:]))
    [file] = files_of([str(path)])

    damage, *rest = file.things(after=3)

    assert isinstance(damage, Damage)
    assert damage.line == 2
    assert [each.run_id for each in rest if isinstance(each, Payload)] == ["run_4", "run_5"]


def test_going_on_passes_over_as_many_objects_as_were_taken(tmp_path: Path) -> None:
    path = tmp_path / "runs.jsonl"
    path.write_bytes(TEXT)
    file = ArchiveFile("runs.jsonl", str(path), len(TEXT), Instant(0), path)

    things = list(file.things(after=3))

    assert [thing.run_id for thing in things if isinstance(thing, Payload)] == [
        "run_4",
        "run_5",
    ]
    assert file.bytes_read == len(TEXT)
