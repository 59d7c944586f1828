"""The documents that are written from a database, and the commands that write them."""

from sqlalchemy.engine import Connection

from scripts.documenting.catalogue import catalogue
from scripts.documenting.dbt_sources import dbt_sources
from scripts.documenting.dictionary import dictionary
from scripts.documenting.published import ROOT, Documents
from scripts.documenting.questions import answered

DICTIONARY = "scripts/dictionary"
QUERIES = "scripts/queries"
WITH_QUERIES = ("docs/queries.md", "README.md")


def dictionary_of(connection: Connection) -> Documents:
    """The data dictionary and the sources for dbt; any database with the schema will do."""
    found = catalogue(connection)
    return {
        "docs/data-dictionary.md": dictionary(found),
        "docs/dbt/sources.yml": dbt_sources(found),
    }


def queries_of(connection: Connection) -> Documents:
    """The pages with queries, their outputs made anew on the demo world."""
    return {
        path: answered((ROOT / path).read_text("utf-8"), connection)
        for path in WITH_QUERIES
    }
