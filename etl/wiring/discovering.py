"""A source's discovery, from the settings to new threads in the registry."""

import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from functools import partial
from uuid import UUID

from sqlalchemy.engine import Engine

from etl.config import DiscoveryConfig, Settings, SourceConfig
from etl.config.sections import span
from etl.domain.batch import SourceId
from etl.domain.digest import digest
from etl.domain.discovery import Discovered, Position
from etl.domain.errors import ContractError, DiscoveryError, RefusedError, RetryableError
from etl.domain.found import Found
from etl.domain.run import ThreadId
from etl.load import discoveries, tracking
from etl.load.asking import Question, asked
from etl.sync import Discover, ThreadLister, discover_by_list, discover_by_query
from etl.sync.discovering import UNTOLD
from etl.sync.ports import nothing_to_discover

log = logging.getLogger(__name__)

LISTED_WHOLE_EVERY = "7d"
"""How often a server's list is read to its end: threads may come in out of order."""


UNDISCOVERED = "new threads were not discovered"

LIST = digest(b"the server's own list")
"""The question that a list answers."""

Discovers = Callable[["Findings", Discovered], Iterator[int]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """Where one discovery of a sync writes what it has found."""

    engine: Engine
    source_id: SourceId
    sync_id: int
    question: UUID = LIST

    def reached(self, whole_every: str) -> discoveries.Reached | None:
        """How far this question has come."""
        return discoveries.reached(
            self.engine, self.source_id, self.question, whole_every=span(whole_every)
        )

    def track(
        self,
        thread_ids: Sequence[ThreadId],
        active_at: Mapping[ThreadId, datetime] = UNTOLD,
    ) -> Found:
        """Track new threads, and note when they were active."""
        return tracking.track_found(self.engine, self.source_id, thread_ids, active_at)

    def note_whole(self, position: Position | None) -> None:
        """Note that everything was asked for."""
        discoveries.note_whole(self.engine, self.source_id, self.question, position)

    def note_hints(self, *, told: bool) -> None:
        """Note whether the answer tells when threads were active."""
        discoveries.note_hints(self.engine, self.source_id, told=told)

    def note_on(self, position: Position | None) -> None:
        """Note that what is new was asked for."""
        discoveries.note_on(self.engine, self.source_id, position)


def discovery(
    settings: Settings,
    source: SourceConfig,
    findings: Findings,
    lister: ThreadLister | None,
    *,
    stop: threading.Event,
) -> Discover:
    """How new threads of a source are found: by its query, in the server's list, or not.

    A query wins over `lister`, which is the client of a source whose server lists its
    threads. Nothing is asked before the sync's workers begin.
    """
    if source.discovery is not None:
        query = partial(_by_query, settings, source.name, source.discovery, stop=stop)
        return partial(_told, source, findings, query)
    if lister is not None:
        return partial(_told, source, findings, partial(_by_list, lister))
    return nothing_to_discover


def question_of(settings: Settings, name: str, told: DiscoveryConfig) -> Question:
    """What the application's database is asked; raises DiscoveryError where it is none."""
    url = settings.environment.get(told.url_env, "").strip()
    if not url:
        raise DiscoveryError(
            f"the environment variable {told.url_env}, which holds the URL of the database"
            f" that knows the threads of source {name!r}, is not set; set it"
        )
    seconds = int(span(told.timeout).total_seconds())
    return Question.to(url, told.sql, seconds=seconds, variable=told.url_env)


def _by_query(
    settings: Settings,
    name: str,
    told: DiscoveryConfig,
    findings: Findings,
    found: Discovered,
    *,
    stop: threading.Event,
) -> Iterator[int]:
    question = question_of(settings, name, told)
    findings = replace(findings, question=question.digest)
    known = findings.reached(told.whole_every)
    after = None if known is None or known.is_stale else known.position
    yield from discover_by_query(
        lambda behind: asked(question, after=behind, stop=stop),
        findings,
        found,
        after=after,
    )


def _by_list(lister: ThreadLister, findings: Findings, found: Discovered) -> Iterator[int]:
    known = findings.reached(LISTED_WHOLE_EVERY)
    whole = known is None or known.is_stale or known.position is not None
    yield from discover_by_list(lister, findings, found, whole=whole)


def _told(source: SourceConfig, findings: Findings, discover: Discovers) -> Iterator[int]:
    """Discover, and say in the log what was found; a failure is told with its sentence."""
    found, began = Discovered(), time.monotonic()
    try:
        yield from discover(findings, found)
    except DiscoveryError as error:
        raise DiscoveryError(f"{UNDISCOVERED}: {error}") from error
    except ContractError as error:
        raise DiscoveryError(
            f"{UNDISCOVERED}: {error}; set list_threads = false if it stays like this"
        ) from error
    except (RefusedError, RetryableError) as error:
        raise DiscoveryError(f"{UNDISCOVERED}: {error}") from error
    fields = asdict(found) | {
        "sync_id": findings.sync_id,
        "source": source.name,
        "seconds": round(time.monotonic() - began, 3),
    }
    level = logging.WARNING if found.odd or found.odd_instants else logging.INFO
    log.log(level, "threads discovered", extra=fields)
