"""The discovery of a source's threads: whether its query answers, and with what."""

import threading

from etl.config import DiscoveryConfig, Settings, SourceConfig
from etl.domain.activity import as_activity
from etl.domain.thread_id import as_thread_id
from etl.load.asking import asked
from etl.operations.doctor.finding import Finding, Place
from etl.sync.discovering import is_blank
from etl.wiring.discovering import question_of

CHECK = "discovery"
MOST_SHOWN = 40


def check_discovery(
    settings: Settings, place: Place, source: SourceConfig, told: DiscoveryConfig
) -> Finding:
    """Run the query as a sync does, for its first row only."""
    question = question_of(settings, source.name, told)
    rows = list(asked(question, after=None, stop=threading.Event(), most=1))
    if not rows:
        return place.ok(CHECK, "the query runs, and has no rows yet")
    [value] = rows[0].thread_ids
    if value is not None and as_thread_id(value) is None:
        return place.failed(
            CHECK,
            f"the query's first row holds {repr(value)[:MOST_SHOWN]}, which is no id",
            "return the ids first, or in a column named thread_id",
        )
    how = "all rows" if rows[0].position is None else "the rows behind its position"
    answer = f"the query answers, and each sync asks for {how}"
    if rows[0].active_at is None:
        return place.ok(CHECK, answer)
    [active_at] = rows[0].active_at
    if not is_blank(active_at) and as_activity(active_at) is None:
        return place.failed(
            CHECK,
            f"the query's first row holds {repr(active_at)[:MOST_SHOWN]} as active_at,"
            " which is no instant",
            "return a timestamp, an ISO 8601 text or seconds of the epoch",
        )
    return place.ok(CHECK, f"{answer}; its active_at tells which threads are due")
