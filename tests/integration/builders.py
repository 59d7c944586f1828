"""Builders of payloads and batches: a test names what matters, the rest is filled in."""

import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from etl.domain.batch import Batch, Committed, Increment, PassFailure, SourceId
from etl.domain.bookmark import Bookmark
from etl.domain.page import Payload
from etl.domain.run import SECOND, Instant, Reject, Run, RunId, ThreadId
from etl.extract.envelope import id_of
from etl.load.database import connected
from etl.load.ledger import open_sync
from etl.load.schema import SCHEMAS
from etl.load.store import Store
from etl.transform import flatten

NOW_SECONDS = 1_795_168_800  # 2026-11-20 10:00 UTC
NOW = Instant(NOW_SECONDS * SECOND)
THREAD = ThreadId("thread_a")


def a_payload(run_id: str = "run_1", **fields: Any) -> dict[str, Any]:
    """One completed run, with a few of everything."""
    return {
        "id": run_id,
        "object": "thread.run",
        "created_at": NOW_SECONDS - 3600,
        "status": "completed",
        "model": "gpt-4o",
        "instructions": "Be brief.",
        "tools": [{"type": "code_interpreter"}],
        "metadata": {"ticket": "T-1"},
        "usage": {"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7},
    } | fields


def as_payload(value: Any) -> Payload:
    """A JSON value as it comes from a page."""
    run_id = id_of(value.get("id")) if isinstance(value, dict) else None
    text = json.dumps(value, ensure_ascii=False).encode()
    return Payload(text, RunId(run_id) if run_id else None)


def after(seconds: float) -> Instant:
    """An instant, told as seconds after the builders' now."""
    return Instant(NOW + round(seconds * SECOND))


def an_increment(
    source_id: SourceId,
    *payloads: dict[str, Any] | Payload,
    thread_id: ThreadId = THREAD,
    read_before: Instant | None = None,
    read_at: Instant = NOW,
    completes: bool = True,
    runs: tuple[Run, ...] = (),
) -> Increment:
    """One page of a thread, read from its start; `runs` come beside its payloads'."""
    received = [
        each if isinstance(each, Payload) else as_payload(each) for each in payloads
    ]
    entries = [*(flatten(each, thread_id=thread_id) for each in received), *runs]
    return Increment(
        source_id=source_id,
        thread_id=thread_id,
        read_before=read_before,
        read_at=read_at,
        runs=tuple(entry for entry in entries if isinstance(entry, Run)),
        rejects=tuple(entry for entry in entries if isinstance(entry, Reject)),
        payloads=tuple(received),
        bookmark=_at_the_last(entries),
        completes=completes,
        walked=True,
    )


def _at_the_last(entries: list[Run | Reject]) -> Bookmark:
    named = [entry for entry in entries if entry.run_id]
    if not named:
        return Bookmark()
    last = named[-1]
    return Bookmark(synced_through=last.run_id, synced_through_at=last.created_at)


def a_run(run_id: str = "run_1", **fields: Any) -> Run:
    """The run that a payload becomes."""
    entry = flatten(as_payload(a_payload(run_id, **fields)), thread_id=THREAD)
    assert isinstance(entry, Run)
    return entry


def a_batch(
    *increments: Increment,
    failures: Iterable[PassFailure] = (),
    unknown: Iterable[PassFailure] = (),
    missing: Iterable[PassFailure] = (),
    requests: int = 0,
    retries: int = 0,
) -> Batch:
    return Batch(
        increments=increments,
        failures=tuple(failures),
        unknown=tuple(unknown),
        missing=tuple(missing),
        requests=requests,
        retries=retries,
    )


def committed(
    *,
    created: int = 0,
    updated: int = 0,
    unchanged: int = 0,
    rejects: int = 0,
    pages: int = 1,
    overtaken: Iterable[tuple[SourceId, ThreadId]] = (),
    refused: Iterable[tuple[SourceId, ThreadId]] = (),
) -> Committed:
    """What a store should answer."""
    return Committed(
        created=created,
        updated=updated,
        unchanged=unchanged,
        rejects=rejects,
        pages=pages,
        overtaken=frozenset(overtaken),
        refused=frozenset(refused),
    )


def a_sync(connection: Connection) -> int:
    """A row of the ledger that nobody holds."""
    with connection.begin():
        return open_sync(connection, trigger="test", source_ids=[], holder="a test")[0]


@contextmanager
def a_store(engine: Engine, *, now: Instant = NOW) -> Iterator[Store]:
    """A store as a sync opens it: a connection and a row of the ledger of its own."""
    with connected(engine) as connection:
        sync_id = a_sync(connection)
        yield Store(connection, sync_id=sync_id, now=now)


def query(engine: Engine, statement: str, **values: Any) -> list[tuple[Any, ...]]:
    """Ask on a connection of one's own, as another client would."""
    with engine.connect() as connection:
        return [tuple(row) for row in connection.execute(sa.text(statement), values)]


def execute(engine: Engine, *statements: str) -> None:
    """Change something on a connection of one's own, and commit it."""
    with engine.begin() as connection:
        for statement in statements:
            connection.execute(sa.text(statement))


def tables(connection: Connection, *schemas: str) -> list[str]:
    """The tables that hold rows themselves, partitions included."""
    found = connection.scalars(
        sa.text(
            "SELECT oid::regclass::text FROM pg_class WHERE relkind = 'r'"
            " AND relnamespace::regnamespace::text = ANY(:schemas) ORDER BY 1"
        ),
        {"schemas": list(schemas)},
    )
    return [str(name) for name in found]


def rows(engine: Engine, *schemas: str) -> dict[str, list[str]]:
    """Every row of every table as text, by table; not which transaction moved a month."""
    found = _rows(engine, schemas or SCHEMAS, "t::text")
    months = "run_analytics.month_changes"
    if months in found:
        found[months] = [row.rpartition(",")[0] for row in found[months]]
    return found


def row_versions(engine: Engine, *schemas: str) -> dict[str, list[str]]:
    """Where each row stands and who wrote it: another after any write."""
    return _rows(engine, schemas, "concat_ws(' ', t.ctid, t.xmin)")


def _rows(engine: Engine, schemas: Iterable[str], what: str) -> dict[str, list[str]]:
    with engine.connect() as connection:
        return {
            name: list(
                connection.scalars(sa.text(f"SELECT {what} FROM {name} t ORDER BY 1"))
            )
            for name in tables(connection, *schemas)
            if not name.endswith("alembic_version")
        }


def comparable(value: Any) -> Any:
    """A JSON value for `==`: absent equals null, 1e3 equals 1000, true differs from 1."""
    match value:
        case bool():
            return str(value).encode()  # equal to no other JSON value
        case int() | float():
            return Number(value)
        case dict():
            return {
                key: comparable(each) for key, each in value.items() if each is not None
            }
        case list():
            return list(map(comparable, value))
        case _:
            return value


@dataclass(frozen=True, eq=False, slots=True)
class Number:
    """A JSON number: a double is the same however many of its digits are written."""

    value: float

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Number):
            return NotImplemented
        if isinstance(self.value, int) and isinstance(other.value, int):
            return self.value == other.value
        try:
            return float(self.value) == float(other.value)
        except OverflowError:
            return False

    __hash__ = None  # type: ignore[assignment]


def comparable_run(run: Run) -> Any:
    """A run for `==`: JSON texts as values."""
    return run._replace(
        response_format=_value(run.response_format),
        tool_choice=_value(run.tool_choice),
        required_action=_value(run.required_action),
        metadata=_value(run.metadata),
        extra=_value(run.extra),
        tool_set=run.tool_set
        and run.tool_set._replace(
            tools=tuple(
                tool._replace(
                    parameters=_value(tool.parameters), settings=_value(tool.settings)
                )
                for tool in run.tool_set.tools
            )
        ),
    )


def _value(text: str | None) -> Any:
    """SQL's null is not JSON's."""
    if text is None:
        return None
    return ("json", json.loads(text, parse_float=Decimal, parse_int=Decimal))
