"""`forget`: one thread, or what is left over, out of every table."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from sqlalchemy.engine import Connection, Engine

from etl.config import Settings
from etl.domain.batch import SourceId
from etl.domain.errors import ConfigError
from etl.domain.outcome import Outcome
from etl.domain.run import ThreadId
from etl.load.database import connected
from etl.load.erasing import Erased, Leftovers, Traces, erase, sweep, traces
from etl.load.holding import holding
from etl.load.threads import known_sources
from etl.wiring.parts import ready_database, source_ids
from etl.wiring.syncs import in_ledger

Confirm = Callable[[Traces], bool]
"""Asks whether what is there of a thread may go."""


def forget(
    settings: Settings, *, thread: ThreadId, source: str | None, confirm: Confirm
) -> Erased | None:
    """Erase a thread of all sources, or of one; None where that was not confirmed.

    Sources that the file names no more count too: their rows are still there.
    """
    with ready_database(settings) as engine:
        ids = _chosen(settings, engine, source)
        with connected(engine) as connection:
            found = traces(connection, ids, thread)
        if not confirm(found):
            return None
        with _alone(engine) as connection:
            return erase(connection, ids, thread)


def forget_leftovers(settings: Settings) -> Leftovers:
    """Erase the instructions and tool lists that no run refers to."""
    with ready_database(settings) as engine, _alone(engine) as connection:
        return sweep(connection)


@contextmanager
def _alone(engine: Engine) -> Iterator[Connection]:
    """A transaction while no sync works; raises HeldError where one does.

    All sources share the dictionaries, and a sync does not look again at entries
    that it has stored.
    """
    every = list(known_sources(engine).values())
    with (
        holding(engine, every, trigger="forget") as hold,
        in_ledger(engine, hold) as report,
    ):
        with hold.connection.begin():
            yield hold.connection
        report.outcome = Outcome.SUCCEEDED


def _chosen(settings: Settings, engine: Engine, source: str | None) -> list[SourceId]:
    source_ids(engine, settings.config.sources)
    known = known_sources(engine)
    if source is None:
        return list(known.values())
    if source not in known:
        names = ", ".join(known)
        raise ConfigError(
            f"There is no source {source!r}, in {settings.path} or in the tables; there"
            f" is {names}."
        )
    return [known[source]]
