"""`runtide status`: what is there, how the last syncs went."""

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from etl.cli.options import settings_of
from etl.cli.terminal import ago, say, show_table

if TYPE_CHECKING:
    from etl.load.overview import (
        DriftOverview,
        RunsOverview,
        SourceOverview,
        SyncOverview,
    )


@dataclass(frozen=True, slots=True)
class Overview:
    """Everything that `status` shows."""

    sources: "list[SourceOverview]"
    runs: "RunsOverview"
    syncs: "list[SyncOverview]"
    drift: "list[DriftOverview]"


def add_to(app: typer.Typer) -> None:
    """Add the commands of this family."""
    app.command()(status)


def status(
    context: typer.Context,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Show sources, runs and the last syncs."""
    from etl import wiring  # noqa: PLC0415  # slow to import
    from etl.load import overview  # noqa: PLC0415

    with wiring.ready_database(settings_of(context)) as engine:
        found = Overview(
            overview.sources_overview(engine),
            overview.runs_overview(engine),
            overview.last_syncs(engine),
            overview.drift_overview(engine),
        )
    if as_json:
        say(json.dumps(_as_json(found), default=_instant))
    else:
        _show(found, now=datetime.now(UTC))


def _as_json(found: Overview) -> dict[str, Any]:
    return {
        "sources": [source._asdict() for source in found.sources],
        "runs": found.runs._asdict(),
        "syncs": [sync._asdict() for sync in found.syncs],
        "drift": [drift._asdict() for drift in found.drift],
    }


def _instant(value: datetime) -> str:
    return value.isoformat()


def _show(found: Overview, *, now: datetime) -> None:
    headings = [
        "source",
        "threads",
        "failing",
        "never read",
        "gone",
        "last pass",
        "address",
    ]
    rows = [
        (
            s.source,
            s.threads,
            s.threads_failing,
            s.threads_never_read,
            s.threads_gone,
            ago(s.last_pass_at, now=now),
            s.base_url,
        )
        for s in found.sources
    ]
    show_table(headings, rows)
    runs = found.runs
    say(
        f"{runs.runs:,} runs, {runs.open_runs:,} of them open;"
        f" {runs.total_tokens:,} tokens; {runs.rejects:,} payloads in quarantine."
    )
    _show_drift(found.drift, now=now)
    _show_syncs(found.syncs, now=now)


def _show_drift(drift: "list[DriftOverview]", *, now: datetime) -> None:
    if not drift:
        return
    headings = ["new to the schema", "kind", "value", "seen", "first seen", "example"]
    rows = [
        (
            each.path,
            each.kind.replace("_", " "),
            each.value,
            each.times_seen,
            ago(each.first_seen_at, now=now),
            each.example_run_id,
        )
        for each in drift
    ]
    show_table(headings, rows)


def _show_syncs(syncs: "list[SyncOverview]", *, now: datetime) -> None:
    if not syncs:
        say("No sync yet; run `runtide sync`.")
        return
    headings = ["sync", "began", "outcome", "threads", "failed", "created", "updated"]
    rows = [
        (
            s.sync_id,
            ago(s.started_at, now=now),
            s.outcome or "not ended",
            s.threads,
            s.threads_failed,
            s.runs_created,
            s.runs_updated,
        )
        for s in syncs
    ]
    show_table(headings, rows)
    if syncs[0].error:
        say(f"The last sync said: {syncs[0].error}")
