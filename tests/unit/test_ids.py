"""Ids as people write them into files."""

from pathlib import Path

import pytest

from etl.cli.ids import read_ids
from etl.domain.errors import ConfigError


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "ids.txt"


@pytest.mark.parametrize(
    "content",
    [
        b"a\nb c\n",
        b"a\r\nb c\r\n",
        b"a\rb c",
        b"\xef\xbb\xbfa\nb c",
        "a\nb c\n".encode("utf-16"),
        b"  a \n\n\t\nb c\t \na\n",
        b'"a"\n"b c"\n',
        b"thread_id\na\nb c\n",
        b"\xef\xbb\xbf\r\nThread_ID\r\na\r\nb c\r\n",
        b"openai_thread_id\na\nb c",
        b"id\na\nb c\n",
        b'id,"thread_id",title\n1,a,"x, y"\n2,"b c",z\n3,,nothing\n4\n',
        b"title;threadId\nx;a\ny;b c\n",
        b"thread_id\ttitle\na\tx\nb c\ty\n",
    ],
)
def test_files_look_in_many_ways_and_hold_the_same_ids(file: Path, content: bytes) -> None:
    file.write_bytes(content)

    assert read_ids(None, file) == ["a", "b c"]


def test_ids_of_the_command_line_come_first_and_each_once(file: Path) -> None:
    file.write_text("b\na\nc\n")

    assert read_ids(["c", " a "], file) == ["c", "a", "b"]


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "No thread id is given; name some, or a file of them with --file."),
        (
            b"thread_id\n",
            "No thread id is given; name some, or a file of them with --file.",
        ),
        (
            b"a\nb\x07\n" + b"x" * 300,
            (
                r"'b\x07' (and 1 more) is no thread id: it is . or .., or holds control"
                " characters or more than 256 characters. Nothing was changed."
            ),
        ),
        (
            b'{"id": "thread_a"}\n{"id": "thread_b"}\n',
            (
                '{file} looks like JSON (\'{{"id": "thread_a"}}\'); write one id a line.'
                " Nothing was changed."
            ),
        ),
        (
            b'thread_id,title\na,"' + b"x" * 200_000,
            (
                "{file} cannot be read as CSV: field larger than field limit (131072); look"
                " for a quotation mark that is not closed. Nothing was changed."
            ),
        ),
        (
            b"id,title\n1,x\n",
            (
                "{file} looks like a table ('id,title'), and no column of its first line is"
                " named thread_id; name one so, or write one id a line. Nothing was"
                " changed."
            ),
        ),
        (
            b"a\nb\xff",
            (
                "{file} is not UTF-8 text: 'utf-8' codec can't decode byte 0xff in position"
                " 3: invalid start byte."
            ),
        ),
    ],
)
def test_what_holds_no_ids_is_refused_as_a_whole(
    file: Path, content: bytes, sentence: str
) -> None:
    file.write_bytes(content)

    with pytest.raises(ConfigError) as caught:
        read_ids(None, file)

    assert str(caught.value) == sentence.format(file=file)
