"""`scripts/dictionary` and `scripts/queries`: write the documents, or --check them."""

import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy.engine import Engine

from etl.load.database import connected, opened
from etl.load.embedded import EmbeddedPostgres
from etl.load.schema import upgrade
from scripts.documenting.demo_answers import fill, reader
from scripts.documenting.documents import DICTIONARY, QUERIES, dictionary_of, queries_of
from scripts.documenting.published import Documents, stale, write

USAGE = "usage: scripts/dictionary [--check], scripts/queries [--check]"
READER = "reader"


def main(arguments: list[str]) -> int:
    """Write what is named first; with --check say what is stale, exit code 1."""
    match arguments:
        case [("dictionary" | "queries") as what]:
            _, documents = _made(what)
            write(documents)
            return 0
        case [("dictionary" | "queries") as what, "--check"]:
            command, documents = _made(what)
            sentences = stale(documents, command)
            print("\n".join(sentences), file=sys.stderr, end="\n" if sentences else "")
            return 1 if sentences else 0
        case _:
            print(USAGE, file=sys.stderr)
            return 2


def _made(what: str) -> tuple[str, Documents]:
    makers: dict[str, tuple[str, Callable[[Engine], Documents]]] = {
        "dictionary": (DICTIONARY, _dictionary),
        "queries": (QUERIES, _queries),
    }
    command, make = makers[what]
    with _database() as engine:
        return command, make(engine)


def _dictionary(engine: Engine) -> Documents:
    with connected(engine) as connection:
        return dictionary_of(connection)


def _queries(engine: Engine) -> Documents:
    fill(engine)
    with reader(engine, READER) as connection:
        return queries_of(connection)


@contextmanager
def _database() -> Iterator[Engine]:
    """A database with the newest schema, on a server that goes when it is done."""
    with tempfile.TemporaryDirectory(prefix="runtide-documents-") as folder:
        server = EmbeddedPostgres(Path(folder) / "postgres")
        with server.hold() as url, opened(url) as engine:
            with connected(engine) as connection:
                upgrade(connection)
            yield engine


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
