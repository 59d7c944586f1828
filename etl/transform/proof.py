"""When what a payload says was surely true: what a reading out of a file is worth."""

from itertools import chain

from etl.domain.run import Instant, Reject, Run
from etl.transform.json_text import load
from etl.transform.kinds import INSTANT

TOLD = ("created_at", "started_at", "completed_at", "failed_at", "cancelled_at")
"""What has happened; `expires_at` has not."""

UNKNOWN = Instant(0)


def true_at(entry: Run | Reject, *, saved_at: Instant | None, latest: Instant) -> Instant:
    """The latest instant that a payload tells of, or at which its file was saved.

    An ended state wins over an open one that proves the same; nothing is later than
    `latest`. What tells of no instant proves none, and stands before everything else.
    """
    proved = _of_run(entry) if isinstance(entry, Run) else _of_reject(entry)
    return Instant(min(max(proved, saved_at or UNKNOWN), latest))


def _of_run(run: Run) -> Instant:
    proved = max(
        run.created_at,
        run.started_at or UNKNOWN,
        run.completed_at or UNKNOWN,
        run.failed_at or UNKNOWN,
        run.cancelled_at or UNKNOWN,
    )
    return proved if run.is_open else Instant(proved + 1)


def _of_reject(reject: Reject) -> Instant:
    try:
        source = load(reject.payload)
    except (ValueError, RecursionError):
        return UNKNOWN
    if not isinstance(source, dict):
        return UNKNOWN
    read = (INSTANT.read(source.get(name))[0] for name in TOLD)
    return Instant(max(chain([UNKNOWN], filter(None, read))))
