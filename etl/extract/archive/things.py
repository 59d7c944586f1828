"""What one object of a file is: a run, something else that is counted, or damage."""

from typing import Any

import msgspec

from etl.domain.importing import Other
from etl.domain.page import Payload
from etl.domain.published import PublishedRun, is_plain
from etl.domain.run import RunId, ThreadId
from etl.extract.envelope import DAMAGE, payload_of

RUN = "thread.run"
LONGEST_KIND = 60
ERROR, UNKNOWN = "error", "other JSON"
MANIFEST = "manifest of an export"


class _Look(msgspec.Struct):
    """What tells a run from other things; each of any type, or absent."""

    id: Any = None
    object: Any = None
    status: Any = None
    created_at: Any = None
    error: Any = None
    runtide_export: Any = None


_decode_published = msgspec.json.Decoder(PublishedRun).decode
_decode_look = msgspec.json.Decoder(_Look).decode


def thing_of(text: bytes) -> Payload | Other | None:
    """What an object is; None where it is no JSON, and nothing says that it was a run.

    What says that it is a run is one, even where it cannot be read any further.
    """
    if is_plain(text):
        try:
            run = _decode_published(text)
        except DAMAGE:
            pass
        else:
            return _published(run, text)
    try:
        look = _decode_look(text)
    except msgspec.ValidationError:
        return Other(UNKNOWN)
    except DAMAGE:
        return payload_of(text) if b'"thread.run"' in text else None
    return payload_of(text) if _is_run(look) else Other(_kind(look))


def _published(run: PublishedRun, text: bytes) -> Payload | Other:
    if run.object != RUN:
        return payload_of(text) if run.id.startswith("run_") else Other(_shown(run.object))
    return Payload(text, RunId(run.id), ThreadId(run.thread_id), run.created_at, run)


def _is_run(look: _Look) -> bool:
    if look.object == RUN:
        return True
    if not isinstance(look.status, str) or not isinstance(
        look.created_at, int | float | str
    ):
        return False
    if isinstance(look.object, str):
        return str(look.id).startswith("run_")
    return isinstance(look.id, str | int)


def _kind(look: _Look) -> str:
    if isinstance(look.object, str):
        return _shown(look.object)
    if look.runtide_export is not None:
        return MANIFEST
    return ERROR if look.error is not None else UNKNOWN


def _shown(kind: str) -> str:
    is_a_word = kind.isprintable() and 0 < len(kind) <= LONGEST_KIND
    return kind if is_a_word else UNKNOWN
