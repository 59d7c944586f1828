"""Pages with queries: the block after each query holds what psql would print."""

import re
import unicodedata
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from decimal import Decimal

import psycopg
from sqlalchemy.engine import Connection

QUERY = re.compile(r"```sql\n(?P<query>.+?);\n```\n\n```\n(?P<output>.*?)```\n", re.DOTALL)
RIGHT = (int, float, Decimal)
"""Numbers stand at the right of their column, as psql has it."""


def answered(page: str, connection: Connection) -> str:
    """The page, with the output of each query made anew; nothing else changes."""

    def again(found: "re.Match[str]") -> str:
        query = found["query"]
        return f"```sql\n{query};\n```\n\n```\n{output(query, connection)}```\n"

    return QUERY.sub(again, page)


def output(query: str, connection: Connection) -> str:
    """What psql prints for a query."""
    driver = connection.connection.driver_connection
    assert isinstance(driver, psycopg.Connection)  # noqa: S101  # for the types
    cursor = driver.execute(query.encode())
    headings = [column.name for column in cursor.description or ()]
    return "".join(f"{line}\n" for line in _lines(headings, cursor.fetchall()))


def _lines(headings: Sequence[str], rows: Sequence[Sequence[object]]) -> Iterator[str]:
    columns = [
        _column(heading, [row[place] for row in rows])
        for place, heading in enumerate(headings)
    ]
    head, rule, *body = zip(*columns, strict=True)
    yield "|".join(head).rstrip()
    yield "+".join(rule)
    yield from ("|".join(cells).rstrip() for cells in body)
    yield f"({len(rows)} row{'' if len(rows) == 1 else 's'})"


def _column(heading: str, values: Sequence[object]) -> list[str]:
    """Heading, rule and cells of one column, all of one width."""
    cells = [_cell(value) for value in values]
    width = max(map(_width, (heading, *cells)))
    is_number = any(isinstance(v, RIGHT) and not isinstance(v, bool) for v in values)
    body = [_padded(cell, width, at_right=is_number) for cell in cells]
    named = " " * ((width - len(heading)) // 2) + heading
    return [f" {named:{width}} ", "-" * (width + 2), *(f" {cell} " for cell in body)]


def _padded(cell: str, width: int, *, at_right: bool) -> str:
    blanks = " " * (width - _width(cell))
    return blanks + cell if at_right else cell + blanks


def _width(cell: str) -> int:
    """Columns of a terminal; letters of Chinese, Japanese and Korean take two."""
    return sum(2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in cell)


def _cell(value: object) -> str:
    match value:
        case None:
            return ""
        case bool():
            return "t" if value else "f"
        case datetime():
            return _moment(value)
        case list():
            cells = ("NULL" if each is None else _cell(each) for each in value)
            return "{" + ",".join(cells) + "}"
        case _:
            return str(value)


def _moment(value: datetime) -> str:
    """An instant as a session in UTC writes it."""
    text = value.astimezone(UTC).isoformat(" ").removesuffix("+00:00")
    return f"{text.rstrip('0') if '.' in text else text}+00"
