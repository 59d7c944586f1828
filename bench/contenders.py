"""The peers: what is installed for each, and the command that does its work."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from psycopg.sql import SQL

from bench import singer
from bench.environments import prepared
from bench.measuring import Cost, measure
from bench.peers import DATABASE_URL
from bench.places import FOLDER, ROOT
from bench.workload import Workload


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """Copy this workload from the API into an empty database."""

    workload: Workload
    thread_ids: Path
    base_url: str
    database_url: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """A peer; `count` is the query that counts its distinct run ids."""

    name: str
    title: str
    packages: tuple[str, ...]
    count: SQL
    copy: Callable[[Task], Cost]


def _by_program(name: str) -> Callable[[Task], Cost]:
    """The peers of `bench/peers`, which get an order."""

    def copy(task: Task) -> Cost:
        program = (prepared(name) / "python", "-m", f"bench.peers.{name}")
        cost, _ = measure(
            (*program, task.base_url, task.thread_ids),
            directory=ROOT,
            environment=os.environ | {DATABASE_URL: task.database_url},
        )
        return cost

    return copy


def _by_singer(task: Task) -> Cost:
    """The Singer target, which gets all records on its standard input."""
    messages, settings = FOLDER / "messages.jsonl", FOLDER / "target.json"
    singer.write_messages(messages, task.workload)
    singer.write_settings(settings, task.database_url)
    command = (prepared("singer") / "target-postgres", "--config", settings)
    try:
        cost, _ = measure(command, directory=ROOT, typed=messages)
    finally:
        messages.unlink()
        settings.unlink()
    return cost


PEERS = {
    peer.name: peer
    for peer in (
        Peer(
            name="arrow",
            title="httpx, orjson, Arrow, ADBC",
            packages=("httpx", "orjson", "pyarrow", "adbc-driver-postgresql"),
            count=SQL("SELECT count(DISTINCT id) FROM runs"),
            copy=_by_program("arrow"),
        ),
        Peer(
            name="sdk",
            title="OpenAI SDK, SQLAlchemy",
            packages=("openai", "sqlalchemy", "psycopg"),
            count=SQL("SELECT count(DISTINCT id) FROM runs"),
            copy=_by_program("sdk"),
        ),
        Peer(
            name="dlt",
            title="dlt",
            packages=("dlt", "psycopg2-binary"),
            count=SQL("SELECT count(DISTINCT id) FROM dlt_runs.runs"),
            copy=_by_program("dlt"),
        ),
        Peer(
            name="singer",
            title="Singer target, no extraction",
            packages=("meltanolabs-target-postgres", "singer-sdk", "psycopg"),
            count=SQL("SELECT count(DISTINCT id) FROM singer_runs.runs"),
            copy=_by_singer,
        ),
    )
}
