"""Payload to run: a function that cannot fail; what cannot become a run is a reject."""

import json
from typing import Any

from etl.domain.page import Payload
from etl.domain.published import is_plain
from etl.domain.run import (
    Reject,
    RejectReason,
    Run,
    RunId,
    ThreadId,
)
from etl.transform.dictionaries import instructions_of, tool_set_of
from etl.transform.fields import OBJECT_NAME, RUN_FIELDS
from etl.transform.json_text import dump, load
from etl.transform.kinds import TEXT
from etl.transform.split import Columns, split
from etl.transform.strict import flatten_published, flatten_strictly


class _UnusableError(Exception):
    """The payload cannot become a run."""

    def __init__(self, reason: RejectReason, detail: str = "") -> None:
        super().__init__(reason, detail)
        self.reason = reason
        self.detail = detail


def flatten(payload: Payload, *, thread_id: ThreadId) -> Run | Reject:
    """Flatten one payload of a thread; an empty `thread_id` is none, as files have it.

    Every value ends in a column, in a dictionary or in `extra`; a value of an
    unexpected type does both where it can be read at all.
    """
    if payload.published is not None:
        run = flatten_published(payload.published)
    else:
        run = flatten_strictly(payload.text) if is_plain(payload.text) else None
    return run or flatten_leniently(payload, thread_id=thread_id)


def flatten_leniently(payload: Payload, *, thread_id: ThreadId) -> Run | Reject:
    """Flatten one payload, whatever it holds."""
    try:
        return _flatten(_decode(payload.text), thread_id)
    except _UnusableError as problem:
        return _reject(payload, thread_id, problem.reason, problem.detail)
    except RecursionError:
        return _reject(payload, thread_id, RejectReason.TOO_DEEP)
    except ValueError as error:  # NaN, an infinity, more than 4,300 digits
        return _reject(payload, thread_id, RejectReason.UNSTORABLE_NUMBER, str(error))


def _decode(text: bytes) -> dict[str, Any]:
    try:
        value = load(text)
    except UnicodeDecodeError as error:
        raise _UnusableError(RejectReason.NOT_JSON, "it is not UTF-8") from error
    except json.JSONDecodeError as error:
        raise _UnusableError(RejectReason.NOT_JSON, str(error)) from error
    if not isinstance(value, dict):
        raise _UnusableError(RejectReason.NOT_AN_OBJECT)
    if not is_plain(text) and not _is_storable(value):
        raise _UnusableError(RejectReason.UNSTORABLE_TEXT)
    return value


def _is_storable(value: Any) -> bool:
    """Whether Postgres takes every text: no NUL character, no lone surrogate."""
    match value:
        case str():
            return "\0" not in value and not any("\ud800" <= c <= "\udfff" for c in value)
        case dict():
            return all(_is_storable(k) and _is_storable(v) for k, v in value.items())
        case list():
            return all(map(_is_storable, value))
        case _:
            return True


def _flatten(source: dict[str, Any], thread_id: ThreadId) -> Run:
    columns, extra = split(source, RUN_FIELDS)
    if columns["created_at"] is None:
        raise _UnusableError(RejectReason.NO_CREATED_AT)
    if columns["status"] is None:
        raise _UnusableError(RejectReason.NO_STATUS)
    identity = _identity(source, thread_id, extra)
    dictionaries = _dictionaries(source, extra)
    return Run(
        **identity,
        **columns,
        **dictionaries,
        extra=dump(extra) if extra else None,
    )


def _identity(source: dict[str, Any], thread_id: ThreadId, extra: Columns) -> Columns:
    run_id, _ = TEXT.read(source.get("id"))
    if not run_id:
        raise _UnusableError(RejectReason.NO_ID)
    told_thread_id, _ = TEXT.read(source.get("thread_id"))
    if not (told_thread_id or thread_id):
        raise _UnusableError(RejectReason.NO_THREAD)
    identity = {"run_id": RunId(run_id), "thread_id": told_thread_id or thread_id}
    given_back = {
        "id": run_id,
        "thread_id": identity["thread_id"],
        "object": OBJECT_NAME,
    }
    for key, value in given_back.items():
        extra.pop(key, None)
        if source.get(key) != value:
            extra[key] = source.get(key)
    return identity


def _dictionaries(source: dict[str, Any], extra: Columns) -> Columns:
    instructions, tools = source.get("instructions"), source.get("tools")
    found: Columns = {"instructions": None, "tool_set": None}
    if isinstance(instructions, str):
        found["instructions"] = instructions_of(instructions)
        del extra["instructions"]
    if isinstance(tools, list):
        found["tool_set"] = tool_set_of(tools)
        del extra["tools"]
    return found


def _reject(
    payload: Payload, thread_id: ThreadId, reason: RejectReason, detail: str = ""
) -> Reject:
    return Reject(thread_id, payload.run_id, payload.readable(), reason, detail)
