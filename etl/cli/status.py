"""`runtide status`: how far it is complete, how the last syncs went, who is needed."""

import json
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, fields
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from etl.cli.options import settings_of
from etl.cli.terminal import ago, in_bytes, in_minutes, now, say, show_table
from etl.domain.errors import ConfigError

if TYPE_CHECKING:
    from etl.config import Settings
    from etl.load.overview import RunsOverview, SourceOverview, SyncOverview
    from etl.operations.standing import NextSync, Standing

SECONDS_BETWEEN_LOOKS = 2.0
NEEDS_A_PERSON = 3
CLEAR = "\033[H\033[2J"


def add_to(app: typer.Typer) -> None:
    """Add the commands of this family."""
    app.command()(status)


def status(
    context: typer.Context,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    watch: Annotated[
        bool, typer.Option("--watch", help="Look again every two seconds, until Ctrl-C.")
    ] = False,
) -> int:
    """Show how far it is complete, how the last syncs went, and what needs a person."""
    settings = settings_of(context)
    if watch and as_json:
        raise ConfigError("--watch and --json do not go together; leave one of them out.")
    if watch:
        _watch(settings)
    standing, runs = _look(settings)
    if as_json:
        say(json.dumps(as_json_object(standing, runs), default=datetime.isoformat))
    else:
        show(standing, runs, at=now())
    return NEEDS_A_PERSON if standing.needs else 0


def _look(settings: "Settings") -> "tuple[Standing, RunsOverview]":
    from etl import wiring  # noqa: PLC0415  # slow to import
    from etl.load.database import connected  # noqa: PLC0415
    from etl.load.overview import runs_overview  # noqa: PLC0415
    from etl.operations.standing import look  # noqa: PLC0415

    with wiring.ready_database(settings) as engine, connected(engine) as connection:
        standing = look(connection, settings, settings.promised, now=now())
        return standing, runs_overview(connection)


def _watch(settings: "Settings") -> None:
    """Show the standing again and again; counting all runs each time would take long."""
    from etl import wiring  # noqa: PLC0415
    from etl.load.database import connected  # noqa: PLC0415
    from etl.operations.standing import look  # noqa: PLC0415

    with wiring.ready_database(settings) as engine:
        while True:
            with connected(engine) as connection:
                standing = look(connection, settings, settings.promised, now=now())
            if sys.stdout.isatty():
                print(CLEAR, end="")
            show(standing, None, at=now())
            sys.stdout.flush()
            time.sleep(SECONDS_BETWEEN_LOOKS)


def as_json_object(standing: "Standing", runs: "RunsOverview") -> dict[str, Any]:
    """The standing as `status --json` prints it; docs/operations.md lists its keys."""
    told = {field.name: getattr(standing, field.name) for field in fields(standing)}
    told["database"] = standing.database._asdict()
    told["next"] = [asdict(each) for each in standing.next]
    for key in ("sources", "failing", "syncs", "rejects", "drift"):
        told[key] = [row._asdict() for row in told[key]]
    return told | {"runs": runs._asdict()}


def show(standing: "Standing", runs: "RunsOverview | None", *, at: datetime) -> None:
    """Print it for a person; what needs one stands last, where the eye is."""
    _show_sources(standing.sources)
    _show_contents(standing, runs)
    _show_syncs(standing.syncs, at)
    _show_rows("failing threads", standing.failing, FAILING, at)
    _show_rows("in quarantine", standing.rejects, REJECTS, at)
    _show_rows("new to the schema", standing.drift, DRIFT, at)
    _show_next(standing.next, at)
    say()
    for need in standing.needs:
        say(f"Needs a person: {need}")
    if not standing.needs and standing.syncs:
        say("Nothing needs a person.")


Column = tuple[str, Callable[[Any, datetime], object]]
"""A heading, and what stands below it in a row that is looked at some time."""

FAILING: Sequence[Column] = (
    ("source", lambda row, _: row.source),
    ("thread", lambda row, _: row.thread_id),
    ("passes", lambda row, _: row.consecutive_errors),
    ("complete until", lambda row, at: ago(row.complete_until, now=at)),
    ("error", lambda row, _: row.last_error),
)
REJECTS: Sequence[Column] = (
    ("source", lambda row, _: row.source),
    ("reason", lambda row, _: row.reason),
    ("payloads", lambda row, _: row.rejects),
    ("last seen", lambda row, at: ago(row.last_seen_at, now=at)),
)
DRIFT: Sequence[Column] = (
    ("source", lambda row, _: row.source),
    ("place", lambda row, _: row.path),
    ("kind", lambda row, _: row.kind.replace("_", " ")),
    ("value", lambda row, _: row.value),
    ("seen", lambda row, _: row.times_seen),
    ("first seen", lambda row, at: ago(row.first_seen_at, now=at)),
    ("example", lambda row, _: row.example_run_id),
)
SYNCS: Sequence[Column] = (
    ("sync", lambda row, _: row.sync_id),
    ("began", lambda row, at: ago(row.started_at, now=at)),
    ("trigger", lambda row, _: row.trigger),
    ("outcome", lambda row, _: _outcome(row)),
    ("threads", lambda row, _: _progress(row)),
    ("failed", lambda row, _: row.threads_failed),
    ("read", lambda row, _: row.runs_read),
    ("created", lambda row, _: row.runs_created),
    ("updated", lambda row, _: row.runs_updated),
)


def _show_rows(
    title: str, rows: Sequence[Any], columns: Sequence[Column], at: datetime
) -> None:
    if rows:
        headings = [heading for heading, _ in columns]
        body = [[value(row, at) for _, value in columns] for row in rows]
        if title:
            say()
        show_table(headings, body, title=title)


def _show_sources(sources: "Sequence[SourceOverview]") -> None:
    waiting = any(source.threads_waiting for source in sources)
    headings = ["source", "complete through", "threads", "complete"]
    headings += ["of them waiting"] * waiting
    headings += ["failing", "never read", "missing", "gone", "address"]
    rows = [
        (
            s.source,
            None if s.complete_through is None else in_minutes(s.complete_through),
            s.threads,
            s.threads_complete,
            *[s.threads_waiting] * waiting,
            s.threads_failing,
            s.threads_never_read,
            s.threads_missing,
            s.threads_gone,
            s.base_url,
        )
        for s in sources
    ]
    show_table(headings, rows)
    if waiting:
        say(
            "Waiting threads were left for a later sync, each due in its time; `runtide"
            " plan` tells when."
        )


def _show_contents(standing: "Standing", runs: "RunsOverview | None") -> None:
    size = standing.database
    told = f"The database takes {in_bytes(size.bytes)}"
    if size.bytes_per_day is not None:
        told += f" and grows by {in_bytes(size.bytes_per_day)} a day"
    say(f"{told}.")
    if runs is not None:
        say(
            f"{runs.runs:,} runs, {runs.open_runs:,} of them open;"
            f" {runs.total_tokens:,} tokens; {runs.rejects:,} payloads in quarantine."
        )


def _show_syncs(syncs: "Sequence[SyncOverview]", at: datetime) -> None:
    if not syncs:
        say("No sync yet; run `runtide sync`.")
        return
    _show_rows("", syncs, SYNCS, at)
    if syncs[0].error:
        say(f"The last sync said: {syncs[0].error}")


def _outcome(sync: "SyncOverview") -> str:
    if sync.outcome is not None:
        return sync.outcome
    return f"at work, {sync.holder}" if sync.is_running else "died"


def _progress(sync: "SyncOverview") -> str:
    if sync.finished_at is not None or sync.threads_due is None:
        return f"{sync.threads:,}"
    return f"{sync.threads:,} of {sync.threads_due:,}"


def _show_next(entries: "Sequence[NextSync]", at: datetime) -> None:
    for each in entries:
        whose = each.source or "all sources"
        hours, minutes = divmod(int((each.at - at).total_seconds()) // 60, 60)
        say(
            f"Next sync of {whose}: {in_minutes(each.at)}, in {hours} h {minutes} min"
            f" (cron {each.cron}, {each.timezone})."
        )
